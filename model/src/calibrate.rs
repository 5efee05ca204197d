//! Calibration for int8. Runs images in f32 and collects statistics of the output
//! of every step. From these it computes the ranges for quantization, and the
//! corrections of the mean error that rounding the weights causes.

use std::collections::HashMap;

use weights::{Checkpoint, Preprocessing, Ranges, fake_quantize};

use crate::backend::{Backend, Input};
use crate::build::build;
use crate::cpu::SupportedIsa;
use crate::detect::{Detected, detect};
use crate::error::Result;
use crate::fuse::{Kind, Step};
use crate::graph::Value;
use crate::histogram::Histogram;
use crate::model::preprocessing;
use crate::outputs::Outputs;
use crate::plan::{CpuConfig, CpuPlan, Done};
use crate::threads::ThreadPool;

/// Statistics of the output of every step over all calibration images.
pub struct Calibration {
    /// Computes in f32.
    plan: CpuPlan,
    preprocessing: Preprocessing,
    /// One element per step.
    outputs: Vec<OutputStatistics>,
}

/// Statistics of the output of one step.
#[derive(Default)]
struct OutputStatistics {
    histogram: Histogram,
    /// The sum over all pixels, per channel.
    sums: Vec<f64>,
    /// Number of pixels.
    pixels: f64,
}

impl OutputStatistics {
    /// Adds `values`, `[.., channels]`.
    fn add(&mut self, values: &[f32], channels: usize) {
        self.histogram.add(values);
        self.sums.resize(channels, 0.0);
        for pixel in values.chunks_exact(channels) {
            for (sum, &x) in self.sums.iter_mut().zip(pixel) {
                *sum += f64::from(x);
            }
        }
        self.pixels += (values.len() / channels) as f64;
    }

    /// The mean of a channel.
    fn mean(&self, channel: usize) -> f64 {
        self.sums.get(channel).map_or(0.0, |sum| sum / self.pixels)
    }
}

impl Calibration {
    /// Loads the network of `checkpoint` in f32.
    ///
    /// # Errors
    /// A checkpoint that matches no supported architecture; a parameter that is
    /// missing or has the wrong shape.
    pub fn new(checkpoint: &Checkpoint, threads: &ThreadPool) -> Result<Self> {
        let Detected { row, classes, .. } = detect(checkpoint)?;
        let preprocessing = preprocessing(row, checkpoint);
        let graph = build(row, preprocessing.crop as usize, classes);
        let config = CpuConfig::f32(SupportedIsa::best());
        let plan = CpuPlan::new(&graph, checkpoint, &preprocessing, config, threads)?;
        Ok(Self::of(plan, preprocessing))
    }

    /// Empty statistics of `plan`, which computes in f32.
    fn of(plan: CpuPlan, preprocessing: Preprocessing) -> Self {
        let outputs = plan.fused().map(|_| OutputStatistics::default()).collect();
        Self {
            plan,
            preprocessing,
            outputs,
        }
    }

    /// The preprocessing that the network expects.
    #[must_use]
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Runs `input` through the network and adds the outputs of its steps to the
    /// statistics.
    ///
    /// # Errors
    /// An input that does not consist of whole images of the network's size.
    pub fn add(&mut self, input: Input) -> Result<()> {
        let graph = self.plan.graph();
        let channels: Vec<usize> = self
            .plan
            .fused()
            .map(|step| graph.shape(step.output).channels)
            .collect();
        let outputs = &mut self.outputs;
        self.plan
            .forward_observed(input, Outputs::LOGITS, &mut |done: Done| {
                outputs[done.step].add(&(done.values)(), channels[done.step]);
            })?;
        Ok(())
    }

    /// For each step, the smallest and the largest value of its output, for the
    /// metadata of a quantized checkpoint.
    #[must_use]
    pub fn ranges(&self) -> Ranges {
        let ranges = self
            .outputs
            .iter()
            .map(|output| output.histogram.best_range());
        self.plan.keys().into_iter().zip(ranges).collect()
    }

    /// Bias correction (Nagel et al. 2019): the names and new values of the biases
    /// and running means that cancel the mean error of rounded weights. With rounded
    /// weights w', output channel o has the mean error
    ///
    /// ```text
    /// E[y'] - E[y] = sum over c of (sum over r, s of w'[o, c, r, s] - w[o, c, r, s]) * E[x[c]]
    /// ```
    ///
    /// # Errors
    /// A parameter that is missing or has the wrong shape.
    pub fn corrections(&self, checkpoint: &Checkpoint) -> Result<Vec<(String, Vec<f32>)>> {
        let step_of: HashMap<Value, usize> = self
            .plan
            .fused()
            .enumerate()
            .map(|(i, step)| (step.output, i))
            .collect();
        let mut corrections = Vec::new();
        for step in self.plan.fused() {
            let Some((node, target, sign)) = self.corrected(step) else {
                continue;
            };
            let graph = self.plan.graph();
            let Some((name, shape)) = graph.parameters_of(&graph.nodes[node]).into_iter().next()
            else {
                continue;
            };
            // 8-bit weights are not rounded again
            if checkpoint.steps(&name)?.is_some() {
                continue;
            }
            let weights = checkpoint.read(&name, &shape)?;
            let (cout, per_group) = (shape[0], shape[1]);
            let groups = graph.shape(step.inputs[0]).channels / per_group;
            let errors: Vec<f64> = fake_quantize(&weights, cout)
                .iter()
                .zip(&weights)
                .map(|(rounded, w)| f64::from(rounded - w))
                .collect();
            let input = &self.outputs[step_of[&step.inputs[0]]];
            let taps = errors.len() / (cout * per_group);
            let mut values = checkpoint.read(&target, &[cout])?;
            for (o, value) in values.iter_mut().enumerate() {
                let first = o / (cout / groups) * per_group;
                let row = errors[o * per_group * taps..][..per_group * taps].chunks_exact(taps);
                let shift = row
                    .enumerate()
                    .map(|(c, taps)| taps.iter().sum::<f64>() * input.mean(first + c));
                *value += (sign * shift.sum::<f64>()) as f32;
            }
            corrections.push((target, values));
        }
        Ok(corrections)
    }

    /// For a step with weights: its node, the name of the vector that is corrected
    /// and the sign of the correction. The vector is the running mean of the batch
    /// norm if there is one, else the bias. `None` if the step has neither, or if its
    /// weights are standardised.
    fn corrected(&self, step: &Step) -> Option<(usize, String, f64)> {
        let name = |node: usize| &self.plan.graph().nodes[node].name;
        match step.kind {
            Kind::Conv { conv, .. } if conv.standardised.is_some() => None,
            Kind::Conv {
                node,
                norm: Some(norm),
                ..
            } => Some((node, format!("{}.running_mean", name(norm)), 1.0)),
            Kind::Conv { conv, node, .. } if conv.bias => {
                Some((node, format!("{}.bias", name(node)), -1.0))
            }
            Kind::Linear { node } => Some((node, format!("{}.bias", name(node)), -1.0)),
            _ => None,
        }
    }
}
