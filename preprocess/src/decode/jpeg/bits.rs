//! Reads the bits of entropy-coded segments (ITU-T T.81, F.2.2.5). At least 56
//! bits are in a register before each lookup of a symbol.

use crate::decode::jpeg::header::{EOI, has_end_marker};
use crate::support::buffer::ScratchBuffer;

/// Readable bytes after the end of a segment.
const PADDING: usize = 8;

/// The entropy-coded data of a scan, one restart interval at a time.
pub(crate) struct EntropySegments<'a> {
    /// The data after the current segment and its marker.
    rest: &'a [u8],
    /// The current segment without byte stuffing, followed by padding.
    segment: ScratchBuffer,
    /// The length of the current segment.
    end: usize,
    position: BitPosition,
    /// The marker after the current segment.
    marker: Option<u8>,
}

impl<'a> EntropySegments<'a> {
    /// Reads the first segment of `data`.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        let mut segments = Self {
            rest: data,
            segment: ScratchBuffer::new(data.len() + PADDING),
            end: 0,
            position: BitPosition::default(),
            marker: None,
        };
        segments.next_segment();
        segments
    }

    /// Moves to the segment after the next marker and removes the byte stuffing
    /// (F.1.2.3).
    pub(crate) fn next_segment(&mut self) {
        self.position = BitPosition::default();
        self.end = 0;
        self.marker = None;
        while let Some(at) = memchr::memchr(0xff, self.rest) {
            let (unstuffed, rest) = self.rest.split_at(at);
            self.append(unstuffed);
            match rest {
                [_, 0, rest @ ..] => {
                    self.append(&[0xff]);
                    self.rest = rest;
                }
                [_, 0xff, ..] => self.rest = &rest[1..],
                [_, marker, rest @ ..] => {
                    self.rest = rest;
                    self.marker = Some(*marker);
                    break;
                }
                _ => self.rest = &[],
            }
        }
        if self.marker.is_none() {
            self.append(self.rest);
            self.rest = &[];
        }
        self.segment[self.end..][..PADDING].fill(0);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.segment[self.end..][..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Whether more bits were read than the segment has, or no marker follows it.
    pub(crate) fn is_truncated(&self) -> bool {
        let consumed = 8 * self.position.at - self.position.valid as usize;
        consumed > 8 * self.end || self.marker.is_none()
    }

    /// Whether the end marker (EOI) is present in the rest of the file.
    pub(crate) fn end_marker_follows(&self) -> bool {
        self.marker == Some(EOI) || has_end_marker(self.rest)
    }

    /// A reader at the next bit. Its position is a copy, so that the compiler can
    /// keep it in registers; [`Self::seek`] writes it back.
    #[inline(always)]
    pub(crate) fn reader(&self) -> BitReader<'_> {
        BitReader {
            segment: &self.segment,
            last: self.end,
            position: self.position,
        }
    }

    /// Continues at the position of a reader.
    #[inline(always)]
    pub(crate) fn seek(&mut self, position: BitPosition) {
        self.position = position;
    }
}

/// The position of the next bit in a segment.
#[derive(Clone, Copy, Default)]
pub(crate) struct BitPosition {
    /// The index of the first byte that is not in the window.
    at: usize,
    /// The next bits, starting at the most significant bit.
    window: u64,
    /// The number of valid bits in the window.
    valid: u32,
}

/// Reads the bits of one segment.
pub(crate) struct BitReader<'a> {
    segment: &'a [u8],
    /// The last index at which eight bytes can be read.
    last: usize,
    pub position: BitPosition,
}

impl BitReader<'_> {
    /// Loads at least 56 bits into the window. Bits beyond the end of the segment
    /// are arbitrary.
    #[inline(always)]
    pub(crate) fn refill(&mut self) {
        let BitPosition { at, window, valid } = &mut self.position;
        if *at <= self.last {
            // SAFETY: `at <= last`, and the buffer holds `PADDING` = 8 bytes after
            // index `last`.
            let eight = unsafe { self.segment.as_ptr().add(*at).cast::<[u8; 8]>().read() };
            *window |= u64::from_be_bytes(eight) >> *valid;
        }
        *at += ((63 - *valid) / 8) as usize;
        *valid |= 56;
    }

    /// The next bits, starting at the most significant bit.
    #[inline(always)]
    pub(crate) fn window(&self) -> u64 {
        self.position.window
    }

    /// Consumes `count` bits: at most 56 in total after a `refill`.
    #[inline(always)]
    pub(crate) fn consume(&mut self, count: u8) {
        self.position.window = self.position.window.wrapping_shl(count.into());
        self.position.valid = self.position.valid.wrapping_sub(count.into());
    }
}
