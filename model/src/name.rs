//! Names of architectures as timm and its predecessors write them.

/// Prefixes of timm's names before 0.8 that stand for the training, not for the
/// network.
const TRAININGS: [&str; 5] = ["tv_", "gluon_", "ssl_", "swsl_", "ig_"];

/// Suffixes of `BiT` networks that stand for the training.
const BIT: [&str; 6] = [
    "_bitm_in21k",
    "_bitm",
    "_bit_distilled",
    "_bit_teacher_384",
    "_bit_teacher",
    "_bit_m",
];

/// The variants of gluon's names: `gluon_resnet50_v1d` is `resnet50d`.
const GLUON: [(&str, &str); 4] = [("_v1b", ""), ("_v1c", "c"), ("_v1d", "d"), ("_v1s", "s")];

/// The name of the network in `name`, without timm's tag (`.a1_in1k`) and without
/// what says how it was trained.
pub(crate) fn without_training(name: &str) -> String {
    let name = name.split('.').next().unwrap_or(name);
    for training in TRAININGS {
        let Some(network) = name.strip_prefix(training) else {
            continue;
        };
        let gluon = GLUON.iter().find_map(|(suffix, variant)| {
            let network = network.strip_suffix(suffix)?;
            Some(format!("{network}{variant}"))
        });
        let gluon = gluon.filter(|_| training == "gluon_");
        return gluon.unwrap_or_else(|| network.to_owned());
    }
    let bit = BIT.iter().find_map(|suffix| name.strip_suffix(suffix));
    bit.map_or_else(|| name.to_owned(), |network| format!("{network}_bit"))
}

/// Networks with the tensors of others, which compute something else: they pool
/// in place of a stride.
const LOOKALIKES: [&str; 5] = [
    "resnetaa",
    "resnetblur",
    "seresnetaa",
    "seresnextaa",
    "resnextaa",
];

/// The name of such a network at the beginning of the name of a file, a folder or
/// a repository: `timm/resnetaa50d.sw_in12k`, `resnetblur50-84f4748f`.
pub(crate) fn lookalike(checkpoint: &str) -> Option<&str> {
    let name = checkpoint.rsplit('/').next()?;
    let name = name.split(['.', '-']).next()?;
    LOOKALIKES
        .iter()
        .any(|lookalike| name.starts_with(lookalike))
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_the_training_is_removed() {
        for (name, network) in [
            ("resnet50", "resnet50"),
            ("resnet50.a1_in1k", "resnet50"),
            ("tv_resnet34", "resnet34"),
            ("gluon_resnet50_v1b", "resnet50"),
            ("gluon_resnet101_v1c", "resnet101c"),
            ("gluon_resnext50_32x4d", "resnext50_32x4d"),
            ("ssl_resnext101_32x8d", "resnext101_32x8d"),
            ("swsl_resnet18", "resnet18"),
            ("ig_resnext101_32x48d", "resnext101_32x48d"),
            ("gluon_seresnext101_64x4d", "seresnext101_64x4d"),
            ("resnetv2_152x2_bit_teacher_384", "resnetv2_152x2_bit"),
            ("resnetv2_50x1_bitm_in21k", "resnetv2_50x1_bit"),
            ("resnetv2_50x1_bit.goog_in21k", "resnetv2_50x1_bit"),
            ("resnetv2_50x1_bit_distilled", "resnetv2_50x1_bit"),
            // stride on the first 1x1, not gluon's variant
            ("resnet50_v1", "resnet50_v1"),
        ] {
            assert_eq!(without_training(name), network, "{name}");
        }
    }

    #[test]
    fn a_lookalike_is_recognised_in_names_of_files_and_repositories() {
        assert_eq!(lookalike("timm/resnetaa50d.sw_in12k"), Some("resnetaa50d"));
        assert_eq!(lookalike("resnetblur50-84f4748f"), Some("resnetblur50"));
        assert_eq!(lookalike("timm/resnet50.a1_in1k"), None);
        assert_eq!(lookalike("my-resnetaa50"), None);
    }
}
