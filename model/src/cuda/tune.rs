//! Chooses the cuDNN engine for each convolution: by cuDNN's ranking, or by
//! measuring. Measured choices are stored in a file per GPU model and cuDNN
//! version, keyed by convolution and dtype.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::cuda_backend::cudarc::cudnn::result::get_version;
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use candle_core::cuda_backend::cudarc::driver::sys::CUevent_flags;

use super::dnn::{
    Convolution, ConvolutionOperands, EngineConfigs, ExecutionPlan, Handle, PlanTarget,
};
use super::error::CudaError;
use super::memory::DeviceBuffer;
use super::tensor::DeviceTensor;
use crate::dtype::Dtype;
use crate::graph::Shape;

/// How many engine configurations are measured, in cuDNN's order.
const MEASURED: usize = 6;
/// Runs before the measurement.
const WARMUP_RUNS: usize = 2;
/// Runs during the measurement.
const TIMED_RUNS: usize = 5;
/// Limit of an engine's workspace in bytes. Engines above it are skipped. If all
/// engines are above it, the batch is halved. The limit does not apply to a batch
/// of one image.
const WORKSPACE_LIMIT: usize = 256 << 20;

/// The engine choices for one GPU.
pub(super) struct Tuner {
    /// Index of the engine configuration, by convolution and dtype.
    choices: Mutex<BTreeMap<String, usize>>,
    method: Method,
}

/// How an engine is chosen.
enum Method {
    /// The first usable one in cuDNN's ranking.
    Heuristic,
    /// The fastest one; the choices are stored in `file`, if there is one.
    Measured { file: Option<PathBuf> },
}

impl Tuner {
    /// A tuner that takes the first usable engine in cuDNN's ranking.
    pub(super) fn heuristic() -> Self {
        Self {
            choices: Mutex::default(),
            method: Method::Heuristic,
        }
    }

    /// A tuner that measures engines on the GPU model `gpu`, and loads and saves
    /// its choices in `folder`, if there is one.
    pub(super) fn measured(gpu: &str, folder: Option<&Path>) -> Self {
        let gpu: String = gpu
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '-' })
            .collect();
        let file = folder.map(|f| f.join(format!("cudnn-{}-{gpu}.tsv", get_version())));
        let text = file.as_ref().and_then(|f| std::fs::read_to_string(f).ok());
        Self {
            choices: Mutex::new(parse(&text.unwrap_or_default())),
            method: Method::Measured { file },
        }
    }

    fn choices(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.choices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan for a convolution. It is for the whole batch, or for a part
    /// whose size divides the batch.
    pub(super) fn choose(
        &self,
        handle: &Handle,
        stream: &Arc<CudaStream>,
        convolution: Convolution,
        dtype: Dtype,
    ) -> Result<Arc<ExecutionPlan>, CudaError> {
        let choose = |part| self.choose_for(handle, stream, part, dtype);
        split_until_usable(convolution, choose)
    }

    /// The plan for exactly this convolution.
    fn choose_for(
        &self,
        handle: &Handle,
        stream: &Arc<CudaStream>,
        convolution: Convolution,
        dtype: Dtype,
    ) -> Result<Arc<ExecutionPlan>, CudaError> {
        let target = PlanTarget::Handle(handle);
        let configs = EngineConfigs::new(target, convolution, dtype)?;
        if matches!(self.method, Method::Heuristic) {
            return first_usable(target, &configs, convolution, dtype);
        }
        let key = format!("{convolution} {}", dtype.name());
        let stored = self.choices().get(&key).copied();
        // if the stored engine cannot be used any more, measure again
        if let Some(plan) = stored.and_then(|index| configs.plan(target, index).ok()) {
            return Ok(plan);
        }
        let plan = fastest(handle, stream, &configs, convolution, dtype)?;
        self.choices().insert(key, plan.engine());
        Ok(plan)
    }

    /// Saves the choices to the file, if there is one.
    pub(super) fn save(&self) {
        let Method::Measured { file: Some(file) } = &self.method else {
            return;
        };
        let lines = self
            .choices()
            .iter()
            .fold(String::new(), |text, (key, index)| {
                text + key + "\t" + &index.to_string() + "\n"
            });
        if let Err(error) = write(file, &lines) {
            tracing::warn!(
                file = %file.display(), %error,
                "cannot save the cuDNN engine choices; the next start measures again"
            );
        }
    }
}

/// Writes a file atomically, because another process may read it.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let part = file.with_extension(format!("{}.part", std::process::id()));
    std::fs::File::create(&part)?.write_all(text.as_bytes())?;
    std::fs::rename(part, file)
}

