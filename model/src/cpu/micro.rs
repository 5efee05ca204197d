//! The micro-kernel: a register tile of `P` pixels times `V` vectors of output
//! channels. The sums stay in registers over the whole of K.

use super::element::Element;
use super::run::Run;
use super::simd::Simd;

/// The most pixels of a register tile. On AVX2, 6 x 2 sums, 2 weight vectors
/// and a broadcast fill the 16 registers; on AVX-512, 6 x 4 sums, 4 weight
/// vectors and a broadcast fit in 32. On NEON a vector is two registers, so it is
/// the same as on AVX-512.
///
/// An FMA has a latency of 4 cycles and two start per cycle, so 8 independent
/// sums hide the latency: tiles of 4 and 5 pixels are as fast per pixel as
/// tiles of 6.
pub(crate) const PIXELS: usize = 6;

/// The most words of a panel's row: 4 vectors of 16.
pub(crate) const WIDEST: usize = 64;

/// Prefetch distance, in rows of weights. The hardware prefetchers stop at page
/// boundaries.
const AHEAD: usize = 12;

/// 32-bit words in a cache line.
const LINE: usize = 16;

/// Accumulates the dot products of a window's runs into a register tile:
///
/// ```text
/// for run in runs { for k in 0..run.len { for p in 0..P { for v in 0..V * LANES {
///     sums[p][v] += dot(corners[p][run.row * row + run.start + k], weights[k'][v])   // k' counts over all runs
/// }}}}
/// ```
///
/// The dot product of two words is over their channels: one of f32, two of
/// bf16, four of 8-bit integers.
///
/// # Safety
/// Every corner must be valid for the words of the runs, with rows `row` bytes
/// apart and no alignment required. The first pointer of the pair must be valid
/// for the runs' total length times `V * LANES` weights; the second one is only
/// prefetched. The CPU must support `S`.
#[inline(always)]
pub(crate) unsafe fn multiply<E: Element, S: Simd, const P: usize, const V: usize>(
    corners: &[*const f32; P],
    runs: &[Run],
    row: usize,
    (mut weights, mut next_weights): (*const f32, *const f32),
    sums: &mut [[S; V]; P],
) {
    // SAFETY: the caller guarantees that every address is valid.
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
                // 8-lane kernels have no free load slot for the prefetch
                if S::LANES == LINE {
                    prefetch_l2(next_weights);
                    next_weights = next_weights.wrapping_add(LINE);
                }
                for p in 0..P {
                    let x = S::load_word(from[p].add(k));
                    for v in 0..V {
                        sums[p][v] = E::dot(x, w[v], sums[p][v]);
                    }
                }
            }
        }
    }
}

/// Prefetches a cache line into L1.
#[inline(always)]
pub(crate) fn prefetch(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it never faults, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Prefetches a cache line into L2.
#[inline(always)]
fn prefetch_l2(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Loads `V` vectors of sums of each pixel.
///
/// # Safety
/// The pixels must be readable. The CPU must support `S`.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, const P: usize, const V: usize>(
    from: &[*mut f32; P],
    sums: &mut [[S; V]; P],
) {
    for p in 0..P {
        for v in 0..V {
            // SAFETY: guaranteed by the caller.
            sums[p][v] = unsafe { S::load(from[p].add(v * S::LANES)) };
        }
    }
}

/// Stores `V` vectors of sums of each pixel.
///
/// # Safety
/// The pixels must be writable. The CPU must support `S`.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const P: usize, const V: usize>(
    sums: &[[S; V]; P],
    to: &[*mut f32; P],
) {
    for p in 0..P {
        for v in 0..V {
            // SAFETY: guaranteed by the caller.
            unsafe { sums[p][v].store(to[p].add(v * S::LANES)) };
        }
    }
}

/// Splits `0..pixels` into the fewest tiles of at most [`PIXELS`], as evenly as
/// possible: 49 pixels become 4 tiles of 6 and 5 tiles of 5, not a tile of 1.
pub(crate) fn tiles(pixels: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = pixels.div_ceil(PIXELS);
    (0..count).map(move |i| (i * pixels / count)..((i + 1) * pixels / count))
}
