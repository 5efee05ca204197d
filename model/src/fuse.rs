//! Joins the operations of the graph into the steps that a fused backend runs. A
//! convolution step includes the batch norm, the residual addition and the ReLU
//! that follow it, so each feature map is written once.

use crate::error::{Error, Result};
use crate::graph::{Conv, Graph, Op, Outside, Value};

/// What a step computes. `x` is its first input; `?` marks optional parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Converts pixels or planes to the input of the stem.
    Input,
    /// relu?(conv(x) + bias + residual?). A batch norm is folded into the
    /// weights and the bias.
    Conv {
        /// The convolution.
        conv: Conv,
        /// The node of the convolution.
        node: usize,
        /// The node of the batch norm that is folded into it.
        norm: Option<usize>,
        /// Whether the second input is added.
        residual: bool,
        /// Whether a ReLU is applied.
        relu: bool,
    },
    /// relu?(x * scale + shift): a batch norm that cannot be folded into a
    /// convolution.
    BatchNorm {
        /// Its node.
        node: usize,
        /// Whether a ReLU is applied.
        relu: bool,
    },
    /// relu?(group_norm(x) + residual?).
    GroupNorm {
        /// Its node.
        node: usize,
        /// Number of groups.
        groups: usize,
        /// Whether the second input is added.
        residual: bool,
        /// Whether a ReLU is applied.
        relu: bool,
    },
    /// As [`Op::MaxPool`].
    MaxPool {
        /// Height and width of the window.
        kernel: usize,
        /// Stride, in pixels.
        stride: usize,
        /// Padding on each side, in pixels.
        padding: usize,
        /// How the padding is treated.
        outside: Outside,
    },
    /// As [`Op::AvgPool`].
    AvgPool {
        /// Height and width of the window, and the stride.
        size: usize,
    },
    /// As [`Op::BlurPool`].
    BlurPool,
    /// As [`Op::ZeroPad`].
    ZeroPad {
        /// Stride, in pixels.
        stride: usize,
    },
    /// As [`Op::GlobalAvgPool`].
    GlobalAvgPool,
    /// As [`Op::ChannelConv`].
    ChannelConv {
        /// Its node.
        node: usize,
        /// Length of the kernel, an odd number.
        kernel: usize,
    },
    /// relu?(x * sigmoid(gate) + residual), with inputs x `[C, H, W]`, gate
    /// `[C, 1, 1]`, residual `[C, H, W]`: the end of a block with channel
    /// attention.
    Excite {
        /// Whether a ReLU is applied.
        relu: bool,
    },
    /// h * t + x * (1 - t) with t = sigmoid(gate) and inputs h, gate, x.
    Highway,
    /// The classifier, computed as a 1x1 convolution of a 1x1 feature map.
    Linear {
        /// Its node.
        node: usize,
    },
}

/// A step: an operation with its inputs and its output.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it computes.
    pub kind: Kind,
    /// The values that it reads.
    pub inputs: Vec<Value>,
    /// The value that it computes.
    pub output: Value,
}

/// Whether `next` pools the output of the convolution `step`, so that both can
/// run in one parallel loop.
pub(crate) fn runs_with(step: &Step, next: &Step) -> bool {
    let pools = match next.kind {
        Kind::MaxPool { outside, .. } => outside == Outside::Nothing,
        Kind::AvgPool { .. } | Kind::GlobalAvgPool => true,
        _ => false,
    };
    pools && matches!(step.kind, Kind::Conv { .. }) && next.inputs[0] == step.output
}

/// Joins the nodes of the graph into steps, in execution order.
///
/// # Errors
/// A graph with a combination of operations that no step implements.
pub fn fuse(graph: &Graph) -> Result<Vec<Step>> {
    let mut fusion = Fusion {
        graph,
        readers: graph.readers(),
        in_a_step: vec![false; graph.nodes.len()],
    };
    let mut steps = Vec::new();
    for value in 0..graph.nodes.len() {
        if !fusion.in_a_step[value] {
            steps.push(fusion.step(value)?);
        }
    }
    Ok(steps)
}

struct Fusion<'a> {
    graph: &'a Graph,
    readers: Vec<Vec<usize>>,
    /// For each node, whether it is already part of a step.
    in_a_step: Vec<bool>,
}

