//! A network compiled for the processor: fused steps with packed weights over
//! an arena of NHWC maps. The math of every step is `fuse::Kind`'s; the
//! kernels are `cpu`'s.

mod run;

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use half::bf16;
use weights::{Checkpoint, Recipe};

use crate::cores::Cores;
use crate::cost::Cost;
use crate::cpu::{self, Affine, Floats, Level, Map, Slab};
use crate::error::{Error, Result};
use crate::fuse::{Step, fuse, runs_with};
use crate::graph::{Graph, Value};
use crate::layout::Layout;
use crate::options::Dtype;
use crate::packed::Packed;
use crate::ranges;

/// What a forward pass starts from.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// RGB bytes, `[S, S, 3]` an image; normalised by the first step.
    Pixels(&'a [&'a [u8]]),
    /// Normalised planes `[N, 3, S, S]`.
    Planes(&'a [f32]),
}

/// A step that is done.
pub struct Done<'a> {
    /// Its index.
    pub step: usize,
    /// How long it took.
    pub time: Duration,
    /// What it made, `[N, H, W, C]`, as floats.
    pub values: &'a dyn Fn() -> Vec<f32>,
}

/// Buffers of one forward pass; slots keep their size between passes.
struct Arena {
    slots: Vec<Floats>,
    /// What a step's kernel needs while it runs.
    workspace: Floats,
    /// What a pool that runs with a convolution waits for.
    left: Vec<AtomicUsize>,
}

impl Arena {
    /// Of these sizes in floats: the workspace's first.
    fn new(sizes: &[usize]) -> Self {
        let mut slab = Slab::of(sizes);
        let mut pieces = sizes.iter().map(|&size| slab.zeros(size));
        Self {
            workspace: pieces.next().unwrap_or_default(),
            slots: pieces.collect(),
            left: Vec::new(),
        }
    }

    fn has_room(&self, sizes: &[usize]) -> bool {
        let pieces = std::iter::once(&self.workspace).chain(&self.slots);
        self.slots.len() + 1 == sizes.len()
            && pieces.zip(sizes).all(|(piece, &size)| piece.len() >= size)
    }
}

/// Floats of a slab of weights: a mapping of 64 MiB.
const SLAB: usize = 16 << 20;

/// In which numbers a plan computes, and with which instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// What the maps hold; not `Auto`, nor `F16`, which is for cards.
    pub dtype: Dtype,
    /// The kernels' instructions.
    pub level: Level,
}

impl Numbers {
    /// 32-bit floats.
    #[must_use]
    pub fn f32(level: Level) -> Self {
        let dtype = Dtype::F32;
        Self { dtype, level }
    }

    /// Numbers in a word of 32 bits.
    fn per_word(self) -> usize {
        match self.dtype {
            Dtype::Auto | Dtype::F16 | Dtype::F32 => 1,
            Dtype::Bf16 => 2,
            Dtype::Int8 => 4,
        }
    }
}

/// Steps, weights and arenas.
pub struct Plan {
    graph: Graph,
    steps: Vec<(Step, Packed)>,
    layout: Layout,
    /// What the bytes of each value mean; all the same for floats.
    affines: Vec<Affine>,
    numbers: Numbers,
    cores: Cores,
    mean: [f32; 3],
    std: [f32; 3],
    size: usize,
    classes: usize,
    /// Arenas of passes that are done, for the next ones.
    arenas: Mutex<Vec<Arena>>,
}

