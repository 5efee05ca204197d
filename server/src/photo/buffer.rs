//! Memory that a thread uses again from photo to photo: fresh pages from the
//! system cost a quarter of the time that an ordinary photo takes.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Buffers that a thread keeps.
const KEPT: usize = 12;

/// Bytes of a buffer that is kept: enough for the photos that are small, of
/// which there are many. What large ones take is given back.
const LARGEST: usize = 1 << 20;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes to work in. They are not cleared: only what was written may be read.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
}

impl Buffer {
    /// A buffer of `length` bytes that may be anything.
    pub(super) fn new(length: usize) -> Self {
        let fitting = |free: &mut Vec<Vec<u8>>| {
            let large = free.iter().enumerate().filter(|(_, b)| b.len() >= length);
            let (at, _) = large.min_by_key(|(_, b)| b.len())?;
            Some(free.swap_remove(at))
        };
        let kept = FREE.try_with(|free| fitting(&mut free.borrow_mut()));
        let mut bytes = kept.ok().flatten().unwrap_or_default();
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        Self { bytes, length }
    }

    /// Makes it `length` bytes long, whatever it was.
    pub(super) fn fit(&mut self, length: usize) {
        if self.len() != length {
            *self = Self::new(length);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if (1..=LARGEST).contains(&bytes.capacity()) {
            // Nothing is kept by a thread that ends.
            let _ = FREE.try_with(|free| {
                let mut free = free.borrow_mut();
                free.push(bytes);
                if free.len() > KEPT {
                    free.remove(0);
                }
            });
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}
