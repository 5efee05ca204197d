//! A feature map's place in the arena: NHWC floats with a border of zeros.

/// The geometry of a batch of feature maps: `[n, height + 2 * border,
/// width + 2 * border, channels]`, row-major. The border is zeroed once by the
/// arena; kernels write the interior only, so a convolution whose padding is
/// not above the border reads its neighbours without a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Images.
    pub n: usize,
    /// Rows of the interior.
    pub height: usize,
    /// Columns of the interior.
    pub width: usize,
    /// Channels of a pixel.
    pub channels: usize,
    /// Pixels of zeros on each side.
    pub border: usize,
}

impl Map {
    /// Floats of the whole batch, borders included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.n * self.image()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Floats from a row to the next.
    #[must_use]
    pub fn row(&self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// Floats from an image to the next.
    #[must_use]
    pub fn image(&self) -> usize {
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

/// A map and its floats, to read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    map: Map,
}

impl<'a> View<'a> {
    /// # Panics
    /// When `data` has not exactly the map's length.
    #[must_use]
    pub fn new(data: &'a [f32], map: Map) -> Self {
        assert_eq!(data.len(), map.len(), "floats of {map:?}");
        Self { data, map }
    }

    /// Its geometry.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Its floats, borders included.
    #[must_use]
    pub fn data(&self) -> &'a [f32] {
        self.data
    }
}

/// A map and its floats, to write.
pub struct ViewMut<'a> {
    data: &'a mut [f32],
    map: Map,
}

impl<'a> ViewMut<'a> {
    /// # Panics
    /// When `data` has not exactly the map's length.
    #[must_use]
    pub fn new(data: &'a mut [f32], map: Map) -> Self {
        assert_eq!(data.len(), map.len(), "floats of {map:?}");
        Self { data, map }
    }

    /// Its geometry.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Its floats, borders included.
    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        self.data
    }

    /// For tasks that write disjoint parts at the same time.
    pub(crate) fn shared(&mut self) -> Shared {
        Shared::new(self.data.as_mut_ptr())
    }
}

/// The start of a buffer that tasks write at the same time, each its own
/// pixels and channels: no float belongs to two tasks of one loop.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: a plain address; whoever writes through it states why no other task
// of the loop touches the same floats, and the loop ends before the borrow of
// the buffer does.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(start: *mut f32) -> Self {
        Self(start)
    }

    /// # Safety
    /// The buffer must have `floats` more.
    pub(crate) unsafe fn add(self, floats: usize) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { self.0.add(floats) })
    }

    /// The address of the buffer's first float.
    pub(crate) fn start(self) -> *mut f32 {
        self.0
    }
}
