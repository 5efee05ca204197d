//! The fused CPU backend: runs steps with packed weights on NHWC feature maps in
//! an arena. `fuse::Kind` defines what each step computes; the kernels are in
//! `cpu`.

mod run;

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use half::bf16;
use weights::{Checkpoint, Preprocessing};

use crate::backend::{Backend, BackendInfo, Input, StepObserver};
use crate::class_map::ClassWeights;
use crate::cost::Cost;
use crate::cpu::{self, Affine, AlignedBuffer, FeatureMap, HugePages, SupportedIsa};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::{Error, NoClassMaps, Result, no_such_class};
use crate::fuse::{Kind, Step, fuse, runs_with};
use crate::graph::{Graph, Value};
use crate::layout::ArenaLayout;
use crate::options::{EngineChoice, Isa};
use crate::outputs::{Output, OutputValues, Outputs};
use crate::packed::Packed;
use crate::ranges;
use crate::threads::ThreadPool;

/// A step that has finished, as reported to an observer.
pub(crate) struct Done<'a> {
    /// The index of the step.
    pub(crate) step: usize,
    /// The duration of the step.
    pub(crate) time: Duration,
    /// Converts the output of the step, `[N, H, W, C]`, to f32.
    pub(crate) values: &'a dyn Fn() -> Vec<f32>,
}

/// The buffers of a forward pass. Later passes reuse them.
struct Arena {
    /// Memory of the feature maps. Values that are not needed at the same time share a
    /// slot.
    slots: Vec<AlignedBuffer>,
    /// Scratch memory of the running step's kernel.
    workspace: AlignedBuffer,
    /// Counters of the pooling step that is fused with the running convolution.
    pending: Vec<AtomicUsize>,
}

impl Arena {
    /// Allocates buffers of these sizes, in words of 32 bits. The first is the
    /// workspace, the others are the slots.
    fn new(sizes: &[usize]) -> Self {
        let mut memory = HugePages::with_capacity_for(sizes);
        let mut buffers = sizes.iter().map(|&size| memory.zeros(size));
        Self {
            workspace: buffers.next().unwrap_or_default(),
            slots: buffers.collect(),
            pending: Vec::new(),
        }
    }

    /// Whether the buffers have at least these sizes.
    fn has_room(&self, sizes: &[usize]) -> bool {
        let buffers = std::iter::once(&self.workspace).chain(&self.slots);
        self.slots.len() + 1 == sizes.len()
            && buffers
                .zip(sizes)
                .all(|(buffer, &size)| buffer.len() >= size)
    }
}

/// Size of a memory mapping for packed weights, in words of 32 bits: 64 MiB.
const WEIGHT_MAPPING: usize = 16 << 20;

/// Whether kernels have only been tested on an emulator, never on a CPU with these
/// instructions.
fn is_untested(CpuConfig { dtype, isa }: CpuConfig) -> bool {
    match isa.get() {
        Isa::Amx => dtype != Dtype::F32,
        Isa::AvxVnni => dtype == Dtype::Int8,
        Isa::Neon | Isa::NeonDot | Isa::NeonI8mm | Isa::NeonBf16 => true,
        _ => false,
    }
}

/// The data type and the instruction set of a plan's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuConfig {
    /// `F32`, `Bf16` or `Int8`.
    pub dtype: Dtype,
    /// The instruction set.
    pub isa: SupportedIsa,
}

impl CpuConfig {
    /// 32-bit floats.
    #[must_use]
    pub fn f32(isa: SupportedIsa) -> Self {
        let dtype = Dtype::F32;
        Self { dtype, isa }
    }

    /// Elements in a word of 32 bits.
    fn per_word(self) -> Result<usize> {
        match self.dtype {
            Dtype::F32 => Ok(1),
            Dtype::Bf16 => Ok(2),
            Dtype::Int8 => Ok(4),
            Dtype::F16 => Err(Error::Option {
                option: "dtype f16".into(),
                reason: "f16 is supported on GPUs only; use f32, bf16 or int8 on the CPU".into(),
            }),
        }
    }
}

