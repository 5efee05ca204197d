//! Pooling over windows of a map, and over the whole of it.

use std::ops::Range;

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

impl Window {
    /// The pixels of window `i` that lie in `0..side`.
    fn clip(&self, i: usize, side: usize) -> Range<usize> {
        let start = i * self.stride;
        start.saturating_sub(self.padding)..side.min(start + self.size - self.padding)
    }
}

/// Pools the whole of `input` into `output`, each row and image by itself.
///
/// # Panics
/// When images or channels differ, or a window lies outside the map.
pub(crate) fn pool<E: Element>(
    cores: &Cores,
    level: Level,
    pooling: Pooling,
    input: View<E>,
    output: ViewMut<E>,
) {
    let input = Source {
        start: Shared::new(input.data().as_ptr().cast_mut()),
        map: *input.map(),
        affine: input.affine(),
    };
    let pool = Pool::new(level, pooling, input, output);
    // SAFETY: the input is borrowed, and the rows are apart.
    cores.for_each(pool.rows(), |row, _| unsafe {
        pool.row(row, 0..usize::MAX)
    });
}

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// `y[n, i, j, c]` = the largest of `x` over the window of (`i`, `j`). The
    /// output's size decides how many windows there are (floor or ceiling).
    Largest(Window),
    /// The mean of the window's pixels inside the map.
    Mean(Window),
    /// `y[n, 0, 0, c]` = the mean of `x[n, .., .., c]`.
    MeanOfAll,
}

/// A map to read that may still be written elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Source<E> {
    pub(crate) start: Shared<E>,
    pub(crate) map: Map,
    pub(crate) affine: Affine,
}

/// A pool over a map, row by row.
pub(crate) struct Pool<E> {
    level: Level,
    window: Window,
    average: bool,
    input: Source<E>,
    output: Source<E>,
}

impl<E: Element> Pool<E> {
    /// Of a map that is whole when [`Pool::row`] is called, not before.
    ///
    /// # Panics
    /// As [`pool`].
    pub(crate) fn new(
        level: Level,
        pooling: Pooling,
        input: Source<E>,
        mut output: ViewMut<E>,
    ) -> Self {
        let (from, map) = (input.map, *output.map());
        let (window, average) = match pooling {
            Pooling::Largest(window) => (window, false),
            Pooling::Mean(window) => (window, true),
            Pooling::MeanOfAll => {
                assert!(map.height == 1 && map.width == 1);
                let window = Window {
                    size: from.height.max(from.width),
                    stride: 1,
                    padding: 0,
                };
                (window, true)
            }
        };
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
        Self {
            level,
            window,
            average,
            input,
            output: Source {
                start: output.shared(),
                map,
                affine: output.affine(),
            },
        }
    }

    /// The map it reads.
    pub(crate) fn from(&self) -> &Map {
        &self.input.map
    }

    /// Whether each output is made of a whole map.
    pub(crate) fn takes_all(&self) -> bool {
        let Map { height, width, .. } = self.input.map;
        self.average && self.window.size >= height.max(width)
    }

    /// Rows of the output, of all images.
    pub(crate) fn rows(&self) -> usize {
        self.output.map.n * self.output.map.height
    }

    /// Rows of an image that the windows of a row read.
    pub(crate) fn reads(&self, row: usize) -> Range<usize> {
        let y = row % self.output.map.height;
        self.window.clip(y, self.input.map.height)
    }

    /// The rows whose windows read any of `rows` of image `n`.
    pub(crate) fn readers(&self, n: usize, rows: &Range<usize>) -> Range<usize> {
        let Window {
            size,
            stride,
            padding,
        } = self.window;
        let height = self.output.map.height;
        let first = (rows.start + padding + 1).saturating_sub(size);
        let end = (rows.end + padding).div_ceil(stride).min(height);
        n * height + first.div_ceil(stride).min(end)..n * height + end
    }

    /// Makes some channels of one row.
    ///
    /// # Safety
    /// The maps are there; nobody writes what the row's windows read, nor these
    /// channels of the row.
    pub(crate) unsafe fn row(&self, row: usize, channels: Range<usize>) {
        let map = &self.output.map;
        let row = Row {
            pool: self,
            n: row / map.height,
            y: row % map.height,
            channels: channels.start..channels.end.min(map.channels),
        };
        dispatch(self.level, row);
    }
}

/// Some channels of one row of the output.
struct Row<'a, E> {
    pool: &'a Pool<E>,
    n: usize,
    y: usize,
    channels: Range<usize>,
}

impl<E: Element> Kernel for Row<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Pool {
            window,
            average,
            input,
            output,
            ..
        } = self.pool;
        let (from, map) = (input.map, output.map);
        let rows = window.clip(self.y, from.height);
        let Range { start, end } = self.channels;
        // the largest of numbers that mean the same is found without their meaning
        let as_words = !average && input.affine == output.affine;
        let block = if as_words { E::PER_WORD } else { 1 } * S::LANES;
        let whole = start + (end - start) / block * block;
        for x in 0..map.width {
            let columns = window.clip(x, from.width);
            let count = rows.len() * columns.len();
            let corner = from.at(self.n, rows.start as isize, columns.start as isize);
            let area = Area {
                scale: average.then(|| 1.0 / count as f32),
                affine: input.affine,
                rows: rows.len(),
                columns: columns.len(),
                row: from.row(),
                pixel: from.channels,
            };
            // SAFETY: the window is clipped to the interior; the caller of
            // `Pool::row` has these channels of the output's pixel to itself.
            unsafe {
                let corner = input.start.start().cast_const().add(corner);
                let out = output.start.start();
                let out = out.add(map.at(self.n, self.y as isize, x as isize));
                for c in (start..whole).step_by(block) {
                    if as_words {
                        let y: S = area.largest::<S, E>(corner.add(c));
                        y.store(out.add(c).cast());
                    } else {
                        let y = area.reduce::<S, E>(corner.add(c));
                        E::store(y, out.add(c), output.affine);
                    }
                }
                for c in whole..end {
                    let y = area.reduce_one(corner.add(c));
                    *out.add(c) = E::from_f32(y, output.affine);
                }
            }
        }
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
