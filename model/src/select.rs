//! Chooses the backend of a network. The candidates are tried in order of
//! preference; the first that loads and passes its self-check is used.

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

/// A backend that may be able to run the network.
struct Candidate<'a> {
    device: Device,
    load: Box<dyn Fn() -> Result<Box<dyn Backend>> + 'a>,
}

/// Loads the best backend that `options` allow.
///
/// # Errors
/// A requested device, data type or instruction set that cannot be used; a
/// parameter that is missing or has the wrong shape; [`Error::SelfCheck`].
pub(crate) fn load(source: Source, options: &Options) -> Result<Box<dyn Backend>> {
    let mut checker = SelfChecker::new(source, options.self_check);
    first_correct(candidates(source, options)?, &mut checker)
}

/// The first candidate that loads and passes its self-check. If the self-check of
/// a candidate fails, or a GPU candidate fails for any reason, the next candidate
/// is tried. Other errors, and those of the last candidate, are returned.
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
                let can_skip =
                    matches!(error, Error::SelfCheck { .. }) || !candidate.device.is_cpu();
                if !can_skip || candidates.peek().is_none() {
                    return Err(error);
                }
                tracing::warn!(%error, device = %candidate.device, "trying the next backend");
            }
        }
    }
    Err(Error::Internal("there is no candidate backend".into()))
}

/// The backends that `options` allow, best first.
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

/// The devices to try, best first.
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

/// Why `device auto` does not try the GPU; `None` if it does.
fn why_not_cuda(dtype: Choice<Dtype>) -> Option<String> {
    if dtype == Choice::Named(Dtype::Int8) {
        return Some("int8 is supported on the CPU only".into());
    }
    #[cfg(feature = "cuda")]
    return crate::cuda::CudaPlan::missing();
    #[cfg(not(feature = "cuda"))]
    Some("this build has no CUDA support".into())
}

/// The fused CPU backend: one candidate for each of `instruction_sets`.
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

/// The requested data type. `auto` is int8 for a quantized checkpoint, else bf16
/// if the CPU has instructions for it, else f32.
///
/// `auto` does not use bf16 where its rounding errors reduce the accuracy. Group
/// norm amplifies them. The CIFAR networks have too few channels to average them
/// out: one lost 0.3 points of accuracy.
fn cpu_dtype(choice: Choice<Dtype>, isa: SupportedIsa, source: Source) -> Result<Dtype> {
    let row = source.row;
    let quantized = source.checkpoint.metadata().ranges.is_some();
    let tolerates_bf16 = row.norm == Norm::Batch && row.stem != Stem::Conv3;
    Ok(match choice {
        Choice::Named(dtype) => dtype,
        Choice::Auto if quantized => Dtype::Int8,
        Choice::Auto if isa.has_bf16() && tolerates_bf16 => Dtype::Bf16,
        Choice::Auto => Dtype::F32,
    })
}

/// The instruction sets to try, best first: all that this CPU supports, or only
/// the requested one.
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
        reason: format!("this CPU supports {}", names.join(", ")),
    })
}

/// The candle backend.
fn candle<'a>(source: Source<'a>, options: &Options, device: Device) -> Result<Candidate<'a>> {
    let unsupported = |option: String, reason: &str| Error::Option {
        option,
        reason: reason.into(),
    };
    match (options.dtype, options.isa) {
        (Choice::Named(dtype), _) if dtype != Dtype::F32 => Err(unsupported(
            format!("dtype {dtype}"),
            "the candle engine computes in f32 only; use dtype f32 or the fused engine",
        )),
        (_, Choice::Named(isa)) => Err(unsupported(
            format!("isa {isa}"),
            "the candle engine has no choice of instruction set; use isa auto or the fused engine",
        )),
        _ => {
            let target = device.clone();
            let load = move || -> Result<Box<dyn Backend>> {
                let s = source;
                let backend =
                    CandleBackend::new(s.graph, s.checkpoint, s.preprocessing, &target, s.threads)?;
                Ok(Box::new(backend))
            };
            Ok(Candidate {
                device,
                load: Box::new(load),
            })
        }
    }
}

/// The CUDA backend.
#[cfg(feature = "cuda")]
fn cuda<'a>(source: Source<'a>, options: &'a Options, device: Device) -> Candidate<'a> {
    use crate::cuda::{CudaPlan, Placement};
    let target = device.clone();
    let load = move || -> Result<Box<dyn Backend>> {
        let Device::Cuda(gpus) = &target else {
            return Err(Error::Internal("the CUDA backend on a CPU device".into()));
        };
        let placement = Placement {
            gpus: gpus.clone(),
            streams: options.cuda.streams,
            largest_batch: options.cuda.largest_batch,
            dtype: match options.dtype {
                // the logits differ from f32 by about 1e-4 of the largest one, and every
                // supported GPU has f16
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
        tracing::info!(gpus = ?names, streams = plan.streams(), "loaded on CUDA");
        Ok(Box::new(plan))
    };
    Candidate {
        device,
        load: Box::new(load),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda<'a>(_: Source<'a>, _: &'a Options, device: Device) -> Candidate<'a> {
    let name = device.to_string();
    let load = move || {
        Err(Error::Device {
            device: name.clone(),
            reason:
                "this build has no CUDA support: build it with `--features cuda`, or choose cpu \
                     or auto"
                    .into(),
        })
    };
    Candidate {
        device,
        load: Box::new(load),
    }
}
