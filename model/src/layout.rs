//! Where each value of a plan is stored: its feature map, and the slot of the
//! arena that holds it. A slot is reused as soon as no later step reads it.
//!
//! The early steps have large feature maps and small weights, the late ones the
//! reverse. So the early steps process a few images at a time, whose maps fit
//! in the cache, and the late ones the whole batch, so that the weights are
//! read once for all of its images.

use std::cmp::Reverse;

use crate::cpu::FeatureMap;
use crate::fuse::{Kind, Step, runs_with};
use crate::graph::{Graph, Outside, Value};
use crate::outputs::OutputValues;

/// Feature maps and slots of all values of a plan. The values that a pass can
/// return (logits, embedding, last feature map) keep their slots to its end.
pub(crate) struct ArenaLayout {
    /// The map of each value, for one image; `None` for values inside a fused
    /// step, which are never stored.
    maps: Vec<Option<FeatureMap>>,
    /// The slot of each stored value.
    slots: Vec<Option<usize>>,
    /// Words of 32 bits per image in each slot: of the values that hold a few
    /// images, and of those that hold the whole batch.
    sizes: Vec<[usize; 2]>,
    /// Channels in a word. The logits are always f32.
    per_word: usize,
    outputs: OutputValues,
    early: Early,
}

/// Words of the feature maps that a core processes at a time in the early
/// steps, unless one image has more: about a second-isa cache.
const EARLY_WORDS: usize = 1 << 18;

/// Pixels per core in an early step that make reading all weights worthwhile.
const EARLY_PIXELS: usize = 128;

/// The steps that process a few images at a time.
#[derive(Clone, Debug)]
pub(crate) struct Early {
    /// How many steps.
    pub(crate) steps: usize,
    /// Images at a time.
    pub(crate) images: usize,
    /// Whether a value holds only these images: the outputs of all early steps
    /// except the last, whose output holds the whole batch.
    few: Vec<bool>,
}

impl ArenaLayout {
    /// Assigns borders as wide as the padding of the steps that read a value,
    /// and slots by liveness.
    pub(crate) fn new(graph: &Graph, steps: &[Step], per_word: usize, threads: usize) -> Self {
        Self::keeping(OutputValues::of(graph), graph, steps, (per_word, threads))
    }

    /// A layout that keeps `outputs` to the end of a pass.
    fn keeping(
        outputs: OutputValues,
        graph: &Graph,
        steps: &[Step],
        (per_word, threads): (usize, usize),
    ) -> Self {
        let mut maps = vec![None; graph.nodes.len()];
        for step in steps {
            let shape = graph.shape(step.output);
            maps[step.output] = Some(FeatureMap {
                n: 1,
                height: shape.height,
                width: shape.width,
                channels: shape.channels,
                border: border(step.output, steps),
            });
        }
        let mut layout = Self {
            maps,
            slots: vec![None; graph.nodes.len()],
            sizes: Vec::new(),
            per_word,
            outputs,
            early: Early {
                steps: 0,
                images: 1,
                few: vec![false; graph.nodes.len()],
            },
        };
        layout.early = layout.find_early(steps, threads);
        layout.assign(steps);
        layout
    }

