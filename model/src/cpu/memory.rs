//! Buffers aligned to cache lines, so that no vector load crosses one. The
//! arena and the packed weights are allocated in huge pages: a forward pass
//! touches more memory than the TLB covers with small pages.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::{MmapMut, MmapRaw};

use super::element::Element;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Floats in a cache line.
const LINE: usize = 16;

/// A fixed number of 32-bit words, aligned to a cache line. A word is one float,
/// two bf16 or four bytes.
#[derive(Default)]
pub(crate) struct AlignedBuffer {
    memory: Memory,
    len: usize,
}

/// Where the words of a buffer are.
enum Memory {
    /// A separate allocation.
    Heap(Vec<Line>),
    /// Part of a mapping, from word `start`. No other buffer uses these cache
    /// lines.
    Mapped { mapping: Arc<MmapRaw>, start: usize },
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl AlignedBuffer {
    /// `len` zeros.
    #[must_use]
    pub(crate) fn zeros(len: usize) -> Self {
        let lines = vec![Line([0.0; LINE]); len.div_ceil(LINE)];
        let memory = Memory::Heap(lines);
        Self { memory, len }
    }

    /// The same memory as elements of type `E`.
    pub(crate) fn elements<E: Element>(&self) -> &[E] {
        // SAFETY: all bytes are initialised, every bit pattern is valid for
        // every element type, and the alignment is sufficient.
        unsafe { std::slice::from_raw_parts(self.start().cast(), self.len * E::PER_WORD) }
    }

    /// As [`AlignedBuffer::elements`], writable.
    pub(crate) fn elements_mut<E: Element>(&mut self) -> &mut [E] {
        let len = self.len * E::PER_WORD;
        // SAFETY: as above; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start_mut().cast(), len) }
    }

    fn start(&self) -> *const f32 {
        match &self.memory {
            Memory::Heap(lines) => lines.as_ptr().cast(),
            Memory::Mapped { mapping, start } => {
                mapping.as_ptr().cast::<f32>().wrapping_add(*start)
            }
        }
    }

    fn start_mut(&mut self) -> *mut f32 {
        match &mut self.memory {
            Memory::Heap(lines) => lines.as_mut_ptr().cast(),
            Memory::Mapped { mapping, start } => {
                mapping.as_mut_ptr().cast::<f32>().wrapping_add(*start)
            }
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is 16 floats without padding, and the memory has at
        // least `len` floats. A mapping lives as long as the buffers in it,
        // which do not overlap.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start_mut(), self.len) }
    }
}

/// Allocates buffers from large anonymous mappings, one after another. A
/// mapping is freed with its last buffer.
pub(crate) struct HugePages {
    mapping: Option<Arc<MmapRaw>>,
    /// Size of a new mapping, in floats.
    floats: usize,
    /// Floats of the current mapping that are allocated.
    used: usize,
}

impl HugePages {
    /// Uses mappings of `floats` floats, or larger ones for larger buffers. The
    /// unused part of a mapping takes no physical memory.
    #[must_use]
    pub(crate) fn new(floats: usize) -> Self {
        Self {
            mapping: None,
            floats: floats.next_multiple_of(LINE),
            used: 0,
        }
    }

    /// Uses one mapping that holds buffers of these lengths.
    #[must_use]
    pub(crate) fn with_capacity_for(lens: &[usize]) -> Self {
        Self::new(lens.iter().map(|&len| padded_len(len)).sum())
    }

    /// `len` zeros.
    pub(crate) fn zeros(&mut self, len: usize) -> AlignedBuffer {
        let needed = padded_len(len);
        let capacity = |mapping: &MmapRaw| mapping.len() / size_of::<f32>();
        let fits = |mapping: &Arc<MmapRaw>| self.used + needed <= capacity(mapping);
        if !self.mapping.as_ref().is_some_and(fits) {
            self.mapping = map_zeros(needed.max(self.floats));
            self.used = 0;
        }
        let Some(mapping) = self.mapping.clone() else {
            return AlignedBuffer::zeros(len);
        };
        let start = self.used;
        self.used += needed;
        let memory = Memory::Mapped { mapping, start };
        AlignedBuffer { memory, len }
    }

    /// Copies `floats` into a new buffer.
    pub(crate) fn copy_of(&mut self, floats: &AlignedBuffer) -> AlignedBuffer {
        let mut copy = self.zeros(floats.len());
        copy.copy_from_slice(floats);
        copy
    }
}

/// Floats to allocate for a buffer of `len`. At least one cache line after the
/// buffer stays zero: if the channels do not fill whole words, the last word of a
/// window may extend past the end of its feature map.
fn padded_len(len: usize) -> usize {
    len.next_multiple_of(LINE) + LINE
}

/// An anonymous mapping of zeros in huge pages; `None` if the mapping fails.
fn map_zeros(floats: usize) -> Option<Arc<MmapRaw>> {
    let mapping = MmapMut::map_anon(floats * size_of::<f32>()).ok()?;
    // without transparent huge pages the mapping uses small ones
    #[cfg(target_os = "linux")]
    let _ = mapping.advise(memmap2::Advice::HugePage);
    Some(Arc::new(MmapRaw::from(mapping)))
}
