//! The loop filter (RFC 6386, 15), which smooths the edges of macroblocks and of the
//! blocks in them. All samples along an edge are filtered at once.

use super::header::FilterHeader;
use super::lanes::{LANES, Lanes};
use crate::support::transpose::transpose_squares;

/// What the samples across an edge must be like to be filtered.
#[derive(Clone, Copy, Default)]
pub(super) struct Strength {
    /// The largest difference across the edge of a macroblock, and of a block; 0 if
    /// nothing is filtered.
    edges: [i16; 2],
    /// The largest difference of neighbours on the same side.
    interior: i16,
    /// The largest difference of neighbours that counts as flat.
    flat: i16,
}

impl Strength {
    /// The strength for all macroblocks of a segment. `has_blocks` says whether their
    /// blocks are predicted one by one.
    pub(super) fn new(filter: &FilterHeader, segment: usize, has_blocks: bool) -> Self {
        let level = filter.levels[segment][usize::from(has_blocks)];
        if !filter.is_on || level == 0 {
            return Self::default();
        }
        let mut interior = level;
        if filter.sharpness > 0 {
            interior >>= if filter.sharpness > 4 { 2 } else { 1 };
            interior = interior.min(9 - filter.sharpness);
        }
        let interior = interior.max(1);
        let limit = 2 * level + interior;
        let flat = match level {
            40.. => 2,
            15.. => 1,
            _ => 0,
        };
        Self {
            // The differences are compared after they are doubled.
            edges: [limit + 4, limit].map(|limit| (2 * limit + 1) as i16),
            interior: interior as i16,
            flat,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.edges[1] == 0
    }
}

/// Which edges of a macroblock are filtered.
#[derive(Clone, Copy)]
pub(super) struct Edges {
    pub(super) left: bool,
    pub(super) above: bool,
    /// Those of its blocks.
    pub(super) inner: bool,
}

/// A plane of samples.
pub(super) struct Plane<'a> {
    pub(super) samples: &'a mut [u8],
    pub(super) stride: usize,
}

/// Four samples on each side of an edge, from one side to the other.
type Across = [[u8; LANES]; 8];

/// How samples are filtered.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Simple,
    /// The edge of a macroblock.
    Outer,
    /// The edge of a block.
    Inner,
}

/// Filters the edges of the luma samples of a macroblock at `at`.
#[inline(always)]
pub(super) fn filter_luma(
    plane: &mut Plane<'_>,
    at: usize,
    strength: Strength,
    edges: Edges,
    is_simple: bool,
) {
    let [outer, inner] = match is_simple {
        true => [Kind::Simple; 2],
        false => [Kind::Outer, Kind::Inner],
    };
    if edges.left {
        plane.filter_vertical(at, strength, outer, 0);
    }
    if edges.inner {
        for x in [4, 8, 12] {
            plane.filter_vertical(at + x, strength, inner, 1);
        }
    }
    if edges.above {
        plane.filter_horizontal(at, strength, outer, 0);
    }
    if edges.inner {
        for y in [4, 8, 12] {
            plane.filter_horizontal(at + y * plane.stride, strength, inner, 1);
        }
    }
}

/// Filters the edges of the chroma samples of a macroblock: 8 x 8 of each of two
/// planes, the second of which is `second` samples after the first.
#[inline(always)]
pub(super) fn filter_chroma(
    plane: &mut Plane<'_>,
    [at, second]: [usize; 2],
    strength: Strength,
    edges: Edges,
) {
    let both = [at, at + second];
    if edges.left {
        plane.filter_vertical_pair(both, strength, Kind::Outer, 0);
    }
    if edges.inner {
        plane.filter_vertical_pair(both.map(|at| at + 4), strength, Kind::Inner, 1);
    }
    if edges.above {
        plane.filter_horizontal_pair(both, strength, Kind::Outer, 0);
    }
    if edges.inner {
        let both = both.map(|at| at + 4 * plane.stride);
        plane.filter_horizontal_pair(both, strength, Kind::Inner, 1);
    }
}