    /// The steps in which a few images give every core enough work, up to the
    /// last after which a single value is still needed.
    fn find_early(&self, steps: &[Step], threads: usize) -> Early {
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
            let read = steps[count..].iter().flat_map(|step| &step.inputs).copied();
            let needed = read.chain(self.outputs.kept());
            let mut crossing = needed.filter(|value| made.contains(value));
            crossing.all(|value| Some(&value) == made.last())
        };
        // a convolution and the pool that is fused with it stay together
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
            images: each * threads,
            few,
        }
    }

    /// The steps that process a few images at a time.
    pub(crate) fn early(&self) -> &Early {
        &self.early
    }

    /// Whether `value` holds the whole batch.
    pub(crate) fn is_whole(&self, value: Value) -> bool {
        !self.early.few[value]
    }

    /// How many images of a batch of `n` are in `value` at a time.
    pub(crate) fn images(&self, value: Value, n: usize) -> usize {
        if self.is_whole(value) {
            n
        } else {
            n.min(self.early.images)
        }
    }

    /// The map of `value` for a batch of `n`.
    pub(crate) fn map(&self, value: Value, n: usize) -> Option<FeatureMap> {
        self.maps[value].map(|map| FeatureMap { n, ..map })
    }

    /// The slot of `value`; `None` for a value inside a fused step.
    pub(crate) fn slot(&self, value: Value) -> Option<usize> {
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
        if value == self.outputs.logits {
            numbers
        } else {
            // the last word of a window may extend past the last pixel
            numbers.div_ceil(self.per_word) + usize::from(self.per_word > 1)
        }
    }

    /// Assigns each step's output a slot without a live value: the smallest
    /// that is large enough, else the largest, which grows.
    fn assign(&mut self, steps: &[Step]) {
        let last_read = self.last_reads(steps);
        let mut free: Vec<usize> = Vec::new();
        // the input of a convolution is live until the pool fused with it has a slot
        let mut held: Vec<usize> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let ends_here = |v: &Value| last_read[*v] == at;
            // the early steps run several times and fill their last output part by part
            let is_filled_in_parts = at + 1 == self.early.steps;
            let residual = step.inputs.get(1).filter(|v| ends_here(v));
            let residual = residual.filter(|v| self.in_place(step, **v));
            let slot = match residual.and_then(|v| self.slots[*v]) {
                _ if is_filled_in_parts => self.open(),
                // a sum may overwrite its residual
                Some(slot) => slot,
                None => self.take_smallest(&mut free, step.output),
            };
            self.slots[step.output] = Some(slot);
            let kind = usize::from(self.is_whole(step.output));
            let words = self.words(step.output, 1);
            self.sizes[slot][kind] = self.sizes[slot][kind].max(words);
            let mut ended: Vec<usize> = step
                .inputs
                .iter()
                .filter(|v| ends_here(v))
                .filter_map(|&v| self.slots[v])
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

    /// For each value the index of the last step that reads it; of a value that
    /// a pass can return, an index past all steps.
    fn last_reads(&self, steps: &[Step]) -> Vec<usize> {
        let mut last_read = vec![0; self.maps.len()];
        for (at, step) in steps.iter().enumerate() {
            last_read[step.output] = at;
            step.inputs.iter().for_each(|&v| last_read[v] = at);
        }
        for value in self.outputs.kept() {
            last_read[value] = steps.len();
        }
        last_read
    }

    /// Whether `step` can write its output over `residual`.
    fn in_place(&self, step: &Step, residual: Value) -> bool {
        matches!(step.kind, Kind::Conv { residual: true, .. })
            && self.maps[residual] == self.maps[step.output]
            && self.is_whole(residual) == self.is_whole(step.output)
            && step.inputs[0] != residual
    }

    /// A new slot.
    fn open(&mut self) -> usize {
        self.sizes.push([0; 2]);
        self.sizes.len() - 1
    }

    /// The smallest free slot that is large enough for `value`, else the
    /// largest; a new one when none is free.
    fn take_smallest(&mut self, free: &mut Vec<usize>, value: Value) -> usize {
        let (size, kind) = (self.words(value, 1), usize::from(self.is_whole(value)));
        let best = (0..free.len()).min_by_key(|&i| {
            let have = self.sizes[free[i]][kind];
            // `Ok` sorts before `Err`
            if have >= size {
                Ok(have)
            } else {
                Err(Reverse(have))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::build, family, fuse::fuse};

    #[test]
    fn keeping_the_outputs_costs_no_memory() {
        for row in family::FAMILY {
            let graph = build(row, row.input, row.classes);
            let steps = fuse(&graph).unwrap();
            for per_word in [1, 2, 4] {
                let bytes = |outputs: OutputValues| {
                    let layout = ArenaLayout::keeping(outputs, &graph, &steps, (per_word, 2));
                    layout.slot_sizes(8).sum::<usize>()
                };
                let outputs = OutputValues::of(&graph);
                let kept = bytes(outputs);
                assert_eq!(kept, bytes(outputs.only_logits()), "{}", row.name);
            }
        }
    }
}
