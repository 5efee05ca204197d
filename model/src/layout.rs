//! Where each value of a plan lives: its map, and a slot of the arena that is
//! reused as soon as nothing reads it any more.
//!
//! The early steps are large maps and small weights, the late ones the
//! reverse. So the early ones take a few images at a time, whose maps stay in
//! the cache, and the late ones the whole batch, whose pixels share a reading of
//! the weights.

use crate::cpu::Map;
use crate::fuse::{Kind, Step, runs_with};
use crate::graph::{Graph, Outside, Value};

/// Maps and slots of every value a plan makes.
pub(crate) struct Layout {
    /// The map of each value, for one image; `None` for what fusion swallowed.
    maps: Vec<Option<Map>>,
    /// The slot of each value.
    slots: Vec<usize>,
    /// Words of 32 bits an image needs in each slot: of the values that hold a
    /// few images, and of those that hold the whole batch.
    sizes: Vec<[usize; 2]>,
    /// Channels in a word; of the last value, 1: logits are floats.
    per_word: usize,
    last: Value,
    early: Early,
}

/// Words of a map of the images that a core takes at a time in the early
/// steps, where one image has fewer: about what a second-level cache holds.
const EARLY_WORDS: usize = 1 << 18;

/// Pixels of a core in an early step: enough to read all weights for.
const EARLY_PIXELS: usize = 128;

/// The steps that take a few images at a time.
#[derive(Clone, Debug)]
pub(crate) struct Early {
    /// How many steps.
    pub(crate) steps: usize,
    /// Images at a time.
    pub(crate) images: usize,
    /// Of each value, whether it is theirs: all that they make but the last,
    /// which is the whole batch's.
    few: Vec<bool>,
}

impl Layout {
    /// Lays the steps' values out: borders as wide as their readers' padding,
    /// slots by liveness.
    pub(crate) fn new(graph: &Graph, steps: &[Step], per_word: usize, cores: usize) -> Self {
        let last = graph.output();
        let mut maps = vec![None; graph.nodes.len()];
        for step in steps {
            let shape = graph.shape(step.output);
            maps[step.output] = Some(Map {
                n: 1,
                height: shape.height,
                width: shape.width,
                channels: shape.channels,
                border: border(step.output, steps),
            });
        }
        let mut layout = Self {
            maps,
            slots: vec![usize::MAX; graph.nodes.len()],
            sizes: Vec::new(),
            per_word,
            last,
            early: Early {
                steps: 0,
                images: usize::MAX,
                few: vec![false; graph.nodes.len()],
            },
        };
        layout.early = layout.find_early(steps, cores);
        layout.assign(steps);
        layout
    }

    /// Steps that have work for each core in a few images, up to the last after
    /// which one value is all that is read later.
    fn find_early(&self, steps: &[Step], cores: usize) -> Early {
        let words = |step: &Step| self.words(step.output, 1);
        let largest = steps.iter().map(words).max().unwrap_or(1);
        let each = (EARLY_WORDS / largest).max(1);
        let pixels = |step: &Step| self.maps[step.output].map_or(0, |map| map.height * map.width);
        let large = steps
            .iter()
            .take_while(|step| each * pixels(step) >= EARLY_PIXELS);
        let large = large.count();
        let alone = |count: usize| {
            let made: Vec<Value> = steps[..count].iter().map(|step| step.output).collect();
            let read = steps[count..].iter().flat_map(|step| &step.inputs);
            let mut crossing = read.filter(|value| made.contains(value));
            crossing.all(|value| Some(value) == made.last())
        };
        // a convolution and the pool that runs with it stay together
        let apart = |count: usize| match steps.get(count) {
            Some(next) => !runs_with(&steps[count - 1], next),
            None => true,
        };
        let cut = |&count: &usize| alone(count) && apart(count);
        let steps_early = (1..=large).rev().find(cut).unwrap_or(0);
        let mut few = vec![false; self.maps.len()];
        let but_last = steps.iter().take(steps_early.saturating_sub(1));
        but_last.for_each(|step| few[step.output] = true);
        Early {
            steps: steps_early,
            images: each * cores,
            few,
        }
    }

    /// The steps that take a few images at a time.
    pub(crate) fn early(&self) -> &Early {
        &self.early
    }

    /// Whether `value` holds the whole batch.
    pub(crate) fn is_whole(&self, value: Value) -> bool {
        !self.early.few[value]
    }

