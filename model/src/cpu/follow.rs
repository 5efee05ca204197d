//! A pool in the loop of the convolution whose map it reads: whoever completes
//! what a pooled row is made of makes that row, from its own cache, and the
//! loop that a step of its own would be is spared.
//!
//! ```text
//! left[row][unit] = pixels * panels that the windows of the row read
//! task of the convolution done: left[row][unit] -= its part, for each row it touches
//! left[row][unit] == 0:         pool the row's channels of that unit
//! ```

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::element::Element;
use super::map::{Map, ViewMut};
use super::pool::{Pool, Pooling};

/// What is to be pooled of a convolution's output, and into what.
pub(crate) struct Follower<'a, E> {
    /// How.
    pub(crate) pooling: Pooling,
    /// The pooled map.
    pub(crate) output: ViewMut<'a, E>,
    /// Counters, kept from pass to pass.
    pub(crate) left: &'a mut Vec<AtomicUsize>,
}

/// A follower at work.
pub(crate) struct Follow<'a, E> {
    pool: Pool<E>,
    /// Panels of the convolution's output channels.
    panels: usize,
    /// Panels that are pooled together. A mean goes over a whole map, of which
    /// a task may have all pixels of some panels; a maximum goes over a few
    /// rows, of which it has all panels or will soon.
    together: usize,
    /// `[rows, units]`
    left: &'a [AtomicUsize],
}

impl<'a, E: Element> Follow<'a, E> {
    /// Counts down in `left` what `pool` waits for of a convolution with so
    /// many panels.
    pub(crate) fn new(pool: Pool<E>, panels: usize, left: &'a mut Vec<AtomicUsize>) -> Self {
        let together = if pool.takes_all() { 1 } else { panels };
        left.clear();
        for row in 0..pool.rows() {
            let pixels = pool.reads(row).len() * pool.from().width;
            left.extend((0..panels / together).map(|_| AtomicUsize::new(pixels * together)));
        }
        Self {
            pool,
            panels,
            together,
            left,
        }
    }

    /// Some pixels of the batch are written, of panel `panel` and its channels
    /// `channels`.
    pub(crate) fn pixels(&self, pixels: Range<usize>, panel: usize, channels: &Range<usize>) {
        let Map { height, width, .. } = *self.pool.from();
        let mut at = pixels.start;
        while at < pixels.end {
            let row = at / width;
            // the rest of a row, or whole rows of an image
            let end = match at % width {
                0 if pixels.end - at >= width => {
                    let image = (row / height + 1) * height;
                    image.min(pixels.end / width) * width
                }
                _ => pixels.end.min((row + 1) * width),
            };
            let rows = row..end.div_ceil(width);
            self.area(rows.clone(), (end - at) / rows.len(), panel, channels);
            at = end;
        }
    }

    /// `columns` pixels are written in each of some rows of an image, counted
    /// through the batch.
    pub(crate) fn area(
        &self,
        rows: Range<usize>,
        columns: usize,
        panel: usize,
        channels: &Range<usize>,
    ) {
        let height = self.pool.from().height;
        let n = rows.start / height;
        let rows = rows.start - n * height..rows.end - n * height;
        for row in self.pool.readers(n, &rows) {
            let reads = self.pool.reads(row);
            let common = reads.end.min(rows.end) - reads.start.max(rows.start);
            let unit = panel / self.together;
            let left = &self.left[row * self.panels / self.together + unit];
            // what other cores wrote must be seen by the one that pools it
            if left.fetch_sub(common * columns, Ordering::AcqRel) == common * columns {
                let channels = match self.together {
                    1 => channels.clone(),
                    _ => 0..self.pool.from().channels,
                };
                // SAFETY: all that the row's windows read is written, and only
                // one task takes the last of it.
                unsafe { self.pool.row(row, channels) };
            }
        }
    }
}
