//! Which of cuDNN's engines is fastest for a convolution on a card: measured
//! once, and kept in a file by card, version of cuDNN and convolution.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::cuda_backend::cudarc::cudnn::result::get_version;
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use candle_core::cuda_backend::cudarc::driver::sys::CUevent_flags;

use super::dnn::{Convolution, Engines, Handle, Operands, Plan, Target};
use super::fault::Fault;
use super::map::Map;
use super::memory::Buffer;
use super::number::Number;
use crate::graph::Shape;

/// Engines that are measured, from cuDNN's first guess on.
const MEASURED: usize = 6;
/// Runs before and while the clock runs.
const WARM: usize = 2;
const TIMED: usize = 5;
/// An engine that wants more workspace than this is passed over; where all do,
/// the batch is halved, and where one image wants more, it gets it.
const WORKSPACE: usize = 256 << 20;

/// Choices of engines on one card.
pub(super) struct Tuner {
    /// Engine by convolution and number type.
    known: Mutex<BTreeMap<String, usize>>,
    /// `None` where nothing is measured: cuDNN's first guess is taken.
    measure: Option<Kept>,
}

/// Where choices are kept.
struct Kept {
    file: Option<PathBuf>,
}

impl Tuner {
    /// Takes cuDNN's first guess.
    pub(super) fn off() -> Self {
        Self {
            known: Mutex::default(),
            measure: None,
        }
    }

    /// Measures, and keeps what it finds in `folder` if there is one.
    pub(super) fn on(card: &str, folder: Option<&Path>) -> Self {
        let card: String = card
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '-' })
            .collect();
        let file = folder.map(|f| f.join(format!("cudnn-{}-{card}.tsv", get_version())));
        let text = file.as_ref().and_then(|f| std::fs::read_to_string(f).ok());
        Self {
            known: Mutex::new(parse(&text.unwrap_or_default())),
            measure: Some(Kept { file }),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan to use for a convolution: for its batch, or for a part that
    /// divides it.
    pub(super) fn choose(
        &self,
        handle: &Handle,
        stream: &Arc<CudaStream>,
        convolution: Convolution,
        number: Number,
    ) -> Result<Arc<Plan>, Fault> {
        let choose = |part| self.choose_for(handle, stream, part, number);
        in_parts(convolution, choose)
    }

    /// The plan for just this convolution.
    fn choose_for(
        &self,
        handle: &Handle,
        stream: &Arc<CudaStream>,
        convolution: Convolution,
        number: Number,
    ) -> Result<Arc<Plan>, Fault> {
        let target = Target::Handle(handle);
        let engines = Engines::new(target, convolution, number)?;
        if self.measure.is_none() {
            return first(target, &engines, convolution, number);
        }
        let key = format!("{convolution} {}", number.name());
        let known = self.known().get(&key).copied();
        // a file may be of another time: what it names may not do any more
        let kept = known.and_then(|index| engines.plan(target, index).ok());
        if let Some(plan) = kept {
            return Ok(plan);
        }
        let plan = fastest(handle, stream, &engines, convolution, number)?;
        self.known().insert(key, plan.engine());
        Ok(plan)
    }

    /// Writes what is known to the file, if there is one.
    pub(super) fn keep(&self) {
        let Some(Kept { file: Some(file) }) = &self.measure else {
            return;
        };
        let lines = self
            .known()
            .iter()
            .fold(String::new(), |text, (key, index)| {
                text + key + "\t" + &index.to_string() + "\n"
            });
        if let Err(error) = write(file, &lines) {
            tracing::warn!(file = %file.display(), %error, "the choice of engines is not kept");
        }
    }
}

/// Whole or not at all: another process may read it meanwhile.
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

fn none(convolution: Convolution, number: Number, reason: String) -> Fault {
    Fault::NoEngine {
        convolution: format!("{convolution} {}", number.name()),
        reason,
    }
}

