//! Max, average and global average pooling.

use std::ops::Range;

use super::element::{Affine, Element};
use super::feature_map::{FeatureMap, SendPtr, View, ViewMut};
use super::isa::{Kernel, SupportedIsa, dispatch};
use super::simd::Simd;
use crate::threads::ThreadPool;

/// A square pooling window. Pixels outside the feature map are ignored, as if
/// the padding were not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolWindow {
    /// Height and width, in pixels.
    pub(crate) size: usize,
    /// Stride, in pixels.
    pub(crate) stride: usize,
    /// Padding on each side, in pixels.
    pub(crate) padding: usize,
}

impl PoolWindow {
    /// The pixels of window `i` that are inside `0..side`.
    fn clip(&self, i: usize, side: usize) -> Range<usize> {
        let start = i * self.stride;
        start.saturating_sub(self.padding)..side.min(start + self.size - self.padding)
    }
}

/// Pools `input` into `output`, in parallel over output rows.
///
/// # Panics
/// If the feature maps differ in images or channels, or a window is entirely
/// outside the input.
pub(crate) fn pool<E: Element>(
    threads: &ThreadPool,
    isa: SupportedIsa,
    pooling: Pooling,
    input: View<E>,
    output: ViewMut<E>,
) {
    let input = RawMap {
        start: SendPtr::new(input.data().as_ptr().cast_mut()),
        map: *input.map(),
        affine: input.affine(),
    };
    let pool = Pool::new(isa, pooling, input, output);
    // SAFETY: the input is borrowed, and each task writes its own row.
    threads.for_each(pool.rows(), |row, _| unsafe {
        pool.pool_row(row, 0..usize::MAX)
    });
}

/// The kind of pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// `y[n, i, j, c]` is the maximum of `x[.., .., c]` over the window of
    /// (`i`, `j`). The output's size determines the number of windows (floor or
    /// ceiling mode).
    Max(PoolWindow),
    /// The mean over the window's pixels inside the feature map.
    Average(PoolWindow),
    /// `y[n, 0, 0, c]` is the mean of `x[n, .., .., c]`.
    GlobalAverage,
}

/// A feature map as a raw pointer, because other tasks may still write parts of it.
#[derive(Clone, Copy)]
pub(crate) struct RawMap<E> {
    pub(crate) start: SendPtr<E>,
    pub(crate) map: FeatureMap,
    pub(crate) affine: Affine,
}

/// A pooling step, computed row by row.
pub(crate) struct Pool<E> {
    isa: SupportedIsa,
    window: PoolWindow,
    average: bool,
    input: RawMap<E>,
    output: RawMap<E>,
}