impl Plane<'_> {
    /// Filters 16 samples of a vertical edge. `at` is after it.
    #[inline(always)]
    fn filter_vertical(&mut self, at: usize, strength: Strength, kind: Kind, limit: usize) {
        let stride = self.stride;
        self.filter_columns(|i| at + i * stride, strength, kind, limit);
    }

    /// As that, with 8 samples in each of two planes.
    #[inline(always)]
    fn filter_vertical_pair(
        &mut self,
        [first, second]: [usize; 2],
        strength: Strength,
        kind: Kind,
        limit: usize,
    ) {
        let stride = self.stride;
        let start = |i: usize| if i < 8 { first } else { second };
        self.filter_columns(|i| start(i) + i % 8 * stride, strength, kind, limit);
    }

    #[inline(always)]
    fn filter_columns(
        &mut self,
        place: impl Fn(usize) -> usize,
        strength: Strength,
        kind: Kind,
        limit: usize,
    ) {
        // Two squares of 8 x 8 samples, whose rows become columns.
        let mut tile = [[0; 2]; 8];
        for i in 0..LANES {
            if let Some(samples) = self.samples[place(i) - 4..].first_chunk() {
                tile[i % 8][i / 8] = u64::from_le_bytes(*samples);
            }
        }
        transpose_squares(&mut tile);
        let mut across: Across = [[0; LANES]; 8];
        for (line, row) in across.iter_mut().zip(&tile) {
            let halves = line.as_chunks_mut().0;
            for (half, samples) in halves.iter_mut().zip(row) {
                *half = samples.to_le_bytes();
            }
        }
        if !filter(&mut across, strength, kind, limit) {
            return;
        }
        for (line, row) in across.iter().zip(&mut tile) {
            for (half, samples) in line.as_chunks().0.iter().zip(row) {
                *samples = u64::from_le_bytes(*half);
            }
        }
        transpose_squares(&mut tile);
        for i in 0..LANES {
            if let Some(samples) = self.samples[place(i) - 4..].first_chunk_mut() {
                *samples = tile[i % 8][i / 8].to_le_bytes();
            }
        }
    }

    /// Filters 16 samples of a horizontal edge. `at` is below it.
    #[inline(always)]
    fn filter_horizontal(&mut self, at: usize, strength: Strength, kind: Kind, limit: usize) {
        let top = at - 4 * self.stride;
        let mut across: Across = [[0; LANES]; 8];
        for (y, row) in across.iter_mut().enumerate() {
            if let Some(samples) = self.samples[top + y * self.stride..].first_chunk() {
                *row = *samples;
            }
        }
        if !filter(&mut across, strength, kind, limit) {
            return;
        }
        for (y, row) in across.iter().enumerate().take(7).skip(1) {
            let to = &mut self.samples[top + y * self.stride..];
            if let Some(samples) = to.first_chunk_mut() {
                *samples = *row;
            }
        }
    }

    /// As that, with 8 samples in each of two planes.
    #[inline(always)]
    fn filter_horizontal_pair(
        &mut self,
        both: [usize; 2],
        strength: Strength,
        kind: Kind,
        limit: usize,
    ) {
        let tops = both.map(|at| at - 4 * self.stride);
        let mut across: Across = [[0; LANES]; 8];
        for (y, row) in across.iter_mut().enumerate() {
            for (half, top) in row.as_chunks_mut::<8>().0.iter_mut().zip(tops) {
                if let Some(samples) = self.samples[top + y * self.stride..].first_chunk() {
                    *half = *samples;
                }
            }
        }
        if !filter(&mut across, strength, kind, limit) {
            return;
        }
        for (y, row) in across.iter().enumerate().take(7).skip(1) {
            for (half, top) in row.as_chunks::<8>().0.iter().zip(tops) {
                let to = &mut self.samples[top + y * self.stride..];
                if let Some(samples) = to.first_chunk_mut() {
                    *samples = *half;
                }
            }
        }
    }
}

/// Filters the samples across an edge. Returns false if none of them changes.
#[inline(always)]
fn filter(across: &mut Across, strength: Strength, kind: Kind, limit: usize) -> bool {
    let mut lanes = [Lanes::splat(0); 8];
    for (lanes, samples) in lanes.iter_mut().zip(across.iter()) {
        *lanes = Lanes::widen(samples);
    }
    let [p3, p2, p1, p0, q0, q1, q2, q3] = lanes;
    let steps = [p1.distance(p0), q1.distance(q0)];
    let edge = p0.distance(q0).times(4) + p1.distance(q1);
    let mut is_beyond = edge.exceeds(Lanes::splat(strength.edges[limit]));
    if kind != Kind::Simple {
        let before = p3.distance(p2).max(p2.distance(p1)).max(steps[0]);
        let after = q3.distance(q2).max(q2.distance(q1)).max(steps[1]);
        is_beyond = is_beyond | before.max(after).exceeds(Lanes::splat(strength.interior));
    }
    let on = !is_beyond;
    if on.is_zero() {
        return false;
    }
    let steep = match kind {
        Kind::Simple => Lanes::splat(-1),
        _ => steps[0].max(steps[1]).exceeds(Lanes::splat(strength.flat)),
    };
    let flat = on & !steep;
    let difference = (q0 - p0).times(3);
    let outer = (p1 - q1).clamp(-128, 127);
    // Of the edge of a block that is flat, the outer samples do not count.
    let common = match kind {
        Kind::Inner => difference + (outer & steep),
        _ => difference + outer,
    };
    let after = (common + Lanes::splat(4)).shifted::<3>().clamp(-16, 15);
    let before = (common + Lanes::splat(3)).shifted::<3>().clamp(-16, 15);
    let zero = Lanes::splat(0);
    let (mut p, mut q) = ([before & on, zero, zero], [after & on, zero, zero]);
    match kind {
        Kind::Simple => {}
        Kind::Inner => {
            let next = (after + Lanes::splat(1)).shifted::<1>() & flat;
            (p[1], q[1]) = (next, next);
        }
        Kind::Outer => {
            let weight = common.clamp(-128, 127);
            let first = (weight.times(27) + Lanes::splat(63)).shifted::<7>() & flat;
            let second = (weight.times(18) + Lanes::splat(63)).shifted::<7>() & flat;
            let third = (weight.times(9) + Lanes::splat(63)).shifted::<7>() & flat;
            p = [first | (before & on & steep), second, third];
            q = [first | (after & on & steep), second, third];
        }
    }
    across[1] = (p2 + p[2]).narrow();
    across[2] = (p1 + p[1]).narrow();
    across[3] = (p0 + p[0]).narrow();
    across[4] = (q0 - q[0]).narrow();
    across[5] = (q1 - q[1]).narrow();
    across[6] = (q2 - q[2]).narrow();
    true
}