    /// Images of a batch of `n` that `value` holds at a time.
    pub(crate) fn images(&self, value: Value, n: usize) -> usize {
        if self.is_whole(value) {
            n
        } else {
            n.min(self.early.images)
        }
    }

    /// The map of `value` for a batch of `n`.
    pub(crate) fn map(&self, value: Value, n: usize) -> Option<Map> {
        self.maps[value].map(|map| Map { n, ..map })
    }

    /// The slot of `value`.
    pub(crate) fn slot(&self, value: Value) -> usize {
        self.slots[value]
    }

    /// Words of each slot for a batch of `n`.
    pub(crate) fn slot_sizes(&self, n: usize) -> impl Iterator<Item = usize> {
        let few = n.min(self.early.images);
        let larger = move |&[early, late]: &[usize; 2]| (early * few).max(late * n);
        self.sizes.iter().map(larger)
    }

    /// Words of `value` for a batch of `n`.
    pub(crate) fn words(&self, value: Value, n: usize) -> usize {
        let numbers = self.map(value, n).map_or(0, |map| map.len());
        if value == self.last {
            numbers
        } else {
            // the last word of a window may reach beyond the last pixel
            numbers.div_ceil(self.per_word) + usize::from(self.per_word > 1)
        }
    }

    /// Gives each step's output a slot that nothing live holds: the tightest
    /// that is large enough, else the largest, made larger.
    fn assign(&mut self, steps: &[Step]) {
        let mut last_read = vec![0; self.maps.len()];
        for (at, step) in steps.iter().enumerate() {
            last_read[step.output] = at;
            step.inputs.iter().for_each(|&v| last_read[v] = at);
        }
        let mut free: Vec<usize> = Vec::new();
        // what a convolution reads lives until the pool that runs with it has its place
        let mut held: Vec<usize> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let ends_here = |v: &Value| last_read[*v] == at;
            // what the early steps leave gathers while they run again and again
            let gathers = at + 1 == self.early.steps;
            let slot = match step.inputs.get(1).filter(|v| ends_here(v)) {
                _ if gathers => self.open(),
                // a sum may overwrite its residual
                Some(&residual) if self.in_place(step, residual) => self.slots[residual],
                _ => self.take_tightest(&mut free, step.output),
            };
            self.slots[step.output] = slot;
            let kind = usize::from(self.is_whole(step.output));
            let words = self.words(step.output, 1);
            self.sizes[slot][kind] = self.sizes[slot][kind].max(words);
            let mut ended: Vec<usize> = step
                .inputs
                .iter()
                .filter(|v| ends_here(v))
                .map(|&v| self.slots[v])
                .collect();
            ended.sort_unstable();
            ended.dedup();
            ended.retain(|&s| s != slot);
            free.append(&mut held);
            match steps.get(at + 1) {
                Some(next) if runs_with(step, next) => held = ended,
                _ => free.append(&mut ended),
            }
        }
    }

    fn in_place(&self, step: &Step, residual: Value) -> bool {
        matches!(step.kind, Kind::Conv { residual: true, .. })
            && self.maps[residual] == self.maps[step.output]
            && self.is_whole(residual) == self.is_whole(step.output)
            && step.inputs[0] != residual
    }

    /// A slot that nothing used before.
    fn open(&mut self) -> usize {
        self.sizes.push([0; 2]);
        self.sizes.len() - 1
    }

    /// The free slot that fits `value` best; a new one when none is free.
    fn take_tightest(&mut self, free: &mut Vec<usize>, value: Value) -> usize {
        let (size, kind) = (self.words(value, 1), usize::from(self.is_whole(value)));
        let best = (0..free.len()).min_by_key(|&i| {
            let have = self.sizes[free[i]][kind];
            if have >= size {
                (0, have)
            } else {
                (1, usize::MAX - have)
            }
        });
        match best {
            Some(i) => free.swap_remove(i),
            None => self.open(),
        }
    }
}

/// The widest padding with which a step reads `value`.
fn border(value: Value, steps: &[Step]) -> usize {
    let padding = |step: &Step| match step.kind {
        Kind::Conv { conv, .. } if step.inputs[0] == value => conv.padding,
        Kind::MaxPool {
            padding,
            outside: Outside::Zeros,
            ..
        } => padding,
        _ => 0,
    };
    let readers = steps.iter().filter(|step| step.inputs.contains(&value));
    readers.map(padding).max().unwrap_or(0)
}
