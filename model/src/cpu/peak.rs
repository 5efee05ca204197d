//! Measures the CPU's peak multiply-add rate: runs the inner loops on data in the
//! L1 cache, on every thread. Benchmarks compare the layers with it.

use std::marker::PhantomData;
use std::time::Instant;

use super::amx::{Bf16, DotProduct, Int8, ROW_BYTES, ROWS, Tiles};
use super::element::Element;
use super::isa::{Kernel, SupportedIsa, dispatch, dispatch_tiles};
use super::micro::{PIXELS, multiply};
use super::run::Run;
use super::simd::Simd;
use crate::threads::ThreadPool;

/// Words of weights in the vector loop: half of a small L1 cache.
const WEIGHTS: usize = 4096;

/// 64-byte steps in the AMX loop: 8 KiB of each operand.
const STEPS: usize = 8;

/// Repetitions in one measurement: a few milliseconds.
const REPETITIONS: usize = 4000;

/// Number of measurements; the fastest one is the result.
const ROUNDS: usize = 8;

/// Measured multiply-adds per second of all threads together, for feature maps
/// of `E`.
pub(crate) fn peak<E: Element>(threads: &ThreadPool, isa: SupportedIsa) -> f64 {
    let tiled = isa.has_tiles() && E::PER_WORD > 1;
    let words = if tiled {
        // 32 pixels times 32 channels
        4 * ROWS * ROWS * STEPS * ROW_BYTES / 4
    } else {
        PIXELS * WEIGHTS
    };
    let products = words * E::PER_WORD * REPETITIONS * threads.count();
    let round = || {
        let start = Instant::now();
        threads.for_each(threads.count(), |_, _| {
            if tiled {
                dispatch_tiles(isa, AmxLoop::<E>(PhantomData));
            } else {
                dispatch(isa, VectorLoop::<E>(PhantomData));
            }
        });
        products as f64 / start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| round()).fold(0.0, f64::max)
}

/// The micro-kernel loop.
struct VectorLoop<E>(PhantomData<E>);

impl<E: Element> Kernel for VectorLoop<E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = [0f32; PIXELS * WEIGHTS / 16];
        let weights = [0f32; WEIGHTS];
        for _ in 0..REPETITIONS {
            // SAFETY: the arrays hold the windows and the weights.
            unsafe {
                if S::LANES == 16 {
                    register_tile::<E, S, 4>(&pixels, &weights);
                } else {
                    register_tile::<E, S, 2>(&pixels, &weights);
                }
            }
        }
    }
}

/// Runs the micro-kernel once over `weights`.
///
/// # Safety
/// The slices must hold the windows of a register tile and their weights. The
/// CPU must support `S`.
#[inline(always)]
unsafe fn register_tile<E: Element, S: Simd, const V: usize>(pixels: &[f32], weights: &[f32]) {
    let words = WEIGHTS / (V * S::LANES);
    let run = Run {
        row: 0,
        start: 0,
        len: words,
    };
    let (pixels, weights) = (std::hint::black_box(pixels), weights.as_ptr());
    // SAFETY: guaranteed by the caller.
    unsafe {
        let corners: [*const f32; PIXELS] = std::array::from_fn(|p| pixels.as_ptr().add(p * words));
        let mut sums = [[S::splat(0.0); V]; PIXELS];
        if S::PAIRS {
            sums = S::multiply_pairs(&corners, &[run], 0, weights);
        } else {
            multiply::<E, S, PIXELS, V>(&corners, &[run], 0, (weights, weights), &mut sums);
        }
        std::hint::black_box(sums);
    }
}

/// The AMX loop.
struct AmxLoop<E>(PhantomData<E>);

impl<E: Element> Kernel for AmxLoop<E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the CPU has AMX.
        unsafe {
            if E::PER_WORD == 2 {
                amx_block::<Bf16>();
            } else {
                amx_block::<Int8>();
            }
        }
    }
}

/// Multiplies one block repeatedly.
///
/// # Safety
/// The CPU must have AMX, and this thread no tiles in use.
#[inline(always)]
unsafe fn amx_block<D: DotProduct>() {
    let memory = [[0u8; STEPS * ROWS * ROW_BYTES]; 4];
    let [a, b, v, w] = std::hint::black_box(&memory).each_ref().map(|m| m.as_ptr());
    // SAFETY: guaranteed by the caller; each of the four arrays has the rows of
    // its steps.
    unsafe {
        let mut tiles = Tiles::configure();
        let mut block = tiles.block::<D, 2, 2>();
        block.zero();
        for _ in 0..REPETITIONS {
            block.multiply(&[a, b], &[STEPS * ROW_BYTES; 2], &[v, w], ROW_BYTES, STEPS);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn peak_is_measured_for_every_element_type() {
        let threads = ThreadPool::new(1).unwrap();
        for isa in [
            SupportedIsa::at_most(crate::Isa::Portable),
            SupportedIsa::best(),
        ] {
            let peaks = [
                peak::<f32>(&threads, isa),
                peak::<bf16>(&threads, isa),
                peak::<u8>(&threads, isa),
            ];
            assert!(peaks.iter().all(|peak| *peak > 1e6), "{peaks:?}");
        }
    }
}
