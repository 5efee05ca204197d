//! The layer table of a network, as in the ResNet paper: one line per layer.
//! Consecutive equal blocks of a stage are listed once, with their number.

use crate::graph::{Graph, Node, Op};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The name of the layer, in the first of the equal blocks.
    pub name: String,
    /// Number of consecutive equal blocks that have this layer.
    pub repeat: usize,
    /// The operation: `conv`, `max-pool`, ...
    pub what: &'static str,
    /// Height and width of the kernel; 0 if it has none.
    pub kernel: usize,
    /// Stride, in pixels.
    pub stride: usize,
    /// Padding on each side, in pixels.
    pub padding: usize,
    /// Number of groups of channels.
    pub groups: usize,
    /// Shape of the output: channels, height, width.
    pub output: [usize; 3],
}

/// The layer table of `graph`. Norms, activations and elementwise operations are
/// left out.
#[must_use]
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let mut blocks: Vec<(String, Vec<Layer>)> = Vec::new();
    for node in &graph.nodes {
        let Some(layer) = layer(node) else { continue };
        let block = block(&layer.name);
        // inside the stages, a layer without a name belongs to the current block
        match blocks.last_mut() {
            Some((name, lines))
                if *name == block || layer.name.is_empty() && name.starts_with("layer") =>
            {
                lines.push(layer);
            }
            _ => blocks.push((block, vec![layer])),
        }
    }
    let mut table: Vec<(String, Vec<Layer>)> = Vec::new();
    for (name, lines) in blocks {
        match table.last_mut() {
            Some((first, same)) if stage(first) == stage(&name) && equal_blocks(same, &lines) => {
                same.iter_mut().for_each(|line| line.repeat += 1);
            }
            _ => table.push((name, lines)),
        }
    }
    table.into_iter().flat_map(|(_, lines)| lines).collect()
}

/// The block of a layer: `layer1.0` for `layer1.0.conv1`. Outside the stages, the
/// name itself.
fn block(name: &str) -> String {
    if !name.starts_with("layer") {
        return name.to_owned();
    }
    name.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The stage of a block: `layer1` for `layer1.0`. Outside the stages, the name
/// itself.
fn stage(block: &str) -> &str {
    block
        .split('.')
        .next()
        .filter(|stage| stage.starts_with("layer"))
        .unwrap_or(block)
}

/// Whether two blocks are equal except for their names.
fn equal_blocks(a: &[Layer], b: &[Layer]) -> bool {
    let same = |(a, b): (&Layer, &Layer)| {
        let fields = |l: &Layer| (l.what, l.kernel, l.stride, l.padding, l.groups, l.output);
        fields(a) == fields(b)
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

fn layer(node: &Node) -> Option<Layer> {
    let (what, kernel, stride, padding, groups) = match node.op {
        Op::Conv(conv) => ("conv", conv.kernel, conv.stride, conv.padding, conv.groups),
        Op::MaxPool {
            kernel,
            stride,
            padding,
            ..
        } => ("max-pool", kernel, stride, padding, 1),
        Op::AvgPool { size, .. } => ("average-pool", size, size, 0, 1),
        Op::BlurPool => ("blur-pool", 3, 2, 1, node.shape.channels),
        Op::ZeroPad { stride, .. } => ("zero-pad", 1, stride, 0, 1),
        Op::ChannelConv { kernel } => ("channel conv", kernel, 1, kernel / 2, 1),
        Op::GlobalAvgPool => ("global average", 0, 1, 0, 1),
        Op::Linear => ("linear", 0, 1, 0, 1),
        _ => return None,
    };
    Some(Layer {
        name: node.name.clone(),
        repeat: 1,
        what,
        kernel,
        stride,
        padding,
        groups,
        output: [node.shape.channels, node.shape.height, node.shape.width],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::build, family};

    #[test]
    fn equal_blocks_are_listed_once() {
        let graph = build(family::find("resnet50").unwrap(), 224, 1000);
        let table = layers(&graph);
        let stage1: Vec<_> = table
            .iter()
            .filter(|l| l.name.starts_with("layer1"))
            .collect();
        // four convolutions of the first block, then three of the two equal blocks
        assert_eq!(
            stage1.iter().map(|l| l.repeat).collect::<Vec<_>>(),
            [1, 1, 1, 1, 2, 2, 2]
        );
        assert_eq!(table.last().unwrap().output, [1000, 1, 1]);
        assert_eq!(table[1].what, "max-pool");
    }

    #[test]
    fn multiply_adds_are_within_three_percent_of_the_paper() {
        for row in family::FAMILY.iter() {
            let Some(published) = row.published_flops else {
                continue;
            };
            // in the paper, the first 1x1 convolution of a bottleneck has the stride
            let original = family::Architecture {
                stride_on: family::StrideOn::Conv1,
                ..*row
            };
            let counted = build(&original, 224, 1000).multiply_adds() as f64;
            assert!(
                (counted / published - 1.0).abs() < 0.03,
                "{}: {counted:.3e}",
                row.name
            );
        }
    }
}
