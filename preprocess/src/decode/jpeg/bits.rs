//! Reads the bits of entropy-coded segments (ITU-T T.81, F.2.2.5). At least 56
//! bits are in a register before each lookup of a symbol.
//!
//! A restart marker that is missing or wrong is handled as in libjpeg: the decoder
//! continues with the interval of the next valid one.

use crate::decode::jpeg::markers::{RST0, RST7, SOF0};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::support::buffer::ScratchBuffer;

/// Readable bytes after the end of a segment.
const PADDING: usize = 8;

/// The next bits match no code of a Huffman table.
#[derive(Debug)]
pub(crate) struct InvalidCode;

/// The entropy-coded data of a scan, one restart interval at a time.
pub(crate) struct EntropySegments<'a, 'b> {
    /// Says whether the image is still wanted.
    budget: &'b Budget<'b>,
    /// The file after the current segment: a marker, or nothing.
    rest: &'a [u8],
    /// The current segment without byte stuffing, followed by padding.
    segment: ScratchBuffer,
    /// The length of the current segment.
    end: usize,
    position: BitPosition,
    /// The marker after the current segment.
    marker: Option<u8>,
    /// MCUs between restart markers; 0 if there are none.
    pub restart_interval: usize,
    /// The number of the next restart marker, from 0 to 7.
    expected: u8,
    /// Whether the data ended before the current interval began.
    exhausted: bool,
    /// Whether the current interval has no data because its marker was lost.
    lost: bool,
    /// Whether a marker was lost in this scan or before it.
    has_lost: bool,
    /// Whether a marker was lost in an earlier scan. The coefficients that are
    /// missing then make the bits of refinement scans wrong.
    recovers: bool,
}

impl<'a, 'b> EntropySegments<'a, 'b> {
    /// Segments of a file whose scans have at most `length` bytes.
    pub(crate) fn new(length: usize, budget: &'b Budget<'b>) -> Self {
        Self {
            budget,
            rest: &[],
            segment: ScratchBuffer::new(length + PADDING),
            end: 0,
            position: BitPosition::default(),
            marker: None,
            restart_interval: 0,
            expected: 0,
            exhausted: false,
            lost: false,
            has_lost: false,
            recovers: false,
        }
    }

    /// Reads the first segment of a scan.
    pub(crate) fn start(&mut self, data: &'a [u8], restart_interval: usize) {
        self.has_lost |= self.is_exhausted();
        self.rest = data;
        self.restart_interval = restart_interval;
        self.expected = 0;
        self.exhausted = false;
        self.lost = false;
        self.recovers = self.has_lost;
        self.next_segment();
    }

    /// The file after the current segment.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Moves to the next segment and removes the byte stuffing (F.1.2.3).
    fn next_segment(&mut self) {
        self.position = BitPosition::default();
        self.end = 0;
        self.marker = None;
        while let Some(at) = memchr::memchr(0xff, self.rest) {
            let (unstuffed, rest) = self.rest.split_at(at);
            self.append(unstuffed);
            self.rest = rest;
            match rest {
                [_, 0, rest @ ..] => {
                    self.append(&[0xff]);
                    self.rest = rest;
                }
                [_, 0xff, ..] => self.rest = &rest[1..],
                [_, marker, ..] => {
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

    /// Moves to the segment after the marker.
    fn skip_marker(&mut self) {
        self.rest = self.rest.get(2..).unwrap_or_default();
        self.next_segment();
    }

    /// Continues after a restart marker (F.2.1.3.1). If it is not the expected one:
    /// one of the two before it is skipped with its data. At one of the two after
    /// it, or at another marker, the interval stays empty. All other numbers are
    /// taken for the expected one (`jpeg_resync_to_restart` in libjpeg).
    ///
    /// # Errors
    /// `Broken` if the data of the previous interval is incomplete.
    #[cold]
    pub(crate) fn restart(&mut self) -> Result<(), ImageError> {
        self.check()?;
        let expected = self.expected;
        let mut skips_data = self.consumed() + 8 <= 8 * self.end;
        let was_exhausted = self.is_exhausted();
        self.has_lost |= was_exhausted;
        self.expected = (expected + 1) % 8;
        self.exhausted = false;
        self.lost = false;
        loop {
            let restart = match self.marker {
                Some(marker @ RST0..=RST7) => Some(marker.wrapping_sub(RST0 + expected) % 8),
                Some(marker) if marker < SOF0 => Some(7),
                _ => None,
            };
            match restart {
                Some(6 | 7) => {
                    skips_data = true;
                    self.skip_marker();
                }
                Some(0 | 3..=5) => {
                    self.skip_marker();
                    return Ok(());
                }
                Some(_) => {
                    self.lost = true;
                    break;
                }
                None => {
                    self.lost = skips_data;
                    break;
                }
            }
        }
        self.has_lost |= self.lost;
        self.exhausted = was_exhausted;
        self.end = 0;
        self.position = BitPosition::default();
        self.segment[..PADDING].fill(0);
        Ok(())
    }

    /// Whether the rest of the interval has no data. The MCU in which the data ends
    /// is completed with zero bits; libjpeg leaves the others grey.
    #[inline(always)]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted || self.consumed() > 8 * self.end
    }

    /// Checks that no data is missing, except after a restart marker that was lost,
    /// or before one that is wrong.
    ///
    /// # Errors
    /// `Broken` if data is missing.
    fn check(&self) -> Result<(), ImageError> {
        let before_wrong_marker = matches!(self.marker, Some(RST0..=RST7))
            && self.restart_interval > 0
            && self.marker != Some(RST0 + self.expected);
        let expected = self.lost || before_wrong_marker || (self.recovers && self.marker.is_some());
        if self.is_exhausted() && !expected {
            return Err(ImageError::truncated(Format::Jpeg));
        }
        Ok(())
    }

    /// Ends a row of MCUs.
    ///
    /// # Errors
    /// Those of [`Self::check`]; `Cancelled` if nothing waits for the image.
    pub(crate) fn end_row(&self) -> Result<(), ImageError> {
        self.budget.spend(Format::Jpeg, 0)?;
        self.check()
    }

    /// Handles an invalid code. Beyond the end of a segment, the bits are zero, so
    /// the cause is missing data.
    ///
    /// # Errors
    /// `Broken` unless the missing data was expected.
    #[cold]
    pub(crate) fn invalid_code(&mut self, InvalidCode: InvalidCode) -> Result<(), ImageError> {
        self.exhausted |= self.recovers;
        if self.is_exhausted() {
            self.check()
        } else {
            let reason = "its data contains an invalid Huffman code";
            Err(ImageError::broken(Format::Jpeg, reason))
        }
    }

    /// The number of bits that were read from the segment.
    #[inline(always)]
    fn consumed(&self) -> usize {
        self.position.consumed()
    }

    fn append(&mut self, bytes: &[u8]) {
        self.segment[self.end..][..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
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

impl BitPosition {
    /// The number of bits before this position.
    #[inline(always)]
    fn consumed(self) -> usize {
        8 * self.at - self.valid as usize
    }
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
    /// are zero.
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

    /// The next bit.
    #[inline(always)]
    pub(crate) fn bit(&mut self) -> bool {
        let bit = self.window() >> 63 != 0;
        self.consume(1);
        bit
    }

    /// Whether more bits were read than the segment has.
    #[inline(always)]
    pub(crate) fn is_past_end(&self) -> bool {
        self.position.consumed() > 8 * self.last
    }
}
