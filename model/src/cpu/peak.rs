//! How many multiply-adds the processor can do: the inner loop on words that
//! stay in the first-level cache, on every core. What the layers are measured
//! against.

use std::marker::PhantomData;
use std::time::Instant;

use super::amx::{Bf16, Int8, Product, ROW, ROWS, Tiles};
use super::element::Element;
use super::level::{Kernel, Level, dispatch, dispatch_tiles};
use super::micro::{PIXELS, Run, multiply};
use super::simd::Simd;
use crate::cores::Cores;

/// Words of weights in the loop of the vectors: half of a small L1.
const WEIGHTS: usize = 4096;

/// Steps of 64 bytes in the loop of the tiles: 8 KiB of each.
const STEPS: usize = 8;

/// Turns of a loop: some milliseconds.
const TURNS: usize = 4000;

/// Rounds, of which the fastest counts.
const ROUNDS: usize = 8;

/// Multiply-adds a second of all cores together, in maps of `E`.
pub(crate) fn peak<E: Element>(cores: &Cores, level: Level) -> f64 {
    let tiled = level.has_tiles() && E::PER_WORD > 1;
    let words = if tiled {
        // 32 pixels times 32 channels
        4 * ROWS * ROWS * STEPS * ROW / 4
    } else {
        PIXELS * WEIGHTS
    };
    let products = words * E::PER_WORD * TURNS * cores.count();
    let round = || {
        let start = Instant::now();
        cores.for_each(cores.count(), |_, _| {
            if tiled {
                dispatch_tiles(level, TileLoop::<E>(PhantomData));
            } else {
                dispatch(level, Loop::<E>(PhantomData));
            }
        });
        products as f64 / start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| round()).fold(0.0, f64::max)
}

/// The vectors' loop.
struct Loop<E>(PhantomData<E>);

impl<E: Element> Kernel for Loop<E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = [0f32; PIXELS * WEIGHTS / 16];
        let weights = [0f32; WEIGHTS];
        for _ in 0..TURNS {
            // SAFETY: a window of the pixels, and as many rows of weights.
            unsafe {
                if S::LANES == 16 {
                    window::<E, S, 4>(&pixels, &weights);
                } else {
                    window::<E, S, 2>(&pixels, &weights);
                }
            }
        }
    }
}

/// # Safety
/// The slices hold a window and its weights; `S`'s instructions exist.
#[inline(always)]
unsafe fn window<E: Element, S: Simd, const V: usize>(pixels: &[f32], weights: &[f32]) {
    let words = WEIGHTS / (V * S::LANES);
    let run = Run {
        row: 0,
        start: 0,
        len: words,
    };
    let (pixels, weights) = (std::hint::black_box(pixels), weights.as_ptr());
    // SAFETY: the caller's.
    unsafe {
        let corners: [*const f32; PIXELS] = std::array::from_fn(|p| pixels.as_ptr().add(p * words));
        let mut sums = [[S::splat(0.0); V]; PIXELS];
        multiply::<E, S, PIXELS, V>(&corners, &[run], 0, (weights, weights), &mut sums);
        std::hint::black_box(sums);
    }
}

/// The tiles' loop.
struct TileLoop<E>(PhantomData<E>);

impl<E: Element> Kernel for TileLoop<E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the level has tiles.
        unsafe {
            if E::PER_WORD == 2 {
                tiles::<Bf16>();
            } else {
                tiles::<Int8>();
            }
        }
    }
}

/// # Safety
/// The processor has tiles, and this thread has none in use.
#[inline(always)]
unsafe fn tiles<D: Product>() {
    let memory = [[0u8; STEPS * ROWS * ROW]; 4];
    let [a, b, v, w] = std::hint::black_box(&memory).each_ref().map(|m| m.as_ptr());
    // SAFETY: the caller's; each of the four has the rows of its steps.
    unsafe {
        let mut tiles = Tiles::configure();
        let mut block = tiles.block::<D, 2, 2>();
        block.zero();
        for _ in 0..TURNS {
            block.multiply(&[a, b], &[STEPS * ROW; 2], &[v, w], ROW, STEPS);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn every_number_type_has_a_peak() {
        let cores = Cores::new(1).unwrap();
        for level in [Level::at_most(crate::Isa::Portable), Level::best()] {
            let peaks = [
                peak::<f32>(&cores, level),
                peak::<bf16>(&cores, level),
                peak::<u8>(&cores, level),
            ];
            assert!(peaks.iter().all(|peak| *peak > 1e6), "{peaks:?}");
        }
    }
}
