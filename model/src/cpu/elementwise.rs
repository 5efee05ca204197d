//! Steps that touch each number once.

use super::element::{Affine, Element};
use super::level::{Kernel, Level, dispatch};
use super::map::{Map, Shared, View, ViewMut};
use super::pack::Activation;
use super::simd::Simd;
use crate::cores::Cores;

/// `y[n, i, j, c] = act(x[n, i, j, c] * scale[c] + shift[c])`: a batch norm
/// that stands before its convolution.
///
/// # Panics
/// When the maps differ in more than their borders, or the slices' lengths
/// are not their channels.
pub(crate) fn scale_shift<E: Element>(
    cores: &Cores,
    level: Level,
    (scale, shift): (&[f32], &[f32]),
    activation: Activation,
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let (from, map) = (*input.map(), *output.map());
    let border = from.border;
    assert_eq!(from, Map { border, ..map });
    assert!(scale.len() == map.channels && shift.len() == map.channels);
    let affine = output.affine();
    let to = output.shared();
    cores.for_each(map.n * map.height, |row, _| {
        let row = ScaleShift {
            scale,
            shift,
            activation,
            input,
            output: (to, map, affine),
            n: row / map.height,
            y: row % map.height,
        };
        dispatch(level, row);
    });
}

/// One row of pixels.
struct ScaleShift<'a, E> {
    scale: &'a [f32],
    shift: &'a [f32],
    activation: Activation,
    input: View<'a, E>,
    output: (Shared<E>, Map, Affine),
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
        let floor = match self.activation {
            Activation::None => f32::NEG_INFINITY,
            Activation::Relu => 0.0,
        };
        for x in 0..map.width {
            let start = self.input.map().at(self.n, self.y as isize, x as isize);
            let from = &self.input.data()[start..start + channels];
            // SAFETY: one pixel of the interior, which no other task writes.
            unsafe {
                let out = self.output.0.start();
                let out = out.add(map.at(self.n, self.y as isize, x as isize));
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