/// What `choose` gives for the batch of `whole`, or, where it finds no engine
/// or only ones with too much workspace, for the half of it, and so on.
pub(super) fn in_parts(
    whole: Convolution,
    mut choose: impl FnMut(Convolution) -> Result<Arc<Plan>, Fault>,
) -> Result<Arc<Plan>, Fault> {
    let mut part = whole;
    loop {
        let chosen = choose(part);
        let does = match &chosen {
            Ok(plan) => plan.workspace() <= WORKSPACE,
            Err(fault) => !matches!(fault, Fault::NoEngine { .. }),
        };
        if does || part.n == 1 {
            return chosen;
        }
        part.n = match part.n % 2 {
            0 => part.n / 2,
            _ => 1,
        };
    }
}

/// cuDNN's first engine that does with little workspace; where none does, the
/// one with the least.
pub(super) fn first(
    target: Target,
    engines: &Engines,
    convolution: Convolution,
    number: Number,
) -> Result<Arc<Plan>, Fault> {
    let mut reason = "there is none".to_owned();
    let mut least: Option<Arc<Plan>> = None;
    for index in 0..engines.len() {
        match engines.plan(target, index) {
            Ok(plan) if plan.workspace() <= WORKSPACE => return Ok(plan),
            Ok(plan) => {
                let less = |best: &Arc<Plan>| plan.workspace() < best.workspace();
                if least.as_ref().is_none_or(less) {
                    least = Some(plan);
                }
            }
            Err(fault) => reason = fault.to_string(),
        }
    }
    least.ok_or_else(|| none(convolution, number, reason))
}

/// The fastest of the first engines that do.
fn fastest(
    handle: &Handle,
    stream: &Arc<CudaStream>,
    engines: &Engines,
    convolution: Convolution,
    number: Number,
) -> Result<Arc<Plan>, Fault> {
    let mut best: Option<(f32, Arc<Plan>)> = None;
    let mut measured = 0;
    for index in 0..engines.len() {
        if measured == MEASURED {
            break;
        }
        let plan = match engines.plan(Target::Handle(handle), index) {
            Ok(plan) if plan.workspace() <= WORKSPACE => plan,
            _ => continue,
        };
        measured += 1;
        let time = measure(handle, stream, &plan, &convolution, number)?;
        if best.as_ref().is_none_or(|(least, _)| time < *least) {
            best = Some((time, plan));
        }
    }
    match best {
        Some((_, plan)) => Ok(plan),
        None => first(Target::Handle(handle), engines, convolution, number),
    }
}

/// Milliseconds of the timed runs, over memory that is let go afterwards.
fn measure(
    handle: &Handle,
    stream: &Arc<CudaStream>,
    plan: &Arc<Plan>,
    convolution: &Convolution,
    number: Number,
) -> Result<f32, Fault> {
    let map = |[channels, height, width]: [usize; 3]| {
        let shape = Shape {
            channels,
            height,
            width,
        };
        let map = Map::new(0, convolution.n, shape);
        let buffer = Buffer::zeros(stream, map.len() * number.bytes())?;
        Ok::<_, Fault>((
            Map {
                at: buffer.at(),
                ..map
            },
            buffer,
        ))
    };
    let (x, _x) = map(convolution.input)?;
    let (y, _y) = map(convolution.output)?;
    let (residual, _z) = map(convolution.output)?;
    let weights = convolution.weights() * number.bytes();
    let weight = Buffer::zeros(stream, weights)?;
    let bias = Buffer::zeros(stream, convolution.output[0] * number.bytes())?;
    let workspace = Buffer::zeros(stream, plan.workspace())?;
    let bound = plan.bind(&Operands {
        x: &x,
        weight: weight.at(),
        residual: convolution.residual.then_some(&residual),
        bias: bias.at(),
        y: &y,
        workspace: workspace.at(),
    })?;
    let clock = || {
        let flags = Some(CUevent_flags::CU_EVENT_DEFAULT);
        stream.context().new_event(flags)
    };
    let (start, end) = (clock()?, clock()?);
    for _ in 0..WARM {
        bound.run(handle)?;
    }
    start.record(stream)?;
    for _ in 0..TIMED {
        bound.run(handle)?;
    }
    end.record(stream)?;
    Ok(start.elapsed_ms(&end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_choice_are_passed_over() {
        let known = parse("n1 3x3 f16\t2\nnonsense\nn2\tx\n");
        assert_eq!(
            known.into_iter().collect::<Vec<_>>(),
            [("n1 3x3 f16".into(), 2)]
        );
    }
}