/// A network that runs on the CPU: its steps with their packed weights, and the
/// arenas of its forward passes.
pub struct CpuPlan {
    graph: Graph,
    steps: Vec<(Step, Packed)>,
    layout: ArenaLayout,
    outputs: OutputValues,
    /// The quantization parameters of each value; the identity for f32 and bf16.
    affines: Vec<Affine>,
    config: CpuConfig,
    threads: ThreadPool,
    /// Mean and standard deviation of the RGB channels, to normalise pixels.
    mean: [f32; 3],
    std: [f32; 3],
    /// Height and width of the input.
    size: usize,
    /// Arenas of finished passes, which later passes reuse.
    arenas: Mutex<Vec<Arena>>,
}

impl CpuPlan {
    /// Reads, folds and packs the weights of `graph`, one step at a time.
    ///
    /// # Errors
    /// A parameter that is missing or has the wrong shape; a graph that `fuse` does
    /// not support; f16; int8 if the checkpoint has no ranges.
    pub fn new(
        graph: &Graph,
        checkpoint: &Checkpoint,
        preprocessing: &Preprocessing,
        config: CpuConfig,
        threads: &ThreadPool,
    ) -> Result<Self> {
        let steps = fuse(graph)?;
        let layout = ArenaLayout::new(graph, &steps, config.per_word()?, threads.count());
        let affines = match config.dtype {
            Dtype::Int8 => ranges::affines(graph, &steps, checkpoint)?,
            _ => vec![Affine::IDENTITY; graph.nodes.len()],
        };
        let isa = config.isa;
        let pack = |step: &Step| {
            let affine = |value: Value| affines[value];
            match config.dtype {
                Dtype::Bf16 => Packed::new::<bf16>(graph, step, checkpoint, isa, affine),
                Dtype::Int8 => Packed::new::<u8>(graph, step, checkpoint, isa, affine),
                Dtype::F16 | Dtype::F32 => Packed::new::<f32>(graph, step, checkpoint, isa, affine),
            }
        };
        let mut memory = HugePages::new(WEIGHT_MAPPING);
        let mut pack_into_memory = |step: Step| {
            let mut packed = pack(&step)?;
            if let Packed::Conv(conv) = &mut packed {
                conv.move_weights_to(&mut memory);
            }
            Ok((step, packed))
        };
        let steps = steps
            .into_iter()
            .map(&mut pack_into_memory)
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            graph: graph.clone(),
            steps,
            layout,
            outputs: OutputValues::of(graph),
            affines,
            config,
            threads: threads.clone(),
            mean: preprocessing.mean,
            std: preprocessing.std,
            size: graph.shape(0).height,
            arenas: Mutex::default(),
        })
    }

    /// For each step, the key of its output's range in the metadata of a quantized
    /// checkpoint.
    pub(crate) fn keys(&self) -> Vec<String> {
        ranges::keys(&self.graph, self.fused())
    }

    /// The fused steps, in execution order.
    pub(crate) fn fused(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().map(|(step, _)| step)
    }

    /// Runs a batch and calls `observe` after each step.
    pub(crate) fn forward_observed(
        &self,
        input: Input,
        outputs: Outputs,
        observe: &mut (dyn FnMut(Done) + Send),
    ) -> Result<Output> {
        let requested = self.outputs.requested(outputs)?;
        let n = input.images(self.size)?;
        if n == 0 {
            return Ok(Output::empty(outputs));
        }
        let mut arena = self.take_arena(n);
        let output = self.threads.run(|| match self.config.dtype {
            Dtype::Bf16 => self.run::<bf16>(&mut arena, input, requested, observe),
            Dtype::Int8 => self.run::<u8>(&mut arena, input, requested, observe),
            Dtype::F16 | Dtype::F32 => self.run::<f32>(&mut arena, input, requested, observe),
        });
        if let Ok(mut arenas) = self.arenas.lock() {
            arenas.push(arena);
        }
        output
    }

    /// An arena that is large enough for `n` images: that of an earlier pass if
    /// possible, else a new one.
    fn take_arena(&self, n: usize) -> Arena {
        let used = self.arenas.lock().ok().and_then(|mut arenas| arenas.pop());
        let mut sizes = vec![self.workspace(n)];
        sizes.extend(self.layout.slot_sizes(n));
        match used {
            Some(arena) if arena.has_room(&sizes) => arena,
            _ => Arena::new(&sizes),
        }
    }

    /// Size of the workspace that is large enough for every step, in words of 32 bits.
    fn workspace(&self, n: usize) -> usize {
        let map = |value| self.layout.map(value, self.layout.images(value, n));
        let needed = |(step, packed): &(Step, Packed)| match (packed, map(step.output)) {
            (Packed::Conv(conv), Some(map)) => conv.workspace(&map, &self.threads),
            _ => 0,
        };
        self.steps.iter().map(needed).max().unwrap_or(0)
    }

    fn map(&self, value: Value, n: usize) -> Result<FeatureMap> {
        let map = self.layout.map(value, n);
        map.ok_or_else(|| Error::Internal(format!("value {value} has no feature map")))
    }

    fn slot(&self, value: Value) -> Result<usize> {
        let slot = self.layout.slot(value);
        slot.ok_or_else(|| Error::Internal(format!("value {value} has no slot")))
    }
}

