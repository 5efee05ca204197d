//! The micro-kernel: `P` pixels times `V` vectors of output channels, their
//! sums in registers from the first multiply-add to the last.

use super::element::Element;
use super::simd::Simd;

/// Most pixels of a tile: 6 x 2 sums, 2 vectors of weights and a broadcast
/// fill AVX2's 16 registers; 6 x 4, 4 and 1 fit AVX-512's 32. A multiply-add
/// takes 4 cycles and two start in each, so 8 sums are enough to never wait:
/// tiles of 4 and 5 pixels run as fast per pixel as those of 6.
pub(crate) const PIXELS: usize = 6;

/// Most words of a panel's row: 4 vectors of 16.
pub(crate) const WIDEST: usize = 64;

/// Rows of weights between what is multiplied and what is asked for: caches
/// do not fetch ahead across pages by themselves.
const AHEAD: usize = 12;

/// Words of a cache line.
const LINE: usize = 16;

/// Consecutive words of the input under a part of the kernel: `len` words
/// from `row` rows below and `start` words right of the window's corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) row: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Adds the products of some runs of a window to the sums of a tile:
///
/// ```text
/// for run in runs { for k in 0..run.len { for p in 0..P { for v in 0..V * LANES {
///     sums[p][v] += corners[p][run.row * row + run.start + k] . weights[k'][v]   // k' counts on
/// }}}}
/// ```
///
/// A word of f32 is one channel; the dot is over the two of bf16, the four of
/// 8-bit integers.
///
/// # Safety
/// Every corner must be valid for the runs' words (`row` bytes a row, any
/// alignment),
/// `weights` (the first address; from the second on is what will be read
/// later) for their sum times `V * LANES`; `S`'s instructions exist.
#[inline(always)]
pub(crate) unsafe fn multiply<E: Element, S: Simd, const P: usize, const V: usize>(
    corners: &[*const f32; P],
    runs: &[Run],
    row: usize,
    (mut weights, mut later): (*const f32, *const f32),
    sums: &mut [[S; V]; P],
) {
    // SAFETY: the caller's contract bounds every address.
    unsafe {
        for run in runs {
            let mut from = *corners;
            for pointer in &mut from {
                *pointer = pointer.byte_add(run.row * row).add(run.start);
            }
            for k in 0..run.len {
                let mut w = [S::splat(0.0); V];
                for (v, w) in w.iter_mut().enumerate() {
                    *w = S::load(weights.add(v * S::LANES));
                    if (v * S::LANES).is_multiple_of(LINE) {
                        prefetch(weights.wrapping_add((AHEAD * V + v) * S::LANES));
                    }
                }
                weights = weights.add(V * S::LANES);
                // narrow vectors have no load to spare
                if S::LANES == LINE {
                    prefetch_later(later);
                    later = later.wrapping_add(LINE);
                }
                for p in 0..P {
                    let x = S::splat(from[p].add(k).read_unaligned());
                    for v in 0..V {
                        sums[p][v] = E::dot(x, w[v], sums[p][v]);
                    }
                }
            }
        }
    }
}

/// Asks for a cache line that will be read soon.
#[inline(always)]
pub(crate) fn prefetch(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; an address that is not there is ignored.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Asks for a cache line that will be read later.
#[inline(always)]
fn prefetch_later(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Loads `V` vectors of each pixel.
///
/// # Safety
/// The pixels must be readable; `S`'s instructions exist.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, const P: usize, const V: usize>(
    from: &[*mut f32; P],
    sums: &mut [[S; V]; P],
) {
    for p in 0..P {
        for v in 0..V {
            // SAFETY: the caller's.
            sums[p][v] = unsafe { S::load(from[p].add(v * S::LANES)) };
        }
    }
}

/// Stores `V` vectors of each pixel.
///
/// # Safety
/// The pixels must be writable; `S`'s instructions exist.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const P: usize, const V: usize>(
    sums: &[[S; V]; P],
    to: &[*mut f32; P],
) {
    for p in 0..P {
        for v in 0..V {
            // SAFETY: the caller's.
            unsafe { sums[p][v].store(to[p].add(v * S::LANES)) };
        }
    }
}

/// Splits `0..pixels` into the fewest tiles of at most [`PIXELS`], as even as
/// can be: 49 pixels are 4 tiles of 6 and 5 of 5, none of 1.
pub(crate) fn tiles(pixels: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = pixels.div_ceil(PIXELS);
    (0..count).map(move |i| (i * pixels / count)..((i + 1) * pixels / count))
}
