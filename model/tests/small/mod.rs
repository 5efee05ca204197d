//! Small versions of the architectures: all their parts, but few blocks and
//! channels.

use std::collections::HashSet;

use resnet_model::family::{Architecture, FAMILY, Norm};

/// `row` with two blocks in the first stage and one in the others. In the networks
/// of four stages, the stages have half the channels of ResNet-50.
pub(crate) fn small(row: &Architecture) -> &'static Architecture {
    let small = if row.layers.len() == 4 {
        // the norms have 32 groups, also those of half the stem
        let narrow = if row.norm == Norm::Group { 64 } else { 32 };
        // wider stems, as of the S networks, stay wider
        let stem_planes = narrow * (row.stem_planes / row.planes[0]).max(1);
        Architecture {
            layers: &[2, 1, 1, 1],
            planes: &[32, 64, 128, 256],
            stem_planes,
            ..*row
        }
    } else {
        Architecture {
            layers: &[2, 1, 1],
            ..*row
        }
    };
    Box::leak(Box::new(small))
}

/// The small versions of all architectures, each network once: depth and width make
/// no difference.
pub(crate) fn distinct() -> Vec<&'static Architecture> {
    let mut seen = HashSet::new();
    let mut is_new = |row: &Architecture| {
        let unnamed = Architecture {
            name: "",
            aliases: &[],
            published_flops: None,
            ..*row
        };
        seen.insert(format!("{unnamed:?}"))
    };
    let mut rows: Vec<_> = FAMILY.iter().map(small).collect();
    rows.retain(|row| is_new(row));
    rows
}
