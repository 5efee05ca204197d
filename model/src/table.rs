//! The layer table of a network, as papers and lectures draw it: one line a
//! layer, a stage's equal blocks drawn once.

use crate::graph::{Graph, Node, Op};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The layer's name, or that of its stage's first such block.
    pub name: String,
    /// How many equal blocks in a row have this line.
    pub repeat: usize,
    /// What it is: `conv`, `max-pool`, ...
    pub what: &'static str,
    /// Side of the kernel; 0 where there is none.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Channels, height, width of the output.
    pub output: [usize; 3],
}

/// The layers of `graph` that have a kernel or a shape of their own.
#[must_use]
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let mut blocks: Vec<(String, Vec<Layer>)> = Vec::new();
    for node in &graph.nodes {
        let Some(layer) = layer(node) else { continue };
        let block = block(&layer.name);
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
            Some((first, same)) if stage(first) == stage(&name) && alike(same, &lines) => {
                same.iter_mut().for_each(|line| line.repeat += 1);
            }
            _ => table.push((name, lines)),
        }
    }
    table.into_iter().flat_map(|(_, lines)| lines).collect()
}

/// `layer1.0` of `layer1.0.conv1`; the whole name outside the stages.
fn block(name: &str) -> String {
    if !name.starts_with("layer") {
        return name.to_owned();
    }
    name.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// `layer1` of `layer1.0`.
fn stage(block: &str) -> &str {
    block
        .split('.')
        .next()
        .filter(|stage| stage.starts_with("layer"))
        .unwrap_or(block)
}

/// Whether two blocks differ in nothing but their names.
fn alike(a: &[Layer], b: &[Layer]) -> bool {
    let same = |(a, b): (&Layer, &Layer)| {
        let shape = |l: &Layer| (l.what, l.kernel, l.stride, l.padding, l.groups, l.output);
        shape(a) == shape(b)
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
        Op::AvgPool { size } => ("average-pool", size, size, 0, 1),
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
    fn equal_blocks_are_drawn_once() {
        let graph = build(family::find("resnet50").unwrap(), 224, 1000);
        let table = layers(&graph);
        let stage1: Vec<_> = table
            .iter()
            .filter(|l| l.name.starts_with("layer1"))
            .collect();
        // the first block with its projection, then the two others as one
        assert_eq!(
            stage1.iter().map(|l| l.repeat).collect::<Vec<_>>(),
            [1, 1, 1, 1, 2, 2, 2]
        );
        assert_eq!(table.last().unwrap().output, [1000, 1, 1]);
        assert_eq!(table[1].what, "max-pool");
    }

    #[test]
    fn the_original_five_cost_what_the_paper_says() {
        for row in family::FAMILY {
            let Some(published) = row.published_flops else {
                continue;
            };
            // the paper's counts are for the stride on the first 1x1
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
