//! The bits of an entropy-coded segment (ITU-T T.81, F.2.2.5), 56 or more of
//! them in a register whenever a symbol is looked up.

use super::super::buffer::Buffer;
use super::header::{self, EOI};

/// Bytes after a segment that may be read.
const PADDING: usize = 8;

/// The bits of a scan, first bit first, from one restart marker to the next.
pub(super) struct Bits<'a> {
    /// What follows the segment that is being read, and its marker.
    rest: &'a [u8],
    /// The segment without byte stuffing, then padding.
    segment: Buffer,
    /// Where the padding begins.
    end: usize,
    position: Position,
    /// The marker that closes the segment.
    marker: Option<u8>,
}

impl<'a> Bits<'a> {
    /// Starts at the first segment of `data`.
    pub(super) fn new(data: &'a [u8]) -> Self {
        let mut bits = Self {
            rest: data,
            segment: Buffer::new(data.len() + PADDING),
            end: 0,
            position: Position::default(),
            marker: None,
        };
        bits.next_segment();
        bits
    }

    /// Goes on after the next marker, taking the stuffed zeros out (F.1.2.3).
    pub(super) fn next_segment(&mut self) {
        self.position = Position::default();
        self.end = 0;
        self.marker = None;
        while let Some(at) = memchr::memchr(0xff, self.rest) {
            let (plain, rest) = self.rest.split_at(at);
            self.append(plain);
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

    /// Whether the segment lacks bits that were taken from it, or its end.
    pub(super) fn is_short(&self) -> bool {
        let taken = 8 * self.position.at - self.position.valid as usize;
        taken > 8 * self.end || self.marker.is_none()
    }

    /// Whether the file goes on to its end marker. Decoders fill what is
    /// missing with grey; an answer about grey helps nobody.
    pub(super) fn reaches_the_end(&self) -> bool {
        self.marker == Some(EOI) || header::is_whole(self.rest)
    }

    /// A reader at the next bit: a copy, which stays in registers.
    #[inline(always)]
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            segment: &self.segment,
            last: self.end,
            position: self.position,
        }
    }

    /// Goes on from where a reader came to.
    #[inline(always)]
    pub(super) fn go_to(&mut self, position: Position) {
        self.position = position;
    }
}

/// Where in a segment the next bit is.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    /// The first byte that the window lacks.
    at: usize,
    /// The next bits, from the top.
    window: u64,
    /// How many of them are valid.
    valid: u32,
}

/// Reads bits of a segment.
pub(super) struct Reader<'a> {
    segment: &'a [u8],
    /// The last place that eight bytes can be read from.
    last: usize,
    pub position: Position,
}

impl Reader<'_> {
    /// Makes the next 56 bits ready. Past the segment's end they are anything.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let Position { at, window, valid } = &mut self.position;
        if *at <= self.last {
            // SAFETY: `last` is eight bytes before the segment's end.
            let eight = unsafe { self.segment.as_ptr().add(*at).cast::<[u8; 8]>().read() };
            *window |= u64::from_be_bytes(eight) >> *valid;
        }
        *at += ((63 - *valid) / 8) as usize;
        *valid |= 56;
    }

    /// The next bits, from the top.
    #[inline(always)]
    pub(super) fn window(&self) -> u64 {
        self.position.window
    }

    /// Steps over bits: at most 56 after a `refill`.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u8) {
        self.position.window = self.position.window.wrapping_shl(count.into());
        self.position.valid = self.position.valid.wrapping_sub(count.into());
    }
}
