//! The graph's operations joined into the steps a plan runs: a convolution
//! takes the norm, the sum and the ReLU that follow it, so each map is written
//! once and never re-read just to be scaled.

use crate::error::{Error, Result};
use crate::graph::{Conv, Graph, Op, Outside, Value};

/// What a step computes. `x` is its first input.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Pixels or planes to the stem's input.
    Input,
    /// relu?(conv(x) + bias + residual?); the norm is folded into the weights.
    Conv {
        /// The convolution.
        conv: Conv,
        /// Its node: weights and maybe a bias.
        node: usize,
        /// The batch norm folded into it.
        norm: Option<usize>,
        /// Whether the second input is added.
        residual: bool,
        /// Whether negative values become zero.
        relu: bool,
    },
    /// relu?(x * scale + shift): a batch norm that no convolution precedes.
    BatchNorm {
        /// Its node.
        node: usize,
        /// Whether negative values become zero.
        relu: bool,
    },
    /// relu?(group norm of x).
    GroupNorm {
        /// Its node.
        node: usize,
        /// Number of groups.
        groups: usize,
        /// Whether negative values become zero.
        relu: bool,
    },
    /// Maximum over a window.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Step between outputs.
        stride: usize,
        /// Rows and columns outside the map on each side.
        padding: usize,
        /// What is out there.
        outside: Outside,
    },
    /// Mean over windows of side and step `size`.
    AvgPool {
        /// Side of the window.
        size: usize,
    },
    /// Every `stride`-th pixel between zero channels.
    ZeroPad {
        /// Step between pixels.
        stride: usize,
    },
    /// Mean over the map.
    GlobalAvgPool,
    /// Convolution along the channels of a vector.
    ChannelConv {
        /// Its node.
        node: usize,
        /// Odd length of the kernel.
        kernel: usize,
    },
    /// relu?(x * sigmoid(gate) + residual), inputs x, gate vector, residual.
    Excite {
        /// Whether negative values become zero.
        relu: bool,
    },
    /// h t + x (1 - t) with t = sigmoid(gate), inputs h, gate, x.
    Highway,
    /// The classifier, a 1x1 convolution of a 1x1 map.
    Linear {
        /// Its node.
        node: usize,
    },
}

/// One step: what it computes, the values it reads and the one it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it computes.
    pub kind: Kind,
    /// Values read.
    pub inputs: Vec<Value>,
    /// Value made.
    pub output: Value,
}

/// Whether `next` pools what `step` convolves, so that both may run as one loop.
pub(crate) fn runs_with(step: &Step, next: &Step) -> bool {
    let pools = match next.kind {
        Kind::MaxPool { outside, .. } => outside == Outside::Nothing,
        Kind::AvgPool { .. } | Kind::GlobalAvgPool => true,
        _ => false,
    };
    pools && matches!(step.kind, Kind::Conv { .. }) && next.inputs[0] == step.output
}

/// Joins the graph's nodes into steps, in an order in which they can run.
///
/// # Errors
/// A graph that combines operations in a way no step covers.
pub fn fuse(graph: &Graph) -> Result<Vec<Step>> {
    let mut fusion = Fusion {
        graph,
        readers: graph.readers(),
        taken: vec![false; graph.nodes.len()],
    };
    let mut steps = Vec::new();
    for value in 0..graph.nodes.len() {
        if !fusion.taken[value] {
            steps.push(fusion.step(value)?);
        }
    }
    Ok(steps)
}

struct Fusion<'a> {
    graph: &'a Graph,
    readers: Vec<Vec<usize>>,
    /// Nodes that are already part of a step.
    taken: Vec<bool>,
}

