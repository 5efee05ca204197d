//! How many multiply-adds the processor can do: the micro-kernel on words that
//! stay in the first-level cache, on every core. What the layers are measured
//! against.

use std::time::Instant;

use super::element::Element;
use super::level::{Kernel, Level, dispatch};
use super::micro::{PIXELS, Run, WIDEST, multiply};
use super::simd::Simd;
use crate::cores::Cores;

/// Words of a window: with as many rows of weights, half of a small L1.
const WORDS: usize = 64;

/// Windows of one round: some milliseconds.
const WINDOWS: usize = 4000;

/// Rounds, of which the fastest counts.
const ROUNDS: usize = 8;

/// Multiply-adds a second of all cores together, in maps of `E`.
pub(crate) fn peak<E: Element>(cores: &Cores, level: Level) -> f64 {
    let vectors = if level.lanes() == 16 { 4 } else { 2 };
    let products = PIXELS * vectors * level.lanes() * E::PER_WORD * WORDS * WINDOWS;
    let round = || {
        let start = Instant::now();
        cores.for_each(cores.count(), |_, _| {
            dispatch(level, Loop::<E>(std::marker::PhantomData));
        });
        (products * cores.count()) as f64 / start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| round()).fold(0.0, f64::max)
}

struct Loop<E>(std::marker::PhantomData<E>);

impl<E: Element> Kernel for Loop<E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = [0f32; PIXELS * WORDS];
        let weights = [0f32; WORDS * WIDEST];
        for _ in 0..WINDOWS {
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
    let run = Run {
        row: 0,
        start: 0,
        len: WORDS,
    };
    let (pixels, weights) = (std::hint::black_box(pixels), weights.as_ptr());
    // SAFETY: the caller's.
    unsafe {
        let corners: [*const f32; PIXELS] = std::array::from_fn(|p| pixels.as_ptr().add(p * WORDS));
        let mut sums = [[S::splat(0.0); V]; PIXELS];
        multiply::<E, S, PIXELS, V>(&corners, &[run], 0, (weights, weights), &mut sums);
        std::hint::black_box(sums);
    }
}
