//! How Winograd's way is cut into tasks, and whether it is taken at all.

use super::products::Planes;
use crate::cpu::map::Map;
use crate::cpu::pack::PackedConv;
use crate::cpu::transform::{POINTS, STEP};

/// Words of a task's transformed tiles or weights: half of a 512 KiB L2.
const HALF_L2: usize = 64 * 1024;

/// The most tiles that share one transform of the weights: of more, the private
/// planes leave the caches.
const SHARED_TILES: usize = 48;

/// What transforms cost, in multiply-adds of a word: of a pair of channels'
/// weights, and of a tile's channel, each for every channel in the word, since
/// they stay in f32 when products get faster.
const WEIGHT_TRANSFORM: usize = 160;
const INPUT_TRANSFORM: usize = 250;

/// How a convolution of some map is done.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Tiles down, across, and in the whole batch.
    pub(super) down: usize,
    pub(super) across: usize,
    pub(super) tiles: usize,
    /// Tiles of a task, and in how many tasks all are.
    pub(super) block: usize,
    pub(super) blocks: usize,
    /// Groups of panels: tasks for each block.
    pub(super) groups: usize,
    /// Words of input channels whose weights a task transforms at a time.
    pub(super) depth: usize,
}

impl Layout {
    /// `None` where direct multiplication is less work, or impossible.
    pub(crate) fn new(conv: &PackedConv, map: &Map, workers: usize) -> Option<Self> {
        let lanes = conv.level.lanes();
        let kept = !conv.transformed.is_empty();
        let (down, across) = (map.height.div_ceil(STEP), map.width.div_ceil(STEP));
        let tiles = map.n * down * across;
        // multiply-adds for each pair of channels
        let direct = map.n * map.height * map.width * 9;
        let transform = if kept {
            0
        } else {
            WEIGHT_TRANSFORM * conv.per_word
        };
        if !conv.transformable() || POINTS * tiles + transform >= direct * 4 / 5 {
            return None;
        }
        let room = HALF_L2 / POINTS;
        let most = if kept {
            (room / conv.words()).clamp(12, 24)
        } else {
            SHARED_TILES
        };
        // of all ways to cut tiles and panels, that whose slowest core has least to do
        let time = |&(blocks, groups): &(usize, usize)| {
            let (tiles, panels) = (tiles.div_ceil(blocks), conv.panels.div_ceil(groups));
            let input = tiles * INPUT_TRANSFORM * conv.per_word;
            let panel = conv.panel() * (transform + tiles * POINTS);
            (blocks * groups).div_ceil(workers) * (input + panels * panel)
        };
        let least = tiles.div_ceil(most);
        let cuts = (least..=tiles.min(least + workers))
            .flat_map(|blocks| (1..=conv.panels).map(move |groups| (blocks, groups)));
        let (blocks, groups) = cuts.min_by_key(time)?;
        Some(Self {
            down,
            across,
            tiles,
            block: tiles.div_ceil(blocks),
            blocks,
            groups,
            depth: (room / conv.panel())
                .next_multiple_of(lanes)
                .min(conv.words()),
        })
    }

    /// Words of the planes of each worker.
    pub(crate) fn workspace(&self, conv: &PackedConv) -> usize {
        let (words, panel) = (conv.words(), conv.panel());
        let weights = if conv.transformed.is_empty() {
            Planes::len(self.depth, panel)
        } else {
            0
        };
        Planes::len(self.block, words) + Planes::len(self.block, panel) + weights
    }
}
