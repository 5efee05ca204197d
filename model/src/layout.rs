//! The memory of a plan: for each value, the layout of its feature map and its
//! slot in the arena. A slot is reused as soon as no later step reads its value.
//!
//! Early steps have large feature maps and small weights, late steps the
//! reverse. So the early steps process a few images at a time, whose feature
//! maps fit in the cache. The late steps process the whole batch, so that the
//! weights are read once per batch.

use std::cmp::Reverse;

use crate::cpu::FeatureMap;
use crate::fuse::{Kind, Step, runs_with};
use crate::graph::{Graph, Outside, Value};
use crate::outputs::OutputValues;

/// Feature maps and slots of all values of a plan. The values that a pass can
/// return (logits, embedding, last feature map) keep their slots until its end.
pub(crate) struct ArenaLayout {
    /// The feature map of each value for one image; `None` for values inside a fused
    /// step, which are never stored.
    maps: Vec<Option<FeatureMap>>,
    /// The slot of each stored value.
    slots: Vec<Option<usize>>,
    /// Size of each slot per image, in words of 32 bits: the maximum over the
    /// values that hold a few images, and over those that hold the whole batch.
    sizes: Vec<[usize; 2]>,
    /// Elements in a word. The logits are always f32.
    per_word: usize,
    outputs: OutputValues,
    early: Early,
}

/// Largest size, in words, of a feature map that a thread processes at a time in
/// the early steps: 1 MiB, about the size of an L2 cache. If a single image is
/// larger, a thread processes one image at a time.
const EARLY_WORDS: usize = 1 << 18;

/// The fewest output pixels per thread in an early step. With fewer pixels,
/// reading all weights for each group of images takes too long.
const EARLY_PIXELS: usize = 128;

/// The steps that process a few images at a time.
#[derive(Clone, Debug)]
pub(crate) struct Early {
    /// Number of early steps.
    pub(crate) steps: usize,
    /// Number of images that they process at a time.
    pub(crate) images: usize,
    /// For each value, whether it holds only these images. It does if it is the
    /// output of an early step, except the last, whose output holds the whole
    /// batch.
    few: Vec<bool>,
}

impl ArenaLayout {
    /// Assigns a border and a slot to each value. The border is as wide as the
    /// widest padding of the steps that read the value.
    pub(crate) fn new(graph: &Graph, steps: &[Step], per_word: usize, threads: usize) -> Self {
        Self::keeping(OutputValues::of(graph), graph, steps, (per_word, threads))
    }

    /// A layout in which `outputs` keep their slots until the end of a pass.
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

