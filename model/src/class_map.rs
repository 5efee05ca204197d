//! Class activation maps (Zhou et al. 2016, <https://arxiv.org/abs/1512.04150>):
//! which parts of an image contribute to the logit of a class. They are exact
//! for a network that ends with global average pooling and a linear classifier.

use crate::cost;
use crate::error::NoClassMaps;
use crate::graph::{Graph, Op};

/// The classifier's weights for one class, as the backend multiplies them:
/// rounded to its data type and converted back to f32.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassWeights {
    /// `[C]`, one for each channel of the last feature map.
    pub weight: Vec<f32>,
    /// What is added to the weighted sum.
    pub bias: f32,
}

impl ClassWeights {
    /// The class activation map `[H, W]` of an image's last feature map
    /// `[H, W, C]`: the sum over the channels, each multiplied by its weight.
    ///
    /// Pooling and the classifier are linear, so the mean of the map plus the
    /// bias is the logit of the class.
    #[must_use]
    pub fn map(&self, feature_map: &[f32]) -> Vec<f32> {
        let pixels = feature_map.chunks_exact(self.weight.len().max(1));
        let value = |pixel: &[f32]| dot(pixel, &self.weight);
        pixels.map(value).collect()
    }
}

/// The dot product of two vectors of the same length, in f64.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Independent partial sums: with a single one, each addition would wait for the
    // one before.
    const LANES: usize = 8;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f64; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest: f64 = rest.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    (sums.iter().sum::<f64>() + rest) as f32
}

/// Checks that a network ends with global average pooling and a linear
/// classifier. A norm and a ReLU before the pooling are part of the feature map
/// (pre-activation networks, `BiT`), so they make no difference.
///
/// # Errors
/// What it ends with instead.
pub(crate) fn check(graph: &Graph) -> Result<(), NoClassMaps> {
    let input = graph.embedding().ok_or(NoClassMaps::NoClassifier)?;
    let node = &graph.nodes[input];
    match node.op {
        Op::GlobalAvgPool => Ok(()),
        _ => Err(NoClassMaps::NotPooled {
            input: cost::node_name(node),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::build, family};

    #[test]
    fn a_map_is_the_weighted_sum_of_the_channels() {
        let class = ClassWeights {
            weight: vec![2.0, -1.0, 0.5],
            bias: 7.0,
        };
        let feature_map = [1.0, 2.0, 4.0, 0.0, 3.0, -2.0]; // [1, 2, 3]
        assert_eq!(class.map(&feature_map), [2.0, -4.0]);
        assert!(class.map(&[]).is_empty());
    }

    #[test]
    fn all_channels_are_summed_whatever_their_number() {
        for channels in [1, 7, 8, 9, 64, 100] {
            let class = ClassWeights {
                weight: (1..=channels).map(|c| c as f32).collect(),
                bias: 0.0,
            };
            let feature_map: Vec<f32> = (0..2 * channels).map(|i| 0.5 + i as f32).collect();
            let expected = |pixel: usize| {
                let product = |c| (c as f32 + 1.0) * (0.5 + (pixel * channels + c) as f32);
                (0..channels).map(product).sum::<f32>()
            };
            assert_eq!(class.map(&feature_map), [expected(0), expected(1)]);
        }
    }

    #[test]
    fn every_architecture_pools_the_map_that_its_classifier_reads() {
        for row in family::FAMILY.iter() {
            let graph = build(row, row.input, row.classes);
            assert_eq!(check(&graph), Ok(()), "{}", row.name);
            let (map, pooled) = (graph.feature_map(), graph.embedding());
            assert_eq!(map, pooled.map(|pooled| graph.nodes[pooled].inputs[0]));
        }
    }

    #[test]
    fn other_heads_are_refused_with_their_reason() {
        let mut graph = Graph::new(8);
        let pooled = graph.push("", Op::GlobalAvgPool, &[0], 3);
        assert_eq!(check(&graph), Err(NoClassMaps::NoClassifier));
        let activated = graph.push("", Op::Relu, &[pooled], 3);
        graph.push("fc", Op::Linear, &[activated], 10);
        let reason = check(&graph).unwrap_err().to_string();
        assert!(reason.contains("relu"), "{reason}");
    }
}
