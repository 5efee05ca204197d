//! A network compiled for the processor: fused steps with packed weights over
//! an arena of NHWC maps. The math of every step is `fuse::Kind`'s; the
//! kernels are `cpu`'s.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use weights::{Checkpoint, Recipe};

use crate::cores::Cores;
use crate::cost::Cost;
use crate::cpu::{self, Floats, Level, Map, Padding, Residual, View, ViewMut, Window};
use crate::error::{Error, Result};
use crate::fuse::{Kind, Step, fuse};
use crate::graph::{Graph, Outside, Value};
use crate::layout::Layout;
use crate::packed::{Packed, activation};

/// What a forward pass starts from.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// RGB bytes, `[S, S, 3]` an image; normalised by the first step.
    Pixels(&'a [&'a [u8]]),
    /// Normalised planes `[N, 3, S, S]`.
    Planes(&'a [f32]),
}

/// Buffers of one forward pass; slots keep their size between passes.
#[derive(Default)]
struct Arena {
    slots: Vec<Floats>,
    /// What a step's kernel needs while it runs.
    workspace: Floats,
}

/// Steps, weights and arenas.
pub struct Plan {
    graph: Graph,
    steps: Vec<(Step, Packed)>,
    layout: Layout,
    level: Level,
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
    /// A parameter that is missing or wrong; a graph that no steps cover.
    pub fn new(
        graph: &Graph,
        checkpoint: &Checkpoint,
        recipe: &Recipe,
        level: Level,
        cores: &Cores,
    ) -> Result<Self> {
        let steps = fuse(graph)?;
        let layout = Layout::new(graph, &steps);
        let steps = steps
            .into_iter()
            .map(|step| Packed::new(graph, &step, checkpoint, level).map(|packed| (step, packed)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            graph: graph.clone(),
            steps,
            layout,
            level,
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
        let map = |value| self.layout.map(value, 1);
        let cost = |(step, packed): &(Step, Packed)| {
            Cost::of(
                &self.graph,
                step,
                map,
                packed.bytes(),
                self.layout.slot(step.output),
            )
        };
        self.steps.iter().map(cost).collect()
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
        self.forward_observed(input, &mut |_, _| {})
    }

    /// As [`Plan::forward`]; tells `observe` each step's index and duration.
    ///
    /// # Errors
    /// As there.
    pub fn forward_observed(
        &self,
        input: Input,
        observe: &mut (dyn FnMut(usize, Duration) + Send),
    ) -> Result<Vec<f32>> {
        let n = self.images(input)?;
        let mut arena = self.take_arena(n);
        let logits = self.cores.run(|| self.run(&mut arena, input, n, observe));
        if let Ok(mut arenas) = self.arenas.lock() {
            arenas.push(arena);
        }
        logits
    }

    /// An arena with room for `n` images, used before if there is one.
    fn take_arena(&self, n: usize) -> Arena {
        let used = self.arenas.lock().ok().and_then(|mut arenas| arenas.pop());
        let mut arena = used.unwrap_or_default();
        arena
            .slots
            .resize_with(self.layout.slot_sizes(n).count(), Floats::default);
        for (slot, size) in arena.slots.iter_mut().zip(self.layout.slot_sizes(n)) {
            if slot.len() < size {
                *slot = Floats::zeros(size);
            }
        }
        let workspace = self.workspace(n);
        if arena.workspace.len() < workspace {
            arena.workspace = Floats::zeros(workspace);
        }
        arena
    }

    /// Floats of the largest workspace of a step.
    fn workspace(&self, n: usize) -> usize {
        let of = |(step, packed): &(Step, Packed)| match (packed, self.layout.map(step.output, n)) {
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

    fn run(
        &self,
        arena: &mut Arena,
        input: Input,
        n: usize,
        observe: &mut (dyn FnMut(usize, Duration) + Send),
    ) -> Result<Vec<f32>> {
        if n == 0 {
            return Ok(Vec::new());
        }
        for (at, (step, packed)) in self.steps.iter().enumerate() {
            let start = Instant::now();
            let map = self.map(step.output, n)?;
            let slot = self.layout.slot(step.output);
            // the output is lent out of the arena while the inputs are read from it
            let mut lent = std::mem::take(&mut arena.slots[slot]);
            let mut workspace = std::mem::take(&mut arena.workspace);
            let mut output = ViewMut::new(&mut lent[..map.len()], map);
            output.clear_border();
            let slots = Slots {
                plan: self,
                arena,
                input,
                n,
            };
            let done = self.step(step, packed, &slots, output, &mut workspace);
            arena.slots[slot] = lent;
            arena.workspace = workspace;
            done?;
            observe(at, start.elapsed());
        }
        let last = self.steps.last().map_or(0, |(step, _)| step.output);
        Ok(arena.slots[self.layout.slot(last)][..n * self.classes].to_vec())
    }

    fn map(&self, value: Value, n: usize) -> Result<Map> {
        self.layout
            .map(value, n)
            .ok_or_else(|| Error::Internal(format!("value {value} has no map")))
    }

    fn step(
        &self,
        step: &Step,
        packed: &Packed,
        slots: &Slots,
        output: ViewMut,
        workspace: &mut [f32],
    ) -> Result<()> {
        let (cores, level) = (&self.cores, self.level);
        let x = |i: usize| slots.view(step.inputs[i]);
        match (&step.kind, packed) {
            (Kind::Input, _) => match slots.input {
                Input::Pixels(images) => {
                    cpu::normalize_pixels(cores, images, self.mean, self.std, output)
                }
                Input::Planes(planes) => cpu::pad_planes(cores, planes, output),
            },
            (Kind::Conv { residual, .. }, Packed::Conv(conv)) => {
                let residual = match residual {
                    false => Residual::None,
                    true if self.layout.slot(step.inputs[1]) == self.layout.slot(step.output) => {
                        Residual::InPlace
                    }
                    true => Residual::Add(x(1)?),
                };
                conv.run(cores, x(0)?, residual, output, workspace);
            }
            (Kind::Linear { .. }, Packed::Conv(conv)) => {
                conv.run(cores, x(0)?, Residual::None, output, workspace);
            }
            (Kind::BatchNorm { relu, .. }, Packed::Norm(scale, shift)) => {
                cpu::scale_shift(
                    cores,
                    level,
                    (scale, shift),
                    activation(*relu),
                    x(0)?,
                    output,
                );
            }
            (Kind::GroupNorm { groups, relu, .. }, Packed::Norm(scale, shift)) => {
                cpu::group_norm(
                    cores,
                    *groups,
                    (scale, shift),
                    activation(*relu),
                    x(0)?,
                    output,
                );
            }
            (
                &Kind::MaxPool {
                    kernel,
                    stride,
                    padding,
                    outside,
                },
                _,
            ) => {
                let view = x(0)?;
                match outside {
                    Outside::Nothing => {
                        cpu::max_pool(
                            cores,
                            level,
                            Window {
                                size: kernel,
                                stride,
                                padding,
                            },
                            view,
                            output,
                        );
                    }
                    // the border's zeros compete: they are read as part of the map
                    Outside::Zeros => {
                        let window = Window {
                            size: kernel,
                            stride,
                            padding: 0,
                        };
                        cpu::max_pool(cores, level, window, view.with_border_inside(), output);
                    }
                }
            }
            (&Kind::AvgPool { size }, _) => {
                let window = Window {
                    size,
                    stride: size,
                    padding: 0,
                };
                cpu::average_pool(cores, level, window, Padding::Left, x(0)?, output);
            }
            (&Kind::ZeroPad { stride }, _) => cpu::zero_pad(cores, stride, x(0)?, output),
            (Kind::GlobalAvgPool, _) => cpu::global_average_pool(cores, level, x(0)?, output),
            (Kind::ChannelConv { .. }, Packed::ChannelConv(weight)) => {
                cpu::channel_conv(cores, weight, x(0)?, output);
            }
            (Kind::Excite { relu }, _) => {
                cpu::excite(cores, activation(*relu), x(0)?, x(1)?, x(2)?, output);
            }
            (Kind::Highway, _) => cpu::highway(cores, x(0)?, x(1)?, x(2)?, output),
            (kind, _) => {
                return Err(Error::Internal(format!(
                    "{kind:?} has other weights than it needs"
                )));
            }
        }
        Ok(())
    }
}

/// What a step reads: the arena's values, and the input.
struct Slots<'a> {
    plan: &'a Plan,
    arena: &'a Arena,
    input: Input<'a>,
    n: usize,
}

impl<'a> Slots<'a> {
    fn view(&self, value: Value) -> Result<View<'a>> {
        let map = self.plan.map(value, self.n)?;
        let slot = &self.arena.slots[self.plan.layout.slot(value)];
        // a value whose slot is lent out would be read while it is written
        let data = slot
            .get(..map.len())
            .ok_or_else(|| Error::Internal(format!("value {value} is overwritten")))?;
        Ok(View::new(data, map))
    }
}