    /// The longest prefix of the steps that can process a few images at a time:
    ///
    /// - A few images give every thread at least [`EARLY_PIXELS`] pixels.
    /// - Of the outputs of the prefix, only the last is needed after it.
    /// - The prefix does not end between a convolution and the pool fused with it.
    fn find_early(&self, steps: &[Step], threads: usize) -> Early {
        let words = |step: &Step| self.words(step.output, 1);
        let largest = steps.iter().map(words).max().unwrap_or(1);
        let images_per_thread = (EARLY_WORDS / largest).max(1);
        let pixels = |step: &Step| self.maps[step.output].map_or(0, |map| map.height * map.width);
        let with_enough_pixels = steps
            .iter()
            .take_while(|step| images_per_thread * pixels(step) >= EARLY_PIXELS);
        let most = with_enough_pixels.count();
        let only_last_is_needed = |count: usize| {
            let computed: Vec<Value> = steps[..count].iter().map(|step| step.output).collect();
            let read = steps[count..].iter().flat_map(|step| &step.inputs).copied();
            let needed = read.chain(self.outputs.kept());
            let mut needed = needed.filter(|value| computed.contains(value));
            needed.all(|value| Some(&value) == computed.last())
        };
        let splits_no_pair = |count: usize| match steps.get(count) {
            Some(next) => !runs_with(&steps[count - 1], next),
            None => true,
        };
        let is_valid = |&count: &usize| only_last_is_needed(count) && splits_no_pair(count);
        let count = (1..=most).rev().find(is_valid).unwrap_or(0);
        let mut few = vec![false; self.maps.len()];
        let all_but_last = steps.iter().take(count.saturating_sub(1));
        all_but_last.for_each(|step| few[step.output] = true);
        Early {
            steps: count,
            images: images_per_thread * threads,
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

    /// How many images of a batch of `n` `value` holds at a time.
    pub(crate) fn images(&self, value: Value, n: usize) -> usize {
        if self.is_whole(value) {
            n
        } else {
            n.min(self.early.images)
        }
    }

    /// The feature map of `value` for a batch of `n`; `None` for a value inside a
    /// fused step.
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
        let size = move |&[of_few, of_whole]: &[usize; 2]| (of_few * few).max(of_whole * n);
        self.sizes.iter().map(size)
    }

    /// Words of `value` for a batch of `n`.
    pub(crate) fn words(&self, value: Value, n: usize) -> usize {
        let elements = self.map(value, n).map_or(0, |map| map.len());
        if value == self.outputs.logits {
            elements
        } else {
            // the last word that a window reads may extend past the last element
            elements.div_ceil(self.per_word) + usize::from(self.per_word > 1)
        }
    }

    /// Assigns a slot to the output of each step: that of the residual if the sum
    /// can be written in place, else a free slot, whose size is increased if
    /// necessary.
    fn assign(&mut self, steps: &[Step]) {
        let last_read = self.last_reads(steps);
        let mut free: Vec<usize> = Vec::new();
        // A convolution and the pool fused with it run at the same time. So the slots
        // that the convolution frees become available only after the pool has a slot.
        let mut freed_by_conv: Vec<usize> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let is_last_read = |v: &Value| last_read[*v] == at;
            // The early steps run once for each group of images, and each run writes a part
            // of their last output. This output needs a slot that no other early step uses,
            // or the next run would overwrite the part.
            let is_filled_in_parts = at + 1 == self.early.steps;
            let residual = step.inputs.get(1).filter(|v| is_last_read(v));
            let residual = residual.filter(|v| self.in_place(step, **v));
            let slot = match residual.and_then(|v| self.slots[*v]) {
                _ if is_filled_in_parts => self.add_slot(),
                // the sum is written over the residual
                Some(slot) => slot,
                None => self.take_smallest(&mut free, step.output),
            };
            self.slots[step.output] = Some(slot);
            let kind = usize::from(self.is_whole(step.output));
            let words = self.words(step.output, 1);
            self.sizes[slot][kind] = self.sizes[slot][kind].max(words);
            let mut freed: Vec<usize> = step
                .inputs
                .iter()
                .filter(|v| is_last_read(v))
                .filter_map(|&v| self.slots[v])
                .collect();
            freed.sort_unstable();
            freed.dedup();
            freed.retain(|&s| s != slot);
            free.append(&mut freed_by_conv);
            match steps.get(at + 1) {
                Some(next) if runs_with(step, next) => freed_by_conv = freed,
                _ => free.append(&mut freed),
            }
        }
    }

    /// For each value, the index of the last step that reads it. For a value that
    /// a pass can return, the number of steps.
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

    /// Adds an empty slot and returns its index.
    fn add_slot(&mut self) -> usize {
        self.sizes.push([0; 2]);
        self.sizes.len() - 1
    }

    /// Takes a slot for `value` from `free`: the smallest that is large enough,
    /// else the largest. If `free` is empty, adds a slot.
    fn take_smallest(&mut self, free: &mut Vec<usize>, value: Value) -> usize {
        let (size, kind) = (self.words(value, 1), usize::from(self.is_whole(value)));
        let best = (0..free.len()).min_by_key(|&i| {
            let available = self.sizes[free[i]][kind];
            // `Ok` sorts before `Err`
            if available >= size {
                Ok(available)
            } else {
                Err(Reverse(available))
            }
        });
        match best {
            Some(i) => free.swap_remove(i),
            None => self.add_slot(),
        }
    }
}

/// The border of `value`: the widest padding of the steps that read it. Max
/// pooling that ignores its padding needs no border.
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
    fn keeping_the_outputs_needs_no_extra_memory() {
        for row in family::FAMILY.iter() {
            let graph = build(row, row.input, row.classes);
            let steps = fuse(&graph).unwrap();
            for per_word in [1, 2, 4] {
                let words = |outputs: OutputValues| {
                    let layout = ArenaLayout::keeping(outputs, &graph, &steps, (per_word, 2));
                    layout.slot_sizes(8).sum::<usize>()
                };
                let outputs = OutputValues::of(&graph);
                let kept = words(outputs);
                assert_eq!(kept, words(outputs.only_logits()), "{}", row.name);
            }
        }
    }
}
