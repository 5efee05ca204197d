//! Where each value of a plan lives: its map, and a slot of the arena that is
//! reused as soon as nothing reads it any more.

use crate::cpu::Map;
use crate::fuse::{Kind, Step};
use crate::graph::{Graph, Outside, Value};

/// Maps and slots of every value a plan makes.
pub(crate) struct Layout {
    /// The map of each value, for one image; `None` for what fusion swallowed.
    maps: Vec<Option<Map>>,
    /// The slot of each value.
    slots: Vec<usize>,
    /// Words of 32 bits an image needs in each slot.
    sizes: Vec<usize>,
    /// Channels in a word; of the last value, 1: logits are floats.
    per_word: usize,
    last: Value,
}

impl Layout {
    /// Lays the steps' values out: borders as wide as their readers' padding,
    /// slots by liveness.
    pub(crate) fn new(graph: &Graph, steps: &[Step], per_word: usize) -> Self {
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
        };
        layout.assign(steps);
        layout
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
        self.sizes.iter().map(move |size| size * n)
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
        for (at, step) in steps.iter().enumerate() {
            let ends_here = |v: &Value| last_read[*v] == at;
            let slot = match step.inputs.get(1).filter(|v| ends_here(v)) {
                // a sum may overwrite its residual
                Some(&residual) if self.in_place(step, residual) => self.slots[residual],
                _ => self.take(&mut free, self.words(step.output, 1)),
            };
            self.slots[step.output] = slot;
            let mut ended: Vec<usize> = step
                .inputs
                .iter()
                .filter(|v| ends_here(v))
                .map(|&v| self.slots[v])
                .collect();
            ended.sort_unstable();
            ended.dedup();
            free.extend(ended.into_iter().filter(|&s| s != slot));
        }
    }

    fn in_place(&self, step: &Step, residual: Value) -> bool {
        matches!(step.kind, Kind::Conv { residual: true, .. })
            && self.maps[residual] == self.maps[step.output]
            && step.inputs[0] != residual
    }

    fn take(&mut self, free: &mut Vec<usize>, size: usize) -> usize {
        let best = (0..free.len()).min_by_key(|&i| {
            let have = self.sizes[free[i]];
            if have >= size {
                (0, have)
            } else {
                (1, usize::MAX - have)
            }
        });
        match best {
            Some(i) => {
                let slot = free.swap_remove(i);
                self.sizes[slot] = self.sizes[slot].max(size);
                slot
            }
            None => {
                self.sizes.push(size);
                self.sizes.len() - 1
            }
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
