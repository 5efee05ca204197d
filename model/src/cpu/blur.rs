//! Blur pooling (Zhang 2019): a 3x3 binomial filter with stride 2, which replaces
//! the stride of a convolution or of a max-pool.

use super::element::{Affine, Element};
use super::feature_map::{View, ViewMut};
use super::isa::{Kernel, SupportedIsa, dispatch};
use super::simd::Simd;
use crate::threads::ThreadPool;

/// The filter: the product of [1 2 1] / 4 in both directions.
const FILTER: [f32; 3] = [0.25, 0.5, 0.25];

/// `y[n, i, j, c]` is the filtered pixel (`2 i`, `2 j`) of `x[n, .., .., c]`. Pixels
/// outside the feature map are reflected at its first and last pixel.
pub(crate) fn blur_pool<E: Element>(
    threads: &ThreadPool,
    isa: SupportedIsa,
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let (from, affine) = (*input.map(), output.affine());
    output.for_each_row(threads, |n, y, row| {
        let rows = window(y, from.height).map(|y| input.row(n, y));
        let row = BlurredRow {
            rows,
            width: from.width,
            channels: from.channels,
            affine: input.affine(),
            output: (row, affine),
        };
        dispatch(isa, row);
    });
}

/// The pixels that output pixel `i` reads, of `side`.
fn window(i: usize, side: usize) -> [usize; 3] {
    let last = side - 1;
    let after = if 2 * i < last {
        2 * i + 1
    } else {
        last.saturating_sub(1)
    };
    let before = if i > 0 { 2 * i - 1 } else { last.min(1) };
    [before, 2 * i, after]
}

/// One output row, from three input rows.
struct BlurredRow<'a, E> {
    rows: [&'a [E]; 3],
    /// Pixels of an input row.
    width: usize,
    channels: usize,
    affine: Affine,
    output: (&'a mut [E], Affine),
}

impl<E: Element> Kernel for BlurredRow<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.channels;
        let whole = channels / S::LANES * S::LANES;
        for (x, out) in self.output.0.chunks_exact_mut(channels).enumerate() {
            let pixels = window(x, self.width).map(|x| x * channels);
            for c in (0..whole).step_by(S::LANES) {
                // SAFETY: the pixels are inside the rows, and a whole vector of
                // channels starts at `c`.
                unsafe {
                    let mut sum = S::splat(0.0);
                    for (row, down) in self.rows.iter().zip(FILTER) {
                        for (pixel, across) in pixels.iter().zip(FILTER) {
                            let value: S = E::load(row.as_ptr().add(pixel + c), self.affine);
                            sum = value.mul_add(S::splat(down * across), sum);
                        }
                    }
                    E::store(sum, out.as_mut_ptr().add(c), self.output.1);
                }
            }
            for c in whole..channels {
                let taps = self.rows.iter().zip(FILTER).flat_map(|(row, down)| {
                    let across = pixels.iter().zip(FILTER);
                    across.map(move |(pixel, across)| {
                        row[pixel + c].to_f32(self.affine) * (down * across)
                    })
                });
                out[c] = E::from_f32(taps.sum(), self.output.1);
            }
        }
    }
}
