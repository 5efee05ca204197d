//! Compares the logits of a backend with those of the portable CPU kernels when
//! it is loaded, so that kernels without a test on their hardware cannot serve
//! wrong results.

use std::collections::HashMap;

use crate::backend::{Backend, Input};
use crate::cpu::SupportedIsa;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::family::Norm;
use crate::options::{Isa, SelfCheck};
use crate::outputs::Outputs;
use crate::plan::{CpuConfig, CpuPlan};
use crate::source::Source;

/// Checks the candidates for one network.
pub(crate) struct SelfChecker<'a> {
    source: Source<'a>,
    policy: SelfCheck,
    /// RGB `[S, S, 3]`.
    pixels: Vec<u8>,
    /// Logits of the portable kernels, computed when first needed.
    expected: HashMap<Dtype, Vec<f32>>,
}

impl<'a> SelfChecker<'a> {
    pub(crate) fn new(source: Source<'a>, policy: SelfCheck) -> Self {
        let side = source.graph.shape(0).height;
        Self {
            source,
            policy,
            pixels: noise(3 * side * side),
            expected: HashMap::new(),
        }
    }

    /// Runs the image on `backend` if the policy asks for it: alone, and as
    /// every image of each batch that has kernels chosen for its size.
    ///
    /// # Errors
    /// [`Error::SelfCheck`]; a failure of the device.
    pub(crate) fn check(&mut self, backend: &dyn Backend) -> Result<()> {
        let checks = match self.policy {
            SelfCheck::Auto => backend.is_untested(),
            SelfCheck::On => true,
            SelfCheck::Off => false,
        };
        if !checks {
            return Ok(());
        }
        let info = backend.info();
        // rounding to 8 bits is part of the network: the same kernels, portable
        let reference = match info.dtype {
            Dtype::Int8 => Dtype::Int8,
            Dtype::F32 | Dtype::Bf16 | Dtype::F16 => Dtype::F32,
        };
        let tolerance = tolerance(info.dtype, self.source.row.norm);
        let expected = self.expected(reference)?;
        let mut difference = 0.0_f32;
        for n in backend.batch_sizes() {
            let images = vec![&self.pixels[..]; n];
            let output = backend.forward(Input::Pixels(&images), Outputs::LOGITS)?;
            if output.logits.len() != n * expected.len() {
                difference = f32::INFINITY;
            }
            for logits in output.logits.chunks(expected.len()) {
                difference = difference.max(largest_difference(logits, &expected));
            }
        }
        let backend = format!(
            "{} on {}, {}, {}",
            info.engine, info.device, info.dtype, info.isa
        );
        if difference <= tolerance {
            tracing::info!(backend, difference, tolerance, "self-check passed");
            return Ok(());
        }
        Err(Error::SelfCheck {
            backend,
            reference,
            difference,
            tolerance,
        })
    }

    fn expected(&mut self, dtype: Dtype) -> Result<Vec<f32>> {
        if let Some(logits) = self.expected.get(&dtype) {
            return Ok(logits.clone());
        }
        let Source {
            graph,
            checkpoint,
            preprocessing,
            threads,
            ..
        } = self.source;
        let isa = SupportedIsa::at_most(Isa::Portable);
        let config = CpuConfig { dtype, isa };
        let plan = CpuPlan::new(graph, checkpoint, preprocessing, config, threads)?;
        let output = plan.forward(Input::Pixels(&[&self.pixels]), Outputs::LOGITS)?;
        self.expected.insert(dtype, output.logits.clone());
        Ok(output.logits)
    }
}

/// The largest difference that rounding explains, as a part of the largest
/// logit. Correct kernels stay a few times below on every architecture; an
/// error in a kernel changes the logits by about their own size. Group norms
/// divide by the deviation of a few values, which magnifies rounding.
fn tolerance(dtype: Dtype, norm: Norm) -> f32 {
    let tolerance = match dtype {
        Dtype::F32 => 5e-4,
        Dtype::F16 => 1e-2,
        Dtype::Bf16 => 5e-2,
        Dtype::Int8 => 2e-2,
    };
    match norm {
        Norm::Batch => tolerance,
        Norm::Group => 8.0 * tolerance,
    }
}

/// Largest absolute difference over the largest absolute expected value;
/// infinite where a value is not a number.
fn largest_difference(got: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let difference = |(a, b): (&f32, &f32)| match (a - b).abs() {
        d if d.is_nan() => f32::INFINITY,
        d => d,
    };
    let worst = got
        .iter()
        .zip(expected)
        .map(difference)
        .fold(0f32, f32::max);
    if worst == 0.0 || worst.is_infinite() {
        return worst;
    }
    worst / largest
}

/// Pseudo-random bytes, the same every time (Knuth's linear congruential
/// generator, its high byte).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}
