//! A feature map's place in the arena: NHWC numbers with a border of zeros.

use super::element::{Affine, Element};

/// The geometry of a batch of feature maps: `[n, height + 2 * border,
/// width + 2 * border, channels]`, row-major. The border is zeroed before a map
/// is written; kernels write the interior only, so a convolution whose padding
/// is not above the border reads its neighbours without a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    /// Images.
    pub(crate) n: usize,
    /// Rows of the interior.
    pub(crate) height: usize,
    /// Columns of the interior.
    pub(crate) width: usize,
    /// Channels of a pixel.
    pub(crate) channels: usize,
    /// Pixels of zeros on each side.
    pub(crate) border: usize,
}

impl Map {
    /// Numbers of the whole batch, borders included.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.n * self.image()
    }

    /// Numbers from a row to the next.
    #[must_use]
    pub(crate) fn row(&self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// Numbers from an image to the next.
    #[must_use]
    pub(crate) fn image(&self) -> usize {
        (self.height + 2 * self.border) * self.row()
    }

    /// Where the interior pixel (`y`, `x`) of image `n` starts. `y` and `x`
    /// may reach back into the border.
    pub(crate) fn at(&self, n: usize, y: isize, x: isize) -> usize {
        let border = self.border as isize;
        debug_assert!(y >= -border && x >= -border);
        n * self.image()
            + (y + border) as usize * self.row()
            + (x + border) as usize * self.channels
    }
}

/// A map and its numbers, to read.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, E = f32> {
    data: &'a [E],
    map: Map,
    affine: Affine,
}

impl<'a, E: Element> View<'a, E> {
    /// # Panics
    /// When `data` has not exactly the map's length.
    #[must_use]
    pub(crate) fn new(data: &'a [E], map: Map, affine: Affine) -> Self {
        assert_eq!(data.len(), map.len(), "numbers of {map:?}");
        Self { data, map, affine }
    }

    /// Its geometry.
    #[must_use]
    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// Its numbers, borders included.
    #[must_use]
    pub(crate) fn data(&self) -> &'a [E] {
        self.data
    }

    /// What its bytes stand for.
    #[must_use]
    pub(crate) fn affine(&self) -> Affine {
        self.affine
    }
}

/// A map and its numbers, to write.
pub(crate) struct ViewMut<'a, E = f32> {
    data: &'a mut [E],
    map: Map,
    affine: Affine,
}

impl<'a, E: Element> ViewMut<'a, E> {
    /// # Panics
    /// When `data` has not exactly the map's length.
    #[must_use]
    pub(crate) fn new(data: &'a mut [E], map: Map, affine: Affine) -> Self {
        assert_eq!(data.len(), map.len(), "numbers of {map:?}");
        Self { data, map, affine }
    }

    /// Its geometry.
    #[must_use]
    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// What its bytes stand for.
    #[must_use]
    pub(crate) fn affine(&self) -> Affine {
        self.affine
    }

    /// Its numbers, borders included.
    pub(crate) fn data_mut(&mut self) -> &mut [E] {
        self.data
    }

    /// For tasks that write disjoint parts at the same time.
    pub(crate) fn shared(&mut self) -> Shared<E> {
        Shared::new(self.data.as_mut_ptr())
    }
}

/// The start of a buffer that tasks write at the same time, each its own
/// pixels and channels: no number is written by two tasks of one loop, and none
/// is read by another before `follow`'s counters say that it is written.
#[derive(Clone, Copy)]
pub(crate) struct Shared<E = f32>(*mut E);

// SAFETY: a plain address; whoever uses it states why no other task of the
// loop touches the same numbers at that time, and the loop ends before the
// borrow of the buffer does.
unsafe impl<E> Send for Shared<E> {}
// SAFETY: as above.
unsafe impl<E> Sync for Shared<E> {}

impl<E> Shared<E> {
    pub(crate) fn new(start: *mut E) -> Self {
        Self(start)
    }

    /// # Safety
    /// The buffer must have `count` more.
    pub(crate) unsafe fn add(self, count: usize) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { self.0.add(count) })
    }

    /// The address of the buffer's first number.
    pub(crate) fn start(self) -> *mut E {
        self.0
    }
}
