//! The 36 matrix products of Winograd's convolutions, one a point of the
//! transformed tiles.

use std::ops::Range;

use crate::cpu::element::Element;
use crate::cpu::map::Shared;
use crate::cpu::micro::{self, Run, load, multiply, store};
use crate::cpu::simd::Simd;
use crate::cpu::transform::POINTS;

/// 36 matrices, one a point: row `r` of point `p` begins at
/// `start + p * plane + r * row`. Planes lie a cache line more apart than their rows need, so
/// that the points of one vector do not fall on one cache set.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    start: Shared,
    pub(super) plane: usize,
    row: usize,
}

impl Planes {
    pub(super) fn new(start: Shared, rows: usize, row: usize) -> Self {
        let plane = rows * row + 16;
        Self { start, plane, row }
    }

    pub(super) fn len(rows: usize, row: usize) -> usize {
        POINTS * (rows * row + 16)
    }

    /// # Safety
    /// The planes must have row `r`.
    pub(super) unsafe fn at(&self, point: usize, r: usize) -> *mut f32 {
        // SAFETY: the caller's.
        unsafe { self.start.start().add(point * self.plane + r * self.row) }
    }
}

/// `M[p, t, o] (+)= sum over c of V[p, t, c] * U[p, c, o]`, adding to what is
/// there unless the words begin at 0.
#[inline(always)]
pub(super) unsafe fn products<E: Element, S: Simd, const V: usize>(
    v: Planes,
    words: Range<usize>,
    u: Planes,
    m: Planes,
    tiles: usize,
) {
    let product = Product {
        v,
        u,
        m,
        fresh: words.start == 0,
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
                    6 => product.tile::<E, S, 6, V>(point, r),
                    5 => product.tile::<E, S, 5, V>(point, r),
                    4 => product.tile::<E, S, 4, V>(point, r),
                    3 => product.tile::<E, S, 3, V>(point, r),
                    2 => product.tile::<E, S, 2, V>(point, r),
                    _ => product.tile::<E, S, 1, V>(point, r),
                }
            }
        }
    }
}

struct Product {
    v: Planes,
    u: Planes,
    m: Planes,
    fresh: bool,
    run: Run,
}

impl Product {
    /// `P` rows from `r` on of one point.
    #[inline(always)]
    unsafe fn tile<E: Element, S: Simd, const P: usize, const V: usize>(
        &self,
        point: usize,
        r: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut from = [std::ptr::null(); P];
            let mut to = [std::ptr::null_mut(); P];
            for p in 0..P {
                from[p] = self.v.at(point, r + p).cast_const();
                to[p] = self.m.at(point, r + p);
            }
            let mut sums = [[S::splat(0.0); V]; P];
            if !self.fresh {
                load(&to, &mut sums);
            }
            let weights = self.u.at(point, 0);
            multiply::<E, S, P, V>(&from, &[self.run], 0, (weights, weights), &mut sums);
            store(&sums, &to);
        }
    }
}
