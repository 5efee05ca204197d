//! Steps that touch each float once.

use super::map::{Map, Shared, View, ViewMut};
use super::pack::Activation;
use super::simd::{Kernel, Level, Simd, dispatch};
use crate::cores::Cores;

/// `y[n, i, j, c] = act(x[n, i, j, c] * scale[c] + shift[c])`: a batch norm
/// that stands before its convolution.
///
/// # Panics
/// When the maps differ in more than their borders, or the slices' lengths
/// are not their channels.
pub fn scale_shift(
    cores: &Cores,
    level: Level,
    (scale, shift): (&[f32], &[f32]),
    activation: Activation,
    input: View,
    mut output: ViewMut,
) {
    let (from, map) = (*input.map(), *output.map());
    let border = from.border;
    assert_eq!(from, Map { border, ..map });
    assert!(scale.len() == map.channels && shift.len() == map.channels);
    let to = output.shared();
    cores.for_each(map.n * map.height, |row, _| {
        let row = ScaleShift {
            scale,
            shift,
            activation,
            input,
            output: (to, map),
            n: row / map.height,
            y: row % map.height,
        };
        dispatch(level, row);
    });
}

/// One row of pixels.
struct ScaleShift<'a> {
    scale: &'a [f32],
    shift: &'a [f32],
    activation: Activation,
    input: View<'a>,
    output: (Shared, Map),
    n: usize,
    y: usize,
}

impl Kernel for ScaleShift<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let map = self.output.1;
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
                    let y = S::load(from.as_ptr().add(c)).mul_add(scale, shift);
                    y.max(S::splat(floor)).store(out.add(c));
                }
                for c in whole..channels {
                    *out.add(c) = (from[c] * self.scale[c] + self.shift[c]).max(floor);
                }
            }
        }
    }
}
