//! Access to feature maps by row, for steps that process one row or pixel at a
//! time, and the zeroing of borders.

use super::element::Element;
use super::feature_map::{FeatureMap, View, ViewMut};
use crate::threads::ThreadPool;

impl<'a, E: Element> View<'a, E> {
    /// The interior of row `y` of image `n`: `[width, channels]`.
    pub(crate) fn row(&self, n: usize, y: usize) -> &'a [E] {
        let map = self.map();
        let start = map.offset(n, y as isize, 0);
        &self.data()[start..start + map.width * map.channels]
    }

    /// The same elements, with the border treated as part of the interior.
    pub(crate) fn with_border_inside(self) -> Self {
        let map = *self.map();
        let (height, width) = (map.height + 2 * map.border, map.width + 2 * map.border);
        Self::new(
            self.data(),
            FeatureMap {
                height,
                width,
                border: 0,
                ..map
            },
            self.affine(),
        )
    }
}

impl<E: Element> ViewMut<'_, E> {
    /// Calls `body(n, y, row)` for the interior of every row, in parallel.
    pub(crate) fn for_each_row(
        &mut self,
        threads: &ThreadPool,
        body: impl Fn(usize, usize, &mut [E]) + Sync,
    ) {
        let map = *self.map();
        let to = self.shared();
        threads.for_each(map.n * map.height, |i, _| {
            let (n, y) = (i / map.height, i % map.height);
            let (start, len) = (map.offset(n, y as isize, 0), map.width * map.channels);
            // SAFETY: inside the view. Each (n, y) belongs to one task, so the
            // slices are disjoint.
            let row = unsafe { std::slice::from_raw_parts_mut(to.get().add(start), len) };
            body(n, y, row);
        });
    }

    /// Zeroes the border, which another feature map may have overwritten while
    /// it used the same slot.
    pub(crate) fn clear_border(&mut self) {
        let (map, zero) = (*self.map(), E::from_f32(0.0, self.affine()));
        if map.border == 0 {
            return;
        }
        let (side, whole) = (map.border * map.channels, map.border * map.row_stride());
        for image in self.data_mut().chunks_exact_mut(map.image_stride()) {
            let (top, rest) = image.split_at_mut(whole);
            let (rows, bottom) = rest.split_at_mut(map.height * map.row_stride());
            top.fill(zero);
            bottom.fill(zero);
            for row in rows.chunks_exact_mut(map.row_stride()) {
                row[..side].fill(zero);
                row[map.row_stride() - side..].fill(zero);
            }
        }
    }
}
