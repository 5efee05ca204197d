//! The 36 GEMMs of a Winograd convolution, one for each point of the transform.

use std::ops::Range;

use super::transform::POINTS;
use crate::cpu::element::Element;
use crate::cpu::feature_map::SendPtr;
use crate::cpu::micro::{self, load, multiply, store};
use crate::cpu::run::Run;
use crate::cpu::simd::Simd;

/// 36 matrices, one for each point: row `r` of point `p` starts at
/// `start + p * plane + r * row`. Planes are padded by a cache line, so that
/// the points of one vector do not map to the same cache set.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    start: SendPtr,
    pub(super) plane: usize,
    row: usize,
}

impl Planes {
    pub(super) fn new(start: SendPtr, rows: usize, row: usize) -> Self {
        let plane = rows * row + 16;
        Self { start, plane, row }
    }

    pub(super) fn len(rows: usize, row: usize) -> usize {
        POINTS * (rows * row + 16)
    }

    /// # Safety
    /// The planes must have row `r`.
    pub(super) unsafe fn at(&self, point: usize, r: usize) -> *mut f32 {
        // SAFETY: guaranteed by the caller.
        unsafe { self.start.get().add(point * self.plane + r * self.row) }
    }
}

/// Computes `M[p, t, o] = sum over c of V[p, t, c] * U[p, c, o]` for the
/// channels in `words`. The products are added to `M` unless `words` starts at
/// 0.
///
/// # Safety
/// `v`, `u` and `m` have the rows that this accesses. The CPU supports `S`.
#[inline(always)]
pub(super) unsafe fn multiply_points<E: Element, S: Simd, const V: usize>(
    v: Planes,
    words: Range<usize>,
    u: Planes,
    m: Planes,
    tiles: usize,
) {
    let gemm = PointGemm {
        v,
        u,
        m,
        overwrite: words.start == 0,
        run: Run {
            row: 0,
            start: words.start,
            len: words.len(),
        },
    };
    for point in 0..POINTS {
        for rows in micro::tiles(tiles) {
            let r = rows.start;
            // SAFETY: the caller's planes have these rows.
            unsafe {
                match rows.len() {
                    6 => gemm.tile::<E, S, 6, V>(point, r),
                    5 => gemm.tile::<E, S, 5, V>(point, r),
                    4 => gemm.tile::<E, S, 4, V>(point, r),
                    3 => gemm.tile::<E, S, 3, V>(point, r),
                    2 => gemm.tile::<E, S, 2, V>(point, r),
                    _ => gemm.tile::<E, S, 1, V>(point, r),
                }
            }
        }
    }
}

struct PointGemm {
    v: Planes,
    u: Planes,
    m: Planes,
    overwrite: bool,
    run: Run,
}

impl PointGemm {
    /// Computes `P` rows of one point, starting at row `r`.
    #[inline(always)]
    unsafe fn tile<E: Element, S: Simd, const P: usize, const V: usize>(
        &self,
        point: usize,
        r: usize,
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut from = [std::ptr::null(); P];
            let mut to = [std::ptr::null_mut(); P];
            for p in 0..P {
                from[p] = self.v.at(point, r + p).cast_const();
                to[p] = self.m.at(point, r + p);
            }
            let mut sums = [[S::splat(0.0); V]; P];
            if !self.overwrite {
                load(&to, &mut sums);
            }
            let weights = self.u.at(point, 0);
            multiply::<E, S, P, V>(&from, &[self.run], 0, (weights, weights), &mut sums);
            store(&sums, &to);
        }
    }
}
