//! Memory that begins on a cache line, so that no vector straddles two: floats,
//! or the words of smaller numbers. What a forward pass walks through lies in
//! slabs of huge pages, for it is more than the tables of small ones hold.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::{MmapMut, MmapRaw};

use super::element::Element;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Floats of a line.
const LINE: usize = 16;

/// A fixed number of floats, the first on a cache line's start.
#[derive(Default)]
pub(crate) struct Floats {
    memory: Memory,
    len: usize,
}

/// Where floats lie.
enum Memory {
    /// By themselves.
    Own(Vec<Line>),
    /// In a slab, from `start` on. No other piece of the slab has these lines.
    Piece { slab: Arc<MmapRaw>, start: usize },
}

impl Default for Memory {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Floats {
    /// `len` zeros.
    #[must_use]
    pub(crate) fn zeros(len: usize) -> Self {
        let lines = vec![Line([0.0; LINE]); len.div_ceil(LINE)];
        let memory = Memory::Own(lines);
        Self { memory, len }
    }

    /// The same memory as numbers of another type.
    pub(crate) fn numbers<E: Element>(&self) -> &[E] {
        // SAFETY: the lines' bytes are all set, every bit pattern is a number
        // of every element type, and a line's alignment is above theirs.
        unsafe { std::slice::from_raw_parts(self.start().cast(), self.len * E::PER_WORD) }
    }

    /// As [`Floats::numbers`], to write.
    pub(crate) fn numbers_mut<E: Element>(&mut self) -> &mut [E] {
        let len = self.len * E::PER_WORD;
        // SAFETY: as above; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start_mut().cast(), len) }
    }

    fn start(&self) -> *const f32 {
        match &self.memory {
            Memory::Own(lines) => lines.as_ptr().cast(),
            Memory::Piece { slab, start } => slab.as_ptr().cast::<f32>().wrapping_add(*start),
        }
    }

    fn start_mut(&mut self) -> *mut f32 {
        match &mut self.memory {
            Memory::Own(lines) => lines.as_mut_ptr().cast(),
            Memory::Piece { slab, start } => slab.as_mut_ptr().cast::<f32>().wrapping_add(*start),
        }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is 16 floats without padding, and there are lines for
        // at least `len`; a slab lives as long as its pieces, which are apart.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start_mut(), self.len) }
    }
}

/// Gives out pieces of large mappings, one behind the other. A mapping is given
/// back with the last of its pieces.
pub(crate) struct Slab {
    mapping: Option<Arc<MmapRaw>>,
    /// Floats of a mapping, and how many are given out.
    floats: usize,
    used: usize,
}

impl Slab {
    /// Mappings of `floats`, or of as many as a larger piece asks for. What is
    /// not used of them is no memory.
    #[must_use]
    pub(crate) fn new(floats: usize) -> Self {
        Self {
            mapping: None,
            floats: floats.next_multiple_of(LINE),
            used: 0,
        }
    }

    /// One mapping, for pieces of these lengths.
    #[must_use]
    pub(crate) fn of(lens: &[usize]) -> Self {
        Self::new(lens.iter().map(|&len| room_for(len)).sum())
    }

    /// `len` zeros.
    pub(crate) fn zeros(&mut self, len: usize) -> Floats {
        let lines = room_for(len);
        let room = |slab: &MmapRaw| slab.len() / size_of::<f32>();
        let fits = |slab: &Arc<MmapRaw>| self.used + lines <= room(slab);
        if !self.mapping.as_ref().is_some_and(fits) {
            self.mapping = map(lines.max(self.floats));
            self.used = 0;
        }
        let Some(slab) = self.mapping.clone() else {
            return Floats::zeros(len);
        };
        let start = self.used;
        self.used += lines;
        let memory = Memory::Piece { slab, start };
        Floats { memory, len }
    }

    /// The same floats, in a piece.
    pub(crate) fn hold(&mut self, floats: &Floats) -> Floats {
        let mut piece = self.zeros(floats.len());
        piece.copy_from_slice(floats);
        piece
    }
}

/// Floats that a piece takes. A line behind it stays zero: the last word of a
/// window may reach past its map, where channels do not fill words.
fn room_for(len: usize) -> usize {
    len.next_multiple_of(LINE) + LINE
}

/// So many zeros on pages as large as there are; none where none can be had.
fn map(floats: usize) -> Option<Arc<MmapRaw>> {
    let mapping = MmapMut::map_anon(floats * size_of::<f32>()).ok()?;
    // a kernel without huge pages has small ones, which do as well
    #[cfg(target_os = "linux")]
    let _ = mapping.advise(memmap2::Advice::HugePage);
    Some(Arc::new(MmapRaw::from(mapping)))
}
