//! Byte buffers that each thread reuses from image to image. Without reuse, page
//! faults on fresh memory take a quarter of the time of a typical image.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// The largest number of free buffers that a thread keeps.
const MAX_FREE: usize = 12;

/// The largest buffer that is kept for reuse, in bytes. It is large enough for
/// typical images; larger buffers are returned to the system.
const MAX_KEPT_BYTES: usize = 1 << 20;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of initialised but arbitrary bytes: it may hold data of an earlier
/// image, so a caller reads only what it has written.
#[derive(Default)]
pub(crate) struct ScratchBuffer {
    bytes: Vec<u8>,
    length: usize,
}

impl ScratchBuffer {
    /// A buffer of `length` bytes with arbitrary content.
    pub(crate) fn new(length: usize) -> Self {
        let smallest_fit = |free: &mut Vec<Vec<u8>>| {
            let large = free.iter().enumerate().filter(|(_, b)| b.len() >= length);
            let (at, _) = large.min_by_key(|(_, b)| b.len())?;
            Some(free.swap_remove(at))
        };
        let reused = FREE.try_with(|free| smallest_fit(&mut free.borrow_mut()));
        let mut bytes = reused.ok().flatten().unwrap_or_default();
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        Self { bytes, length }
    }

    /// Changes the length to `length` bytes. The content becomes arbitrary.
    pub(crate) fn set_length(&mut self, length: usize) {
        if self.len() != length {
            *self = Self::new(length);
        }
    }
}

impl Drop for ScratchBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if (1..=MAX_KEPT_BYTES).contains(&bytes.capacity()) {
            // This fails only while the thread exits; the buffer is then freed.
            let _ = FREE.try_with(|free| {
                let mut free = free.borrow_mut();
                free.push(bytes);
                if free.len() > MAX_FREE {
                    free.remove(0);
                }
            });
        }
    }
}

impl Deref for ScratchBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl DerefMut for ScratchBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}