fn parse(text: &str) -> BTreeMap<String, usize> {
    let line = |line: &str| {
        let (key, index) = line.rsplit_once('\t')?;
        Some((key.to_owned(), index.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn no_engine(convolution: Convolution, dtype: Dtype, reason: String) -> CudaError {
    CudaError::NoEngine {
        convolution: format!("{convolution} {}", dtype.name()),
        reason,
    }
}

/// Calls `choose` for the batch of `whole`. While it finds no engine, or only
/// engines above the workspace limit, tries again with half of the batch; a
/// batch of odd size continues with single images.
pub(super) fn split_until_usable(
    whole: Convolution,
    mut choose: impl FnMut(Convolution) -> Result<Arc<ExecutionPlan>, CudaError>,
) -> Result<Arc<ExecutionPlan>, CudaError> {
    let mut part = whole;
    loop {
        let chosen = choose(part);
        let done = match &chosen {
            Ok(plan) => plan.workspace() <= WORKSPACE_LIMIT,
            Err(error) => !matches!(error, CudaError::NoEngine { .. }),
        };
        if done || part.n == 1 {
            return chosen;
        }
        part.n = match part.n % 2 {
            0 => part.n / 2,
            _ => 1,
        };
    }
}

/// The first usable engine in cuDNN's order whose workspace is within the
/// limit, or else the usable engine with the smallest workspace.
pub(super) fn first_usable(
    target: PlanTarget,
    configs: &EngineConfigs,
    convolution: Convolution,
    dtype: Dtype,
) -> Result<Arc<ExecutionPlan>, CudaError> {
    let mut reason = "cuDNN returned no engine configuration".to_owned();
    let mut smallest: Option<Arc<ExecutionPlan>> = None;
    for index in 0..configs.len() {
        match configs.plan(target, index) {
            Ok(plan) if plan.workspace() <= WORKSPACE_LIMIT => return Ok(plan),
            Ok(plan) => {
                let smaller = |best: &Arc<ExecutionPlan>| plan.workspace() < best.workspace();
                if smallest.as_ref().is_none_or(smaller) {
                    smallest = Some(plan);
                }
            }
            Err(error) => reason = error.to_string(),
        }
    }
    smallest.ok_or_else(|| no_engine(convolution, dtype, reason))
}

/// The fastest of the first [`MEASURED`] usable engines within the workspace
/// limit.
fn fastest(
    handle: &Handle,
    stream: &Arc<CudaStream>,
    configs: &EngineConfigs,
    convolution: Convolution,
    dtype: Dtype,
) -> Result<Arc<ExecutionPlan>, CudaError> {
    let mut best: Option<(f32, Arc<ExecutionPlan>)> = None;
    let mut measured = 0;
    for index in 0..configs.len() {
        if measured == MEASURED {
            break;
        }
        let plan = match configs.plan(PlanTarget::Handle(handle), index) {
            Ok(plan) if plan.workspace() <= WORKSPACE_LIMIT => plan,
            _ => continue,
        };
        measured += 1;
        let time = measure(handle, stream, &plan, &convolution, dtype)?;
        if best.as_ref().is_none_or(|(fastest, _)| time < *fastest) {
            best = Some((time, plan));
        }
    }
    match best {
        Some((_, plan)) => Ok(plan),
        None => first_usable(PlanTarget::Handle(handle), configs, convolution, dtype),
    }
}

/// Time of [`TIMED_RUNS`] runs in milliseconds, on temporary buffers.
fn measure(
    handle: &Handle,
    stream: &Arc<CudaStream>,
    plan: &Arc<ExecutionPlan>,
    convolution: &Convolution,
    dtype: Dtype,
) -> Result<f32, CudaError> {
    let tensor = |[channels, height, width]: [usize; 3]| {
        let shape = Shape {
            channels,
            height,
            width,
        };
        let tensor = DeviceTensor::new(0, convolution.n, shape);
        let buffer = DeviceBuffer::zeros(stream, tensor.len() * dtype.bytes())?;
        Ok::<_, CudaError>((
            DeviceTensor {
                at: buffer.address(),
                ..tensor
            },
            buffer,
        ))
    };
    // the buffers must not be dropped before the measurement ends
    let (x, _x) = tensor(convolution.input)?;
    let (y, _y) = tensor(convolution.output)?;
    let (residual, _z) = tensor(convolution.output)?;
    let weights = convolution.weights() * dtype.bytes();
    let weight = DeviceBuffer::zeros(stream, weights)?;
    let bias = DeviceBuffer::zeros(stream, convolution.output[0] * dtype.bytes())?;
    let workspace = DeviceBuffer::zeros(stream, plan.workspace())?;
    let bound = plan.bind(&ConvolutionOperands {
        x: &x,
        weight: weight.address(),
        residual: convolution.residual.then_some(&residual),
        bias: bias.address(),
        y: &y,
        workspace: workspace.address(),
    })?;
    let timing_event = || {
        let flags = Some(CUevent_flags::CU_EVENT_DEFAULT);
        stream.context().new_event(flags)
    };
    let (start, end) = (timing_event()?, timing_event()?);
    for _ in 0..WARMUP_RUNS {
        bound.run(handle)?;
    }
    start.record(stream)?;
    for _ in 0..TIMED_RUNS {
        bound.run(handle)?;
    }
    end.record(stream)?;
    Ok(start.elapsed_ms(&end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_lines_are_skipped() {
        let choices = parse("n1 3x3 f16\t2\nnonsense\nn2\tx\n");
        assert_eq!(
            choices.into_iter().collect::<Vec<_>>(),
            [("n1 3x3 f16".into(), 2)]
        );
    }
}
