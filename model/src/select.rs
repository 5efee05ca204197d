//! Chooses the backend of a network: candidates in order of preference, of
//! which the first that loads and passes its self-check is taken.

use crate::backend::Backend;
use crate::candle::CandleBackend;
use crate::cpu::SupportedIsa;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::family::{Norm, Stem};
use crate::options::{Choice, EngineChoice, Isa, Options};
use crate::plan::{CpuConfig, CpuPlan};
use crate::self_check::SelfChecker;
use crate::source::Source;

/// A backend that could run the network.
struct Candidate<'a> {
    device: Device,
    load: Box<dyn Fn() -> Result<Box<dyn Backend>> + 'a>,
}

/// Loads the best backend that `options` allow.
///
/// # Errors
/// A device, data type or instruction set that was named and cannot be used; a
/// parameter that is missing or wrong; [`Error::SelfCheck`].
pub(crate) fn load(source: Source, options: &Options) -> Result<Box<dyn Backend>> {
    let mut checker = SelfChecker::new(source, options.self_check);
    first_correct(candidates(source, options)?, &mut checker)
}

/// The first candidate that works. One on a GPU that fails in any way, or one
/// that computes wrong logits, is passed over unless it is the last.
fn first_correct(
    candidates: Vec<Candidate>,
    checker: &mut SelfChecker,
) -> Result<Box<dyn Backend>> {
    let mut candidates = candidates.into_iter().peekable();
    while let Some(candidate) = candidates.next() {
        let backend = (candidate.load)();
        let checked = backend.and_then(|backend| {
            checker.check(backend.as_ref())?;
            Ok(backend)
        });
        match checked {
            Ok(backend) => return Ok(backend),
            Err(error) => {
                let skips = matches!(error, Error::SelfCheck { .. }) || !candidate.device.is_cpu();
                if !skips || candidates.peek().is_none() {
                    return Err(error);
                }
                tracing::warn!(%error, device = %candidate.device, "next best backend");
            }
        }
    }
    Err(Error::Internal("no backend to choose from".into()))
}

fn candidates<'a>(source: Source<'a>, options: &'a Options) -> Result<Vec<Candidate<'a>>> {
    let mut candidates = Vec::new();
    for device in devices(options) {
        match (options.engine, &device) {
            (EngineChoice::Candle, _) => candidates.push(candle(source, options, device)?),
            (EngineChoice::Fused, Device::Cuda(_)) => {
                candidates.push(cuda(source, options, device));
            }
            (EngineChoice::Fused, Device::Cpu) => {
                let instruction_sets = instruction_sets(options.isa)?;
                candidates.extend(cpu(source, options.dtype, &instruction_sets)?);
            }
        }
    }
    Ok(candidates)
}

/// The devices to try, the best first.
fn devices(options: &Options) -> Vec<Device> {
    match &options.device {
        Choice::Named(device) => vec![device.clone()],
        Choice::Auto => match why_not_cuda(options.dtype) {
            None => vec![Device::Cuda(vec![0]), Device::Cpu],
            Some(reason) => {
                tracing::info!(reason, "device auto: cpu");
                vec![Device::Cpu]
            }
        },
    }
}

fn why_not_cuda(dtype: Choice<Dtype>) -> Option<String> {
    if dtype == Choice::Named(Dtype::Int8) {
        return Some("int8 is for the CPU".into());
    }
    #[cfg(feature = "cuda")]
    return crate::cuda::CudaPlan::missing();
    #[cfg(not(feature = "cuda"))]
    Some("this build has no CUDA".into())
}

/// Fused kernels on the CPU, one candidate for each of `instruction_sets`.
fn cpu<'a>(
    source: Source<'a>,
    dtype: Choice<Dtype>,
    instruction_sets: &[SupportedIsa],
) -> Result<Vec<Candidate<'a>>> {
    let candidate = |&isa: &SupportedIsa| {
        let dtype = cpu_dtype(dtype, isa, source)?;
        let config = CpuConfig { dtype, isa };
        let load = move || -> Result<Box<dyn Backend>> {
            let s = source;
            let plan = CpuPlan::new(s.graph, s.checkpoint, s.preprocessing, config, s.threads)?;
            Ok(Box::new(plan))
        };
        Ok(Candidate {
            device: Device::Cpu,
            load: Box::new(load),
        })
    };
    instruction_sets.iter().map(candidate).collect()
}