impl Fusion<'_> {
    /// The only reader of `value`, if it is what `wanted` asks for.
    fn follows(&self, value: Value, wanted: impl Fn(Op) -> bool) -> Option<usize> {
        match self.readers[value][..] {
            [reader] if wanted(self.graph.nodes[reader].op) => Some(reader),
            _ => None,
        }
    }

    /// Takes the ReLU after `value`, if nothing else reads `value`.
    fn relu(&mut self, value: Value) -> (bool, Value) {
        match self.follows(value, |op| op == Op::Relu) {
            Some(relu) => {
                self.taken[relu] = true;
                (true, relu)
            }
            None => (false, value),
        }
    }

    /// Takes the sum after `value` when its other term is made before `node`:
    /// of a block's two branches the later one adds the earlier.
    fn residual(&mut self, node: usize, value: Value) -> Option<(Value, Value)> {
        let sum = self.follows(value, |op| op == Op::Add)?;
        let inputs = &self.graph.nodes[sum].inputs;
        let other = if inputs[0] == value {
            inputs[1]
        } else {
            inputs[0]
        };
        (other < node).then(|| {
            self.taken[sum] = true;
            (other, sum)
        })
    }

    fn step(&mut self, value: Value) -> Result<Step> {
        let node = &self.graph.nodes[value];
        let mut inputs = node.inputs.clone();
        let mut output = value;
        let kind = match node.op {
            Op::Input => Kind::Input,
            Op::Conv(conv) => {
                let norm = self.follows(value, |op| op == Op::BatchNorm);
                if let Some(norm) = norm {
                    self.taken[norm] = true;
                    output = norm;
                }
                let residual = self.residual(value, output);
                if let Some((other, sum)) = residual {
                    inputs.push(other);
                    output = sum;
                }
                let (relu, made) = self.relu(output);
                output = made;
                Kind::Conv {
                    conv,
                    node: value,
                    norm,
                    residual: residual.is_some(),
                    relu,
                }
            }
            Op::BatchNorm => {
                let (relu, made) = self.relu(value);
                output = made;
                Kind::BatchNorm { node: value, relu }
            }
            Op::GroupNorm { groups } => {
                let (relu, made) = self.relu(value);
                output = made;
                Kind::GroupNorm {
                    node: value,
                    groups,
                    relu,
                }
            }
            Op::MaxPool {
                kernel,
                stride,
                padding,
                outside,
            } => Kind::MaxPool {
                kernel,
                stride,
                padding,
                outside,
            },
            Op::AvgPool { size } => Kind::AvgPool { size },
            Op::ZeroPad { stride, .. } => Kind::ZeroPad { stride },
            Op::GlobalAvgPool => Kind::GlobalAvgPool,
            Op::ChannelConv { kernel } => Kind::ChannelConv {
                node: value,
                kernel,
            },
            Op::Linear => Kind::Linear { node: value },
            // a gate's sigmoid runs inside the step that applies the gate
            Op::Sigmoid => return self.gate(value),
            Op::Relu | Op::Add | Op::Scale | Op::Highway => {
                return Err(Error::Internal(format!(
                    "no step covers {:?} at node {value}",
                    node.op
                )));
            }
        };
        Ok(Step {
            kind,
            inputs,
            output,
        })
    }

    fn gate(&mut self, sigmoid: usize) -> Result<Step> {
        let gate = self.graph.nodes[sigmoid].inputs[0];
        if let Some(highway) = self.follows(sigmoid, |op| op == Op::Highway) {
            self.taken[highway] = true;
            let inputs = &self.graph.nodes[highway].inputs;
            return Ok(Step {
                kind: Kind::Highway,
                inputs: vec![inputs[0], gate, inputs[2]],
                output: highway,
            });
        }
        let scale = self.follows(sigmoid, |op| op == Op::Scale);
        let residual = scale.and_then(|scale| self.residual(sigmoid, scale));
        let (Some(scale), Some((residual, sum))) = (scale, residual) else {
            return Err(Error::Internal(format!(
                "no step covers the gate at node {sigmoid}"
            )));
        };
        self.taken[scale] = true;
        let (relu, output) = self.relu(sum);
        let x = self.graph.nodes[scale].inputs[0];
        Ok(Step {
            kind: Kind::Excite { relu },
            inputs: vec![x, gate, residual],
            output,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::build, family};

    fn steps(name: &str) -> Vec<Step> {
        let row = family::find(name).unwrap();
        fuse(&build(row, row.input, row.classes)).unwrap()
    }

    #[test]
    fn a_bottleneck_net_is_one_step_a_convolution() {
        let steps = steps("resnet50");
        // input, 53 convolutions, pool, average, classifier
        assert_eq!(steps.len(), 1 + 53 + 1 + 1 + 1);
        let residuals = steps.iter().filter(|s| {
            matches!(
                s.kind,
                Kind::Conv {
                    residual: true,
                    relu: true,
                    ..
                }
            )
        });
        assert_eq!(residuals.count(), 16);
    }

    #[test]
    fn every_row_fuses_into_steps_that_read_what_was_made() {
        for row in family::FAMILY {
            let steps = steps(row.name);
            let mut made = std::collections::HashSet::new();
            for step in &steps {
                assert!(
                    step.inputs.iter().all(|v| made.contains(v)),
                    "{}: {step:?}",
                    row.name
                );
                assert!(made.insert(step.output), "{}: {step:?} again", row.name);
            }
        }
    }
}
