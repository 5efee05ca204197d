//! Elementwise steps.

use super::conv_spec::Activation;
use super::element::{Affine, Element};
use super::feature_map::{FeatureMap, SendPtr, View, ViewMut};
use super::isa::{Kernel, SupportedIsa, dispatch};
use super::simd::Simd;
use crate::threads::ThreadPool;

/// `y[n, i, j, c] = act(x[n, i, j, c] * scale[c] + shift[c])`: a batch norm in
/// front of a convolution (pre-activation).
///
/// # Panics
/// If the feature maps differ in more than their borders, or the lengths of the
/// slices are not the number of channels.
pub(crate) fn scale_shift<E: Element>(
    threads: &ThreadPool,
    isa: SupportedIsa,
    (scale, shift): (&[f32], &[f32]),
    activation: Activation,
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let (from, map) = (*input.map(), *output.map());
    let border = from.border;
    assert_eq!(from, FeatureMap { border, ..map });
    assert!(scale.len() == map.channels && shift.len() == map.channels);
    let affine = output.affine();
    let to = output.shared();
    threads.for_each(map.n * map.height, |row, _| {
        let row = ScaleShift {
            scale,
            shift,
            activation,
            input,
            output: (to, map, affine),
            n: row / map.height,
            y: row % map.height,
        };
        dispatch(isa, row);
    });
}

/// One row of pixels.
struct ScaleShift<'a, E> {
    scale: &'a [f32],
    shift: &'a [f32],
    activation: Activation,
    input: View<'a, E>,
    output: (SendPtr<E>, FeatureMap, Affine),
    n: usize,
    y: usize,
}

impl<E: Element> Kernel for ScaleShift<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (map, affine) = (self.output.1, self.output.2);
        let before = self.input.affine();
        let channels = map.channels;
        let whole = channels / S::LANES * S::LANES;
        let floor = self.activation.floor();
        for x in 0..map.width {
            let start = self.input.map().offset(self.n, self.y as isize, x as isize);
            let from = &self.input.data()[start..start + channels];
            // SAFETY: one pixel of the interior, which no other task writes.
            unsafe {
                let out = self.output.0.get();
                let out = out.add(map.offset(self.n, self.y as isize, x as isize));
                for c in (0..whole).step_by(S::LANES) {
                    let scale = S::load(self.scale.as_ptr().add(c));
                    let shift = S::load(self.shift.as_ptr().add(c));
                    let x: S = E::load(from.as_ptr().add(c), before);
                    let y = x.mul_add(scale, shift).max(S::splat(floor));
                    E::store(y, out.add(c), affine);
                }
                for c in whole..channels {
                    let y = from[c].to_f32(before) * self.scale[c] + self.shift[c];
                    *out.add(c) = E::from_f32(y.max(floor), affine);
                }
            }
        }
    }
}
