//! The layout of NHWC feature maps with a zero border, and views of their
//! elements.

use super::element::{Affine, Element};

/// The layout of a batch of feature maps:
/// `[n, height + 2 * border, width + 2 * border, channels]`, row-major.
///
/// The border is zeroed before a feature map is written, and kernels write only
/// the interior. So a convolution whose padding is at most the border reads it
/// without bounds checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeatureMap {
    /// Images in the batch.
    pub(crate) n: usize,
    /// Rows of the interior.
    pub(crate) height: usize,
    /// Columns of the interior.
    pub(crate) width: usize,
    /// Channels of a pixel.
    pub(crate) channels: usize,
    /// Width of the zero border on each side, in pixels.
    pub(crate) border: usize,
}

impl FeatureMap {
    /// Elements of the whole batch, borders included.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.n * self.image_stride()
    }

    /// Elements from one row to the next.
    #[must_use]
    pub(crate) fn row_stride(&self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// Elements from one image to the next.
    #[must_use]
    pub(crate) fn image_stride(&self) -> usize {
        (self.height + 2 * self.border) * self.row_stride()
    }

    /// The offset of pixel (`y`, `x`) of image `n`, in elements, counted from
    /// the interior's top left corner. Negative `y` and `x` are in the border.
    pub(crate) fn offset(&self, n: usize, y: isize, x: isize) -> usize {
        let border = self.border as isize;
        debug_assert!(y >= -border && x >= -border);
        n * self.image_stride()
            + (y + border) as usize * self.row_stride()
            + (x + border) as usize * self.channels
    }
}

/// A batch of feature maps, read-only.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, E = f32> {
    data: &'a [E],
    map: FeatureMap,
    affine: Affine,
}

impl<'a, E: Element> View<'a, E> {
    /// # Panics
    /// If the length of `data` is not that of the layout.
    #[must_use]
    pub(crate) fn new(data: &'a [E], map: FeatureMap, affine: Affine) -> Self {
        assert_eq!(data.len(), map.len(), "elements of {map:?}");
        Self { data, map, affine }
    }

    /// Its layout.
    #[must_use]
    pub(crate) fn map(&self) -> &FeatureMap {
        &self.map
    }

    /// All elements, borders included.
    #[must_use]
    pub(crate) fn data(&self) -> &'a [E] {
        self.data
    }

    /// Its quantization parameters.
    #[must_use]
    pub(crate) fn affine(&self) -> Affine {
        self.affine
    }
}

/// A batch of feature maps, writable.
pub(crate) struct ViewMut<'a, E = f32> {
    data: &'a mut [E],
    map: FeatureMap,
    affine: Affine,
}

impl<'a, E: Element> ViewMut<'a, E> {
    /// # Panics
    /// If the length of `data` is not that of the layout.
    #[must_use]
    pub(crate) fn new(data: &'a mut [E], map: FeatureMap, affine: Affine) -> Self {
        assert_eq!(data.len(), map.len(), "elements of {map:?}");
        Self { data, map, affine }
    }

    /// Its layout.
    #[must_use]
    pub(crate) fn map(&self) -> &FeatureMap {
        &self.map
    }

    /// Its quantization parameters.
    #[must_use]
    pub(crate) fn affine(&self) -> Affine {
        self.affine
    }

    /// All elements, borders included.
    pub(crate) fn data_mut(&mut self) -> &mut [E] {
        self.data
    }

    /// A pointer for tasks that write disjoint parts concurrently.
    pub(crate) fn shared(&mut self) -> SendPtr<E> {
        SendPtr::new(self.data.as_mut_ptr())
    }
}

/// A pointer to a buffer that several tasks write concurrently. Each task
/// writes its own pixels and channels, so no two tasks of a parallel loop write
/// the same element. A task reads what another one wrote only after the
/// counters of `pool_epilogue` show that the write is complete.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr<E = f32>(*mut E);

// SAFETY: a plain address. Each use justifies why no other task of the loop
// accesses the same elements at that time, and the loop ends before the borrow
// of the buffer does.
unsafe impl<E> Send for SendPtr<E> {}
// SAFETY: as above.
unsafe impl<E> Sync for SendPtr<E> {}

impl<E> SendPtr<E> {
    pub(crate) fn new(start: *mut E) -> Self {
        Self(start)
    }

    /// # Safety
    /// The buffer must extend at least `count` elements further.
    pub(crate) unsafe fn add(self, count: usize) -> Self {
        // SAFETY: guaranteed by the caller.
        Self(unsafe { self.0.add(count) })
    }

    /// The address.
    pub(crate) fn get(self) -> *mut E {
        self.0
    }
}