impl Plan {
    /// Reads, folds and packs the weights of `graph`, one step at a time.
    ///
    /// # Errors
    /// A parameter that is missing or wrong; a graph that no steps cover; 8-bit
    /// integers without the ranges of the values.
    pub fn new(
        graph: &Graph,
        checkpoint: &Checkpoint,
        recipe: &Recipe,
        numbers: Numbers,
        cores: &Cores,
    ) -> Result<Self> {
        let steps = fuse(graph)?;
        let layout = Layout::new(graph, &steps, numbers.per_word(), cores.count());
        let affines = match numbers.dtype {
            Dtype::Int8 => ranges::affines(graph, &steps, checkpoint)?,
            _ => vec![Affine::IDENTITY; graph.nodes.len()],
        };
        let level = numbers.level;
        let pack = |step: &Step| {
            let affine = |value: Value| affines[value];
            match numbers.dtype {
                Dtype::Auto | Dtype::F16 | Dtype::F32 => {
                    Packed::new::<f32>(graph, step, checkpoint, level, affine)
                }
                Dtype::Bf16 => Packed::new::<bf16>(graph, step, checkpoint, level, affine),
                Dtype::Int8 => Packed::new::<u8>(graph, step, checkpoint, level, affine),
            }
        };
        let mut slab = Slab::new(SLAB);
        let mut settled = |step: Step| {
            let mut packed = pack(&step)?;
            if let Packed::Conv(conv) = &mut packed {
                conv.settle(&mut slab);
            }
            Ok((step, packed))
        };
        let steps = steps
            .into_iter()
            .map(&mut settled)
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            graph: graph.clone(),
            steps,
            layout,
            affines,
            numbers,
            cores: cores.clone(),
            mean: recipe.mean,
            std: recipe.std,
            size: graph.shape(0).height,
            classes: graph.shape(graph.output()).channels,
            arenas: Mutex::default(),
        })
    }

    /// What it computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The cost of each step, in the order they run.
    #[must_use]
    pub fn steps(&self) -> Vec<Cost> {
        let words = |value| self.layout.words(value, 1);
        let cost = |at: usize| {
            let (step, packed) = &self.steps[at];
            let slot = self.layout.slot(step.output);
            let mut cost = Cost::of(&self.graph, step, words, packed.bytes(), slot);
            if at > 0 && runs_with(&self.steps[at - 1].0, step) {
                cost.runs_as += ", with the step before";
            }
            cost
        };
        (0..self.steps.len()).map(cost).collect()
    }

    /// The names of the steps' outputs, in the order they run: under these a
    /// quantised checkpoint keeps their ranges.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        ranges::keys(&self.graph, self.kinds())
    }

    /// What each step computes.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().map(|(step, _)| step)
    }

    /// Multiply-adds a second that the processor can do in these numbers, all
    /// cores together: measured, some milliseconds long.
    #[must_use]
    pub fn peak(&self) -> f64 {
        let (cores, level) = (&self.cores, self.numbers.level);
        match self.numbers.dtype {
            Dtype::Auto | Dtype::F16 | Dtype::F32 => cpu::peak::<f32>(cores, level),
            Dtype::Bf16 => cpu::peak::<bf16>(cores, level),
            Dtype::Int8 => cpu::peak::<u8>(cores, level),
        }
    }

    /// Bytes of all packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.steps.iter().map(|(_, packed)| packed.bytes()).sum()
    }

    /// Bytes of the maps of one forward pass of `n` images.
    #[must_use]
    pub fn arena_bytes(&self, n: usize) -> usize {
        4 * (self.layout.slot_sizes(n).sum::<usize>() + self.workspace(n))
    }

    /// Logits `[N, classes]`.
    ///
    /// # Errors
    /// An input that is not whole images.
    pub fn forward(&self, input: Input) -> Result<Vec<f32>> {
        self.forward_observed(input, &mut |_| {})
    }

    /// As [`Plan::forward`]; tells `observe` of each step when it is done.
    ///
    /// # Errors
    /// As there.
    pub fn forward_observed(
        &self,
        input: Input,
        observe: &mut (dyn FnMut(Done) + Send),
    ) -> Result<Vec<f32>> {
        let n = self.images(input)?;
        let mut arena = self.take_arena(n);
        let logits = self.cores.run(|| match self.numbers.dtype {
            Dtype::Auto | Dtype::F16 | Dtype::F32 => self.run::<f32>(&mut arena, input, n, observe),
            Dtype::Bf16 => self.run::<bf16>(&mut arena, input, n, observe),
            Dtype::Int8 => self.run::<u8>(&mut arena, input, n, observe),
        });
        if let Ok(mut arenas) = self.arenas.lock() {
            arenas.push(arena);
        }
        logits
    }

    /// An arena with room for `n` images, used before if there is one.
    fn take_arena(&self, n: usize) -> Arena {
        let used = self.arenas.lock().ok().and_then(|mut arenas| arenas.pop());
        let mut sizes = vec![self.workspace(n)];
        sizes.extend(self.layout.slot_sizes(n));
        match used {
            Some(arena) if arena.has_room(&sizes) => arena,
            _ => Arena::new(&sizes),
        }
    }

    /// Words of the largest workspace of a step.
    fn workspace(&self, n: usize) -> usize {
        let map = |value| self.layout.map(value, self.layout.images(value, n));
        let of = |(step, packed): &(Step, Packed)| match (packed, map(step.output)) {
            (Packed::Conv(conv), Some(map)) => conv.workspace(&map, &self.cores),
            _ => 0,
        };
        self.steps.iter().map(of).max().unwrap_or(0)
    }

    /// The number of images in `input`.
    fn images(&self, input: Input) -> Result<usize> {
        let values = 3 * self.size * self.size;
        let wrong =
            |len: usize| Error::Batch(format!("{len} values do not make images of {values}"));
        match input {
            Input::Pixels(images) => match images.iter().find(|image| image.len() != values) {
                Some(image) => Err(wrong(image.len())),
                None => Ok(images.len()),
            },
            Input::Planes(planes) if planes.len() % values == 0 => Ok(planes.len() / values),
            Input::Planes(planes) => Err(wrong(planes.len())),
        }
    }

    fn map(&self, value: Value, n: usize) -> Result<Map> {
        self.layout
            .map(value, n)
            .ok_or_else(|| Error::Internal(format!("value {value} has no map")))
    }
}
