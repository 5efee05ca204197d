//! Memory that begins on a cache line, so that no vector straddles two: floats,
//! or the words of smaller numbers.

use std::ops::{Deref, DerefMut};

use super::element::Element;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// A fixed number of floats, the first on a cache line's start.
#[derive(Default)]
pub(crate) struct Floats {
    lines: Vec<Line>,
    len: usize,
}

impl Floats {
    /// `len` zeros.
    #[must_use]
    pub(crate) fn zeros(len: usize) -> Self {
        let lines = vec![Line([0.0; 16]); len.div_ceil(16)];
        Self { lines, len }
    }

    /// The same memory as numbers of another type.
    pub(crate) fn numbers<E: Element>(&self) -> &[E] {
        // SAFETY: the lines' bytes are all set, every bit pattern is a number
        // of every element type, and a line's alignment is above theirs.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len * E::PER_WORD) }
    }

    /// As [`Floats::numbers`], to write.
    pub(crate) fn numbers_mut<E: Element>(&mut self) -> &mut [E] {
        let len = self.len * E::PER_WORD;
        // SAFETY: as above; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is 16 floats without padding, and the lines hold at
        // least `len`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
