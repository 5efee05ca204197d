//! Pooling over windows of a map, and over the whole of it.

use super::element::{Affine, Element};
use super::level::{Kernel, Level, dispatch};
use super::map::{Map, Shared, View, ViewMut};
use super::simd::Simd;
use crate::cores::Cores;

/// A square pooling window. Parts of it outside the map do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Rows and columns.
    pub(crate) size: usize,
    /// Pixels from a window to the next.
    pub(crate) stride: usize,
    /// Pixels that the first window reaches out of the map.
    pub(crate) padding: usize,
}

/// `y[n, i, j, c]` = the largest of `x` over the window of (`i`, `j`). The
/// output's size decides how many windows there are (floor or ceiling).
///
/// # Panics
/// When images or channels differ, or a window lies outside the map.
pub(crate) fn max_pool<E: Element>(
    cores: &Cores,
    level: Level,
    window: Window,
    input: View<E>,
    output: ViewMut<E>,
) {
    pool(cores, level, window, false, input, output);
}

/// As [`max_pool`], with the mean of the pixels inside the map instead of the
/// largest.
///
/// # Panics
/// As there.
pub(crate) fn average_pool<E: Element>(
    cores: &Cores,
    level: Level,
    window: Window,
    input: View<E>,
    output: ViewMut<E>,
) {
    pool(cores, level, window, true, input, output);
}

/// `y[n, 0, 0, c]` = the mean of `x[n, .., .., c]`.
///
/// # Panics
/// When `output` is not 1x1 with the input's images and channels.
pub(crate) fn global_average_pool<E: Element>(
    cores: &Cores,
    level: Level,
    input: View<E>,
    output: ViewMut<E>,
) {
    let from = input.map();
    assert!(output.map().height == 1 && output.map().width == 1);
    let window = Window {
        size: from.height.max(from.width),
        stride: 1,
        padding: 0,
    };
    pool(cores, level, window, true, input, output);
}

fn pool<E: Element>(
    cores: &Cores,
    level: Level,
    window: Window,
    average: bool,
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let (from, map) = (*input.map(), *output.map());
    let inside = |outputs: usize, side: usize| {
        window.padding < window.size
            && (outputs == 0 || (outputs - 1) * window.stride < side + window.padding)
    };
    assert!(
        from.n == map.n
            && from.channels == map.channels
            && inside(map.height, from.height)
            && inside(map.width, from.width),
        "{window:?} from {from:?} to {map:?}"
    );
    let affine = output.affine();
    let to = output.shared();
    cores.for_each(map.n * map.height, |row, _| {
        let row = Row {
            window,
            average,
            input,
            output: (to, map, affine),
            n: row / map.height,
            y: row % map.height,
        };
        dispatch(level, row);
    });
}

/// One row of the output.
struct Row<'a, E> {
    window: Window,
    average: bool,
    input: View<'a, E>,
    output: (Shared<E>, Map, Affine),
    n: usize,
    y: usize,
}

impl<E: Element> Kernel for Row<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (from, map) = (*self.input.map(), self.output.1);
        let rows = self.clip(self.y, from.height);
        let channels = map.channels;
        // the largest of numbers that mean the same is found without their meaning
        let as_words = !self.average && self.input.affine() == self.output.2;
        let block = if as_words { E::PER_WORD } else { 1 } * S::LANES;
        let whole = channels / block * block;
        for x in 0..map.width {
            let columns = self.clip(x, from.width);
            let count = rows.len() * columns.len();
            let start = from.at(self.n, rows.start as isize, columns.start as isize);
            let area = Area {
                scale: self.average.then(|| 1.0 / count as f32),
                affine: self.input.affine(),
                rows: rows.len(),
                columns: columns.len(),
                row: from.row(),
                pixel: channels,
            };
            let corner = &self.input.data()[start..];
            // SAFETY: the window is clipped to the interior; the output's
            // pixel belongs to this row's task alone.
            unsafe {
                let corner = corner.as_ptr();
                let out = self.output.0.start();
                let out = out.add(map.at(self.n, self.y as isize, x as isize));
                for c in (0..whole).step_by(block) {
                    if as_words {
                        let y: S = area.largest::<S, E>(corner.add(c));
                        y.store(out.add(c).cast());
                    } else {
                        let y = area.reduce::<S, E>(corner.add(c));
                        E::store(y, out.add(c), self.output.2);
                    }
                }
                for c in whole..channels {
                    let y = area.reduce_one(corner.add(c));
                    *out.add(c) = E::from_f32(y, self.output.2);
                }
            }
        }
    }
}

impl<E> Row<'_, E> {
    /// The pixels of window `i` that lie in `0..side`.
    fn clip(&self, i: usize, side: usize) -> std::ops::Range<usize> {
        let start = i * self.window.stride;
        start.saturating_sub(self.window.padding)
            ..side.min(start + self.window.size - self.window.padding)
    }
}

/// Some rows and columns of pixels; `scale` for a mean, none for a maximum.
struct Area {
    scale: Option<f32>,
    affine: Affine,
    rows: usize,
    columns: usize,
    row: usize,
    pixel: usize,
}

impl Area {
    /// # Safety
    /// A vector at `corner` and at every pixel of the area must be readable.
    #[inline(always)]
    unsafe fn reduce<S: Simd, E: Element>(&self, corner: *const E) -> S {
        // SAFETY: the caller's.
        unsafe {
            let start = if self.scale.is_some() {
                0.0
            } else {
                f32::NEG_INFINITY
            };
            let mut result = S::splat(start);
            for y in 0..self.rows {
                for x in 0..self.columns {
                    let at = corner.add(y * self.row + x * self.pixel);
                    let value: S = E::load(at, self.affine);
                    result = if self.scale.is_some() {
                        result.add(value)
                    } else {
                        value.max(result)
                    };
                }
            }
            match self.scale {
                Some(scale) => result.mul(S::splat(scale)),
                None => result,
            }
        }
    }

    /// The largest of each number of the words at `corner`.
    ///
    /// # Safety
    /// As above, of a vector of words.
    #[inline(always)]
    unsafe fn largest<S: Simd, E: Element>(&self, corner: *const E) -> S {
        // SAFETY: the caller's.
        unsafe {
            let mut result = S::load(corner.cast());
            for y in 0..self.rows {
                for x in 0..self.columns {
                    let at = corner.add(y * self.row + x * self.pixel);
                    result = E::largest(S::load(at.cast()), result);
                }
            }
            result
        }
    }

    /// The same for one channel.
    unsafe fn reduce_one<E: Element>(&self, corner: *const E) -> f32 {
        let pixels = (0..self.rows).flat_map(|y| (0..self.columns).map(move |x| (y, x)));
        // SAFETY: the caller's.
        let number = |(y, x)| unsafe { *corner.add(y * self.row + x * self.pixel) };
        let values = pixels.map(|at| number(at).to_f32(self.affine));
        match self.scale {
            Some(scale) => values.sum::<f32>() * scale,
            None => values.fold(f32::NEG_INFINITY, f32::max),
        }
    }
}