impl Fusion<'_> {
    /// The only node that reads `value`, if `wanted` accepts its operation.
    fn only_reader(&self, value: Value, wanted: impl Fn(Op) -> bool) -> Option<usize> {
        match self.readers[value][..] {
            [reader] if wanted(self.graph.nodes[reader].op) => Some(reader),
            _ => None,
        }
    }

    /// Adds the ReLU after `value` to the step, if no other node reads `value`.
    /// Returns whether there is one, and the output of the step.
    fn relu(&mut self, value: Value) -> (bool, Value) {
        match self.only_reader(value, |op| op == Op::Relu) {
            Some(relu) => {
                self.in_a_step[relu] = true;
                (true, relu)
            }
            None => (false, value),
        }
    }

    /// Adds the sum after `value` to the step, if its other operand is computed
    /// before `node`. So the branch of a block that runs last includes the sum of
    /// both branches. Returns the other operand and the sum.
    fn residual(&mut self, node: usize, value: Value) -> Option<(Value, Value)> {
        let sum = self.only_reader(value, |op| op == Op::Add)?;
        let inputs = &self.graph.nodes[sum].inputs;
        let other = if inputs[0] == value {
            inputs[1]
        } else {
            inputs[0]
        };
        (other < node).then(|| {
            self.in_a_step[sum] = true;
            (other, sum)
        })
    }

    /// The step that starts with node `value`.
    fn step(&mut self, value: Value) -> Result<Step> {
        let node = &self.graph.nodes[value];
        let mut inputs = node.inputs.clone();
        let mut output = value;
        let kind = match node.op {
            Op::Input => Kind::Input,
            Op::Conv(conv) => {
                let norm = self.only_reader(value, |op| op == Op::BatchNorm);
                if let Some(norm) = norm {
                    self.in_a_step[norm] = true;
                    output = norm;
                }
                let residual = self.residual(value, output);
                if let Some((other, sum)) = residual {
                    inputs.push(other);
                    output = sum;
                }
                let (relu, result) = self.relu(output);
                output = result;
                Kind::Conv {
                    conv,
                    node: value,
                    norm,
                    residual: residual.is_some(),
                    relu,
                }
            }
            Op::BatchNorm => {
                let (relu, result) = self.relu(value);
                output = result;
                Kind::BatchNorm { node: value, relu }
            }
            Op::GroupNorm { groups } => {
                let residual = self.residual(value, value);
                if let Some((other, sum)) = residual {
                    inputs.push(other);
                    output = sum;
                }
                let (relu, result) = self.relu(output);
                output = result;
                Kind::GroupNorm {
                    node: value,
                    groups,
                    residual: residual.is_some(),
                    relu,
                }
            }
            Op::MaxPool {
                kernel,
                stride,
                padding,
                outside,
                ..
            } => Kind::MaxPool {
                kernel,
                stride,
                padding,
                outside,
            },
            Op::AvgPool { size, .. } => Kind::AvgPool { size },
            Op::BlurPool => Kind::BlurPool,
            Op::ZeroPad { stride, .. } => Kind::ZeroPad { stride },
            Op::GlobalAvgPool => Kind::GlobalAvgPool,
            Op::ChannelConv { kernel } => Kind::ChannelConv {
                node: value,
                kernel,
            },
            Op::Linear => Kind::Linear { node: value },
            // the sigmoid of a gate is part of the step that applies the gate
            Op::Sigmoid => return self.gate(value),
            Op::Relu | Op::Add | Op::Scale | Op::Highway => {
                return Err(Error::Internal(format!(
                    "no step implements {:?} at node {value}",
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

    /// The step that applies the gate of node `sigmoid`.
    fn gate(&mut self, sigmoid: usize) -> Result<Step> {
        let gate = self.graph.nodes[sigmoid].inputs[0];
        if let Some(highway) = self.only_reader(sigmoid, |op| op == Op::Highway) {
            self.in_a_step[highway] = true;
            let inputs = &self.graph.nodes[highway].inputs;
            return Ok(Step {
                kind: Kind::Highway,
                inputs: vec![inputs[0], gate, inputs[2]],
                output: highway,
            });
        }
        let scale = self.only_reader(sigmoid, |op| op == Op::Scale);
        let residual = scale.and_then(|scale| self.residual(sigmoid, scale));
        let (Some(scale), Some((residual, sum))) = (scale, residual) else {
            return Err(Error::Internal(format!(
                "no step implements the gate at node {sigmoid}"
            )));
        };
        self.in_a_step[scale] = true;
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
    fn each_convolution_of_a_bottleneck_network_is_one_step() {
        let steps = steps("resnet50");
        // input, 53 convolutions, max pooling, global average, classifier
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
    fn the_steps_of_every_architecture_read_outputs_of_earlier_steps() {
        for row in family::FAMILY.iter() {
            let steps = steps(row.name);
            let mut computed = std::collections::HashSet::new();
            for step in &steps {
                assert!(
                    step.inputs.iter().all(|v| computed.contains(v)),
                    "{}: {step:?}",
                    row.name
                );
                assert!(computed.insert(step.output), "{}: {step:?} again", row.name);
            }
        }
    }
}
