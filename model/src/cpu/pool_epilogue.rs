//! A pooling step fused into the parallel loop of the convolution before it. The
//! task that completes the input of a pooled row computes that row, while its
//! input is still in that CPU's cache. This saves the barrier of a separate step.
//!
//! ```text
//! pending[row][unit] = pixels * panels read by the windows of the row
//! after a convolution task:   pending[row][unit] -= its share, for each row it affects
//! pending[row][unit] == 0:    pool the channels of that unit in that row
//! ```

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::element::Element;
use super::feature_map::{FeatureMap, ViewMut};
use super::pool::{Pool, Pooling};

/// A pooling of a convolution's output.
pub(crate) struct PoolEpilogue<'a, E> {
    pub(crate) pooling: Pooling,
    /// The pooled feature map.
    pub(crate) output: ViewMut<'a, E>,
    /// Memory for the counters, reused between forward passes.
    pub(crate) pending: &'a mut Vec<AtomicUsize>,
}

/// Counts the missing inputs of each pooled row and pools complete rows.
pub(crate) struct PoolTracker<'a, E> {
    pool: Pool<E>,
    /// Panels of the convolution's output channels.
    panels: usize,
    /// Panels of a unit, which are pooled together. In global pooling, a unit is one
    /// panel, because a task may compute all pixels of a few panels. In window
    /// pooling, a unit is all panels, because most tasks compute a few rows of all
    /// panels.
    unit_panels: usize,
    /// `[rows, units]`
    pending: &'a [AtomicUsize],
}

impl<'a, E: Element> PoolTracker<'a, E> {
    /// Initialises `pending` for `pool`, whose input is the output of a
    /// convolution with `panels` panels.
    pub(crate) fn new(pool: Pool<E>, panels: usize, pending: &'a mut Vec<AtomicUsize>) -> Self {
        let unit_panels = if pool.is_global() { 1 } else { panels };
        pending.clear();
        for row in 0..pool.rows() {
            let pixels = pool.input_rows(row).len() * pool.input().width;
            let units = panels / unit_panels;
            pending.extend((0..units).map(|_| AtomicUsize::new(pixels * unit_panels)));
        }
        Self {
            pool,
            panels,
            unit_panels,
            pending,
        }
    }

    /// Records that `pixels` of the batch are written in `channels`, which are
    /// those of panel `panel`.
    pub(crate) fn pixels_written(
        &self,
        pixels: Range<usize>,
        panel: usize,
        channels: &Range<usize>,
    ) {
        let FeatureMap { height, width, .. } = *self.pool.input();
        let mut at = pixels.start;
        while at < pixels.end {
            let row = at / width;
            // the rest of a row, or whole rows of one image
            let end = match at % width {
                0 if pixels.end - at >= width => {
                    let image = (row / height + 1) * height;
                    image.min(pixels.end / width) * width
                }
                _ => pixels.end.min((row + 1) * width),
            };
            let rows = row..end.div_ceil(width);
            self.rows_written(rows.clone(), (end - at) / rows.len(), panel, channels);
            at = end;
        }
    }

    /// Records that `columns` pixels are written in each of `rows`. The rows are
    /// counted through the batch and belong to one image.
    pub(crate) fn rows_written(
        &self,
        rows: Range<usize>,
        columns: usize,
        panel: usize,
        channels: &Range<usize>,
    ) {
        let height = self.pool.input().height;
        let n = rows.start / height;
        let rows = rows.start - n * height..rows.end - n * height;
        for row in self.pool.rows_reading(n, &rows) {
            let reads = self.pool.input_rows(row);
            let common = reads.end.min(rows.end) - reads.start.max(rows.start);
            let unit = panel / self.unit_panels;
            let pending = &self.pending[row * self.panels / self.unit_panels + unit];
            // AcqRel: the task that pools must read what the other tasks wrote
            if pending.fetch_sub(common * columns, Ordering::AcqRel) == common * columns {
                let channels = match self.unit_panels {
                    1 => channels.clone(),
                    _ => 0..self.pool.input().channels,
                };
                // SAFETY: everything that the row's windows read is written, and
                // only one task decrements the counter to zero.
                unsafe { self.pool.pool_row(row, channels) };
            }
        }
    }
}