/// The data type asked for, or the best for these kernels and this checkpoint.
/// bf16 is only chosen where its rounding does not show: group norms magnify
/// it, and the small networks for CIFAR have too few channels to average it
/// out (one lost 0.3 points of accuracy).
fn cpu_dtype(choice: Choice<Dtype>, isa: SupportedIsa, source: Source) -> Result<Dtype> {
    let row = source.row;
    let quantised = source.checkpoint.metadata().ranges.is_some();
    let tolerates_bf16 = row.norm == Norm::Batch && row.stem != Stem::Conv3;
    Ok(match choice {
        Choice::Named(dtype) => dtype,
        Choice::Auto if quantised => Dtype::Int8,
        Choice::Auto if isa.has_bf16() && tolerates_bf16 => Dtype::Bf16,
        Choice::Auto => Dtype::F32,
    })
}

/// The instruction sets to try, the best first: all of this CPU, or the one
/// that was named.
fn instruction_sets(choice: Choice<Isa>) -> Result<Vec<SupportedIsa>> {
    let mut all = SupportedIsa::all();
    all.reverse();
    let Choice::Named(named) = choice else {
        return Ok(all);
    };
    if let Some(&isa) = all.iter().find(|isa| isa.get() == named) {
        return Ok(vec![isa]);
    }
    let names: Vec<String> = all.iter().map(|isa| isa.get().to_string()).collect();
    Err(Error::Option {
        option: format!("isa {named}"),
        reason: format!("this CPU has {}", names.join(", ")),
    })
}

/// candle's operations.
fn candle<'a>(source: Source<'a>, options: &Options, device: Device) -> Result<Candidate<'a>> {
    let refuse = |option: String, reason: &str| Error::Option {
        option,
        reason: reason.into(),
    };
    match (options.dtype, options.isa) {
        (Choice::Named(dtype), _) if dtype != Dtype::F32 => Err(refuse(
            format!("dtype {dtype}"),
            "the candle engine computes in f32",
        )),
        (_, Choice::Named(isa)) => Err(refuse(
            format!("isa {isa}"),
            "the candle engine chooses its instructions itself; use the fused engine, or isa auto",
        )),
        _ => {
            let on = device.clone();
            let load = move || -> Result<Box<dyn Backend>> {
                let s = source;
                let backend =
                    CandleBackend::new(s.graph, s.checkpoint, s.preprocessing, &on, s.threads)?;
                Ok(Box::new(backend))
            };
            Ok(Candidate {
                device,
                load: Box::new(load),
            })
        }
    }
}

/// The CUDA executor.
#[cfg(feature = "cuda")]
fn cuda<'a>(source: Source<'a>, options: &'a Options, device: Device) -> Candidate<'a> {
    use crate::cuda::{CudaPlan, Placement};
    let on = device.clone();
    let load = move || -> Result<Box<dyn Backend>> {
        let Device::Cuda(gpus) = &on else {
            return Err(Error::Internal("the CUDA executor on a CPU".into()));
        };
        let placement = Placement {
            gpus: gpus.clone(),
            streams: options.cuda.streams,
            largest_batch: options.cuda.largest_batch,
            dtype: match options.dtype {
                // f16 is as accurate as f32 to a ten-thousandth of the largest
                // logit, and every GPU has it
                Choice::Auto => Dtype::F16,
                Choice::Named(dtype) => dtype,
            },
            tuning: options.cuda.tuning.clone(),
        };
        let Source {
            graph,
            checkpoint,
            preprocessing,
            ..
        } = source;
        let plan = CudaPlan::new(graph, checkpoint, preprocessing, &placement)?;
        let names: Vec<&str> = plan.gpus().iter().map(|gpu| gpu.name.as_str()).collect();
        tracing::info!(gpus = ?names, streams = plan.streams(), "on CUDA");
        Ok(Box::new(plan))
    };
    Candidate {
        device,
        load: Box::new(load),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda<'a>(_: Source<'a>, _: &'a Options, device: Device) -> Candidate<'a> {
    let named = device.to_string();
    let load = move || {
        Err(Error::Device {
            device: named.clone(),
            reason: "this build has no CUDA path: build it with `--features cuda`, or choose cpu \
                     or auto"
                .into(),
        })
    };
    Candidate {
        device,
        load: Box::new(load),
    }
}
