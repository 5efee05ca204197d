//! Decides whether Winograd is faster than direct convolution, and partitions a
//! Winograd convolution into tiles and tasks.

use super::gemm::Planes;
use super::transform::{OUTPUT_TILE, POINTS};
use crate::cpu::feature_map::FeatureMap;
use crate::cpu::pack::PackedConv;

/// Words of a task's transformed tiles or weights: half of a 512 KiB L2 cache.
const HALF_L2: usize = 64 * 1024;

/// The most tiles that share one weight transform; with more, the task's planes
/// no longer fit in cache.
const SHARED_TILES: usize = 48;

/// The cost of the transforms, in multiply-adds of a word: for the weights of
/// one pair of input and output channels, and for one channel of an input tile.
/// Both are multiplied by the channels in a word, because transforms are computed
/// in f32 and are not faster in bf16.
const WEIGHT_TRANSFORM: usize = 160;
const INPUT_TRANSFORM: usize = 250;

/// The batch for which Winograd is compared with direct convolution, whatever the
/// batch is. Both round differently: an image would otherwise have other logits
/// alone than in a batch. One image gains little by a direct convolution where two
/// gain much by Winograd.
const COMPARED_BATCH: usize = 2;

/// The partition of a Winograd convolution into tiles and tasks.
#[derive(Clone, Copy)]
pub(crate) struct TileLayout {
    /// Tiles in the vertical dimension.
    pub(super) down: usize,
    /// Tiles in the horizontal dimension.
    pub(super) across: usize,
    /// Tiles of the whole batch.
    pub(super) tiles: usize,
    /// The most tiles of a block; a task computes one block.
    pub(super) block: usize,
    /// The most tiles of a block of this many images or fewer. The workspace is for
    /// that many: a pass over the last images of a batch uses the same one.
    capacity: usize,
    /// Number of blocks.
    pub(super) blocks: usize,
    /// Groups of panels: the number of tasks for each block.
    pub(super) groups: usize,
    /// Words of input channels whose weights a task transforms at a time.
    pub(super) depth: usize,
}

impl TileLayout {
    /// `None` if direct convolution takes fewer operations, or Winograd does
    /// not apply. Does not depend on the number of images.
    pub(crate) fn new(conv: &PackedConv, map: &FeatureMap, workers: usize) -> Option<Self> {
        let lanes = conv.isa.lanes();
        let precomputed = !conv.transformed.is_empty();
        let (down, across) = (
            map.height.div_ceil(OUTPUT_TILE),
            map.width.div_ceil(OUTPUT_TILE),
        );
        // multiply-adds per pair of input and output channels
        let direct = COMPARED_BATCH * map.height * map.width * 9;
        let points = COMPARED_BATCH * down * across * POINTS;
        let transform = if precomputed {
            0
        } else {
            WEIGHT_TRANSFORM * conv.per_word
        };
        if !conv.winograd_applies() || points + transform >= direct * 4 / 5 {
            return None;
        }
        let tiles = map.n * down * across;
        let room = HALF_L2 / POINTS;
        let most = if precomputed {
            (room / conv.words()).clamp(12, 24)
        } else {
            SHARED_TILES
        };
        // take the partition that minimises the work of the thread with the most
        // work
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
            capacity: tiles.min(most),
            blocks,
            groups,
            depth: (room / conv.panel())
                .next_multiple_of(lanes)
                .min(conv.words()),
        })
    }

    /// Words of workspace for each worker; not fewer for more images.
    pub(crate) fn workspace(&self, conv: &PackedConv) -> usize {
        let (words, panel) = (conv.words(), conv.panel());
        let weights = if conv.transformed.is_empty() {
            Planes::len(self.depth, panel)
        } else {
            0
        };
        Planes::len(self.capacity, words) + Planes::len(self.capacity, panel) + weights
    }
}