impl<E: Element> Pool<E> {
    /// Prepares to pool `input`. [`Pool::pool_row`] reads it; it need not be
    /// complete before that.
    ///
    /// # Panics
    /// As for [`pool`].
    pub(crate) fn new(
        isa: SupportedIsa,
        pooling: Pooling,
        input: RawMap<E>,
        mut output: ViewMut<E>,
    ) -> Self {
        let (from, map) = (input.map, *output.map());
        let (window, average) = match pooling {
            Pooling::Max(window) => (window, false),
            Pooling::Average(window) => (window, true),
            Pooling::GlobalAverage => {
                assert!(map.height == 1 && map.width == 1);
                let window = PoolWindow {
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
            isa,
            window,
            average,
            input,
            output: RawMap {
                start: output.shared(),
                map,
                affine: output.affine(),
            },
        }
    }

    /// The layout of the input.
    pub(crate) fn input(&self) -> &FeatureMap {
        &self.input.map
    }

    /// Whether each output is the mean of a whole feature map.
    pub(crate) fn is_global(&self) -> bool {
        let FeatureMap { height, width, .. } = self.input.map;
        self.average && self.window.size >= height.max(width)
    }

    /// Output rows of the whole batch.
    pub(crate) fn rows(&self) -> usize {
        self.output.map.n * self.output.map.height
    }

    /// The input rows of an image that an output row reads.
    pub(crate) fn input_rows(&self, row: usize) -> Range<usize> {
        let y = row % self.output.map.height;
        self.window.clip(y, self.input.map.height)
    }

    /// The output rows whose windows read any of the input rows `rows` of image
    /// `n`.
    pub(crate) fn rows_reading(&self, n: usize, rows: &Range<usize>) -> Range<usize> {
        let PoolWindow {
            size,
            stride,
            padding,
        } = self.window;
        let height = self.output.map.height;
        let first = (rows.start + padding + 1).saturating_sub(size);
        let end = (rows.end + padding).div_ceil(stride).min(height);
        n * height + first.div_ceil(stride).min(end)..n * height + end
    }

    /// Computes some channels of one output row.
    ///
    /// # Safety
    /// Both feature maps are still allocated. No other task writes the input of
    /// the row's windows or these channels of the row.
    pub(crate) unsafe fn pool_row(&self, row: usize, channels: Range<usize>) {
        let map = &self.output.map;
        let row = PooledRow {
            pool: self,
            n: row / map.height,
            y: row % map.height,
            channels: channels.start..channels.end.min(map.channels),
        };
        dispatch(self.isa, row);
    }
}

/// Some channels of one output row.
struct PooledRow<'a, E> {
    pool: &'a Pool<E>,
    n: usize,
    y: usize,
    channels: Range<usize>,
}

impl<E: Element> Kernel for PooledRow<'_, E> {
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
        // with equal quantization parameters the maximum needs no conversion
        let raw_max = !average && input.affine == output.affine;
        let block = if raw_max { E::PER_WORD } else { 1 } * S::LANES;
        let whole = start + (end - start) / block * block;
        for x in 0..map.width {
            let columns = window.clip(x, from.width);
            let count = rows.len() * columns.len();
            let corner = from.offset(self.n, rows.start as isize, columns.start as isize);
            let reduction = Reduction {
                scale: average.then(|| 1.0 / count as f32),
                affine: input.affine,
                rows: rows.len(),
                columns: columns.len(),
                row_stride: from.row_stride(),
                pixel_stride: from.channels,
            };
            // SAFETY: the window is clipped to the interior; the caller of
            // `Pool::pool_row` guarantees that no other task writes these
            // channels of the row.
            unsafe {
                let corner = input.start.get().cast_const().add(corner);
                let out = output.start.get();
                let out = out.add(map.offset(self.n, self.y as isize, x as isize));
                for c in (start..whole).step_by(block) {
                    if raw_max {
                        let y: S = reduction.max::<S, E>(corner.add(c));
                        y.store(out.add(c).cast());
                    } else {
                        let y = reduction.reduce::<S, E>(corner.add(c));
                        E::store(y, out.add(c), output.affine);
                    }
                }
                for c in whole..end {
                    let y = reduction.reduce_one(corner.add(c));
                    *out.add(c) = E::from_f32(y, output.affine);
                }
            }
        }
    }
}

/// A reduction over a window of pixels: the mean if there is a `scale`, else
/// the maximum.
struct Reduction {
    scale: Option<f32>,
    affine: Affine,
    rows: usize,
    columns: usize,
    row_stride: usize,
    pixel_stride: usize,
}

impl Reduction {
    /// Reduces one vector of channels.
    ///
    /// # Safety
    /// A vector of elements at every pixel of the window at `corner` must be
    /// readable.
    #[inline(always)]
    unsafe fn reduce<S: Simd, E: Element>(&self, corner: *const E) -> S {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let start = if self.scale.is_some() {
                0.0
            } else {
                f32::NEG_INFINITY
            };
            let mut result = S::splat(start);
            for y in 0..self.rows {
                for x in 0..self.columns {
                    let at = corner.add(y * self.row_stride + x * self.pixel_stride);
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

    /// The elementwise maximum of the vectors of words at `corner`, without
    /// conversion.
    ///
    /// # Safety
    /// A vector of words at every pixel of the window at `corner` must be
    /// readable.
    #[inline(always)]
    unsafe fn max<S: Simd, E: Element>(&self, corner: *const E) -> S {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut result = S::load(corner.cast());
            for y in 0..self.rows {
                for x in 0..self.columns {
                    let at = corner.add(y * self.row_stride + x * self.pixel_stride);
                    result = E::max(S::load(at.cast()), result);
                }
            }
            result
        }
    }

    /// The reduction of one channel.
    ///
    /// # Safety
    /// The channel must be readable at every pixel of the window at `corner`.
    unsafe fn reduce_one<E: Element>(&self, corner: *const E) -> f32 {
        let pixels = (0..self.rows).flat_map(|y| (0..self.columns).map(move |x| (y, x)));
        // SAFETY: guaranteed by the caller.
        let element = |(y, x)| unsafe { *corner.add(y * self.row_stride + x * self.pixel_stride) };
        let values = pixels.map(|at| element(at).to_f32(self.affine));
        match self.scale {
            Some(scale) => values.sum::<f32>() * scale,
            None => values.fold(f32::NEG_INFINITY, f32::max),
        }
    }
}