impl Backend for CpuPlan {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            engine: EngineChoice::Fused,
            device: Device::Cpu,
            dtype: self.config.dtype,
            isa: self.config.isa.get().to_string(),
        }
    }

    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn forward(&self, input: Input, outputs: Outputs) -> Result<Output> {
        self.forward_observed(input, outputs, &mut |_| {})
    }

    fn forward_timed(&self, planes: &[f32], observe: StepObserver) -> Result<Output> {
        let input = Input::Planes(planes);
        self.forward_observed(input, Outputs::LOGITS, &mut |done: Done| {
            observe(done.step, done.time);
        })
    }

    fn class_weights(&self, class: usize) -> Result<ClassWeights> {
        let (classifier, packed) = match self.steps.last() {
            Some((step, Packed::Conv(packed))) => (&step.kind, packed),
            _ => return Err(NoClassMaps::NoClassifier.into()),
        };
        match classifier {
            Kind::Linear { .. } if class < packed.spec.cout => {
                let (weight, bias) = packed.unpacked(class);
                Ok(ClassWeights { weight, bias })
            }
            Kind::Linear { .. } => Err(no_such_class(class, packed.spec.cout)),
            _ => Err(NoClassMaps::NoClassifier.into()),
        }
    }

    fn steps(&self) -> Vec<Cost> {
        let words = |value| self.layout.words(value, 1);
        let cost = |at: usize| {
            let (step, packed) = &self.steps[at];
            let slot = self.layout.slot(step.output);
            let mut cost = Cost::of(&self.graph, step, words, packed.bytes(), slot);
            if at > 0 && runs_with(&self.steps[at - 1].0, step) {
                cost.runs_as += ", fused with the previous step";
            }
            cost
        };
        (0..self.steps.len()).map(cost).collect()
    }

    fn weight_bytes(&self) -> usize {
        self.steps.iter().map(|(_, packed)| packed.bytes()).sum()
    }

    fn arena_bytes(&self, n: usize) -> usize {
        4 * (self.layout.slot_sizes(n).sum::<usize>() + self.workspace(n))
    }

    fn peak(&self) -> Option<f64> {
        let (threads, isa) = (&self.threads, self.config.isa);
        Some(match self.config.dtype {
            Dtype::Bf16 => cpu::peak::<bf16>(threads, isa),
            Dtype::Int8 => cpu::peak::<u8>(threads, isa),
            Dtype::F16 | Dtype::F32 => cpu::peak::<f32>(threads, isa),
        })
    }

    fn is_untested(&self) -> bool {
        is_untested(self.config)
    }
}
