//! Rows of a map as slices: what a step needs that looks at one row, or one
//! pixel, at a time.

use super::element::Element;
use super::map::{Map, View, ViewMut};
use super::pack::Activation;
use crate::cores::Cores;

impl<'a, E: Element> View<'a, E> {
    /// The interior of row `y` of image `n`: `[width, channels]`.
    pub(crate) fn row(&self, n: usize, y: usize) -> &'a [E] {
        let map = self.map();
        let start = map.at(n, y as isize, 0);
        &self.data()[start..start + map.width * map.channels]
    }

    /// The same numbers with the border counted as part of the map.
    pub(crate) fn with_border_inside(self) -> Self {
        let map = *self.map();
        let (height, width) = (map.height + 2 * map.border, map.width + 2 * map.border);
        Self::new(
            self.data(),
            Map {
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
    /// Calls `body(n, y, row)` for the interior of every row, on as many
    /// cores as are free.
    pub(crate) fn for_each_row(
        &mut self,
        cores: &Cores,
        body: impl Fn(usize, usize, &mut [E]) + Sync,
    ) {
        let map = *self.map();
        let to = self.shared();
        cores.for_each(map.n * map.height, |i, _| {
            let (n, y) = (i / map.height, i % map.height);
            let (start, len) = (map.at(n, y as isize, 0), map.width * map.channels);
            // SAFETY: inside the view's numbers, and every (n, y) is one task's
            // alone, so no two slices overlap.
            let row = unsafe { std::slice::from_raw_parts_mut(to.start().add(start), len) };
            body(n, y, row);
        });
    }

    /// Zeroes the border, which a slot's earlier value may have written over.
    pub(crate) fn clear_border(&mut self) {
        let (map, zero) = (*self.map(), E::from_f32(0.0, self.affine()));
        if map.border == 0 {
            return;
        }
        let (side, whole) = (map.border * map.channels, map.border * map.row());
        for image in self.data_mut().chunks_exact_mut(map.image()) {
            let (top, rest) = image.split_at_mut(whole);
            let (rows, bottom) = rest.split_at_mut(map.height * map.row());
            top.fill(zero);
            bottom.fill(zero);
            for row in rows.chunks_exact_mut(map.row()) {
                row[..side].fill(zero);
                row[map.row() - side..].fill(zero);
            }
        }
    }
}

impl Activation {
    /// Applied to one value.
    pub(crate) fn of(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Relu => x.max(0.0),
        }
    }
}
