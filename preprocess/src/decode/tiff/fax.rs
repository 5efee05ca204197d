//! CCITT compression (ITU-T T.4 and T.6; TIFF 6.0, sections 10 and 11): rows of
//! black and white runs, alone or relative to the row above. The tables of codes
//! are those of the `fax` crate.

use std::io::{Error, ErrorKind, Read, Result};

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, Color};

/// Which of the codings is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaxCoding {
    /// One-dimensional rows that start at multiples of `align` bits.
    Rows {
        /// 8 or 16.
        align: usize,
    },
    /// One-dimensional rows with an end-of-line code before each.
    Group3,
    /// As `Group3`, but some rows are relative to the row above.
    Group3Mixed,
    /// All rows are relative to the row above.
    Group4,
}

/// A reader of packed rows, one bit per pixel; 1 is black.
pub(super) struct Fax<'a> {
    bits: Bits<'a>,
    width: u32,
    coding: FaxCoding,
    /// Where the colour changes in the row above; the first change is to black.
    /// Two changes at one place cancel each other.
    above: Vec<u32>,
    current: Vec<u32>,
    /// The packed row, and how much of it has been read.
    row: Vec<u8>,
    read: usize,
    has_ended: bool,
    /// Whether there are end-of-line codes.
    has_lines: bool,
    /// How often such a code was looked for after a damaged row, and found.
    lost_rows: u32,
}

impl<'a> Fax<'a> {
    /// Decodes rows of `width` pixels.
    pub(super) fn new(data: &'a [u8], width: usize, coding: FaxCoding) -> Self {
        let row = vec![0; width.div_ceil(8)];
        Self {
            bits: Bits { data, at: 0 },
            width: width as u32,
            coding,
            above: Vec::new(),
            current: Vec::new(),
            read: row.len(),
            row,
            has_ended: false,
            has_lines: false,
            lost_rows: 0,
        }
    }

    /// Decodes the next row. After an end code, rows are white, as some encoders
    /// leave out the white ones at the end.
    fn next_row(&mut self) -> Result<()> {
        std::mem::swap(&mut self.above, &mut self.current);
        self.current.clear();
        match self.decode_row().map_err(|error| error.kind()) {
            // As in libtiff, the rest of a damaged row is white, and the next one
            // starts at the next end-of-line code.
            Err(ErrorKind::InvalidData) if self.has_lines => self.whiten(),
            // A damaged end-of-line code makes one row of two.
            Err(ErrorKind::UnexpectedEof) if self.lost_rows > 0 => {
                self.lost_rows -= 1;
                self.whiten();
            }
            row => row?,
        }
        self.pack();
        Ok(())
    }

    fn decode_row(&mut self) -> Result<()> {
        let is_relative = self.start_row()?;
        match is_relative {
            _ if self.has_ended => Ok(()),
            true => self.relative_row(),
            false => self.plain_row(),
        }
    }

    /// Reads what is before a row, and whether it is relative to the row above.
    fn start_row(&mut self) -> Result<bool> {
        match self.coding {
            FaxCoding::Rows { align } => {
                self.bits.at = self.bits.at.next_multiple_of(align);
                return Ok(false);
            }
            FaxCoding::Group4 => return Ok(true),
            FaxCoding::Group3 | FaxCoding::Group3Mixed => {}
        }
        let start = self.bits.at;
        while self.has_lines && !self.has_ended && !self.bits.is_end_of_line() {
            self.bits.take(1)?;
        }
        self.lost_rows += u32::from(self.bits.at > start);
        if !self.bits.skip_end_of_line()? {
            return Ok(false);
        }
        self.has_lines = true;
        let is_relative = self.coding == FaxCoding::Group3Mixed && self.bits.take(1)? == 0;
        // Several end-of-line codes end the image.
        self.has_ended |= self.bits.is_end_of_line();
        Ok(is_relative)
    }

    /// Leaves out a black run that has no end.
    fn whiten(&mut self) {
        self.current.truncate(self.current.len() & !1);
    }

    /// A one-dimensional row (T.4, 4.1).
    fn plain_row(&mut self) -> Result<()> {
        let (mut at, mut color) = (0, Color::White);
        while at < self.width {
            at = self.bits.run(color)?.saturating_add(at);
            if at > self.width && color == Color::Black {
                // As in libtiff, a run that is too long is white.
                self.current.pop();
                break;
            }
            self.change(at);
            color = !color;
        }
        Ok(())
    }

    /// A two-dimensional row (T.4, 4.2; T.6, 2.2). The names are those of the
    /// recommendations: `a0` is where the row is known up to, `b1` the change in
    /// the row above to compare with, `b2` the one after it.
    fn relative_row(&mut self) -> Result<()> {
        let (mut a0, mut color) = (None, Color::White);
        let mut next = 0;
        while a0.unwrap_or(0) < self.width {
            while a0.is_some_and(|a0| self.above.get(next).is_some_and(|&at| at <= a0)) {
                next += 1;
            }
            let is_to_black = color == Color::White;
            let b1 = next + usize::from((next % 2 == 0) != is_to_black);
            let above = |at: usize| self.above.get(at).copied().unwrap_or(self.width);
            // The zeros after the data must not be taken for the start of an end code.
            let is_end = self.bits.peek(12) == Some(1);
            let start = self.bits.at;
            match mode::decode(&mut self.bits) {
                Some(Mode::Pass) => a0 = Some(above(b1 + 1)),
                Some(Mode::Vertical(offset)) => {
                    let a1 = above(b1).saturating_add_signed(offset.into());
                    if a1 < a0.unwrap_or(0) {
                        return Err(damaged());
                    }
                    self.change(a1);
                    color = !color;
                    a0 = Some(a1);
                }
                Some(Mode::Horizontal) => {
                    let first = self.bits.run(color)?.saturating_add(a0.unwrap_or(0));
                    let second = self.bits.run(!color)?.saturating_add(first);
                    self.change(first);
                    self.change(second);
                    a0 = Some(second);
                }
                // An end-of-line code, which starts the next row.
                Some(Mode::EOF) if self.coding == FaxCoding::Group3Mixed => {
                    self.bits.at = start;
                    return Err(damaged());
                }
                Some(Mode::EOF) if !is_end => return Err(ErrorKind::UnexpectedEof.into()),
                Some(Mode::EOF) => {
                    self.has_ended = true;
                    return Ok(());
                }
                Some(Mode::Extension) => return Err(damaged()),
                None if self.bits.at >= self.bits.length() => {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                None => return Err(damaged()),
            }
        }
        Ok(())
    }

    fn change(&mut self, at: u32) {
        self.current.push(at.min(self.width));
    }

    /// Packs the current row.
    fn pack(&mut self) {
        self.row.fill(0);
        for run in self.current.chunks(2) {
            let end = run.get(1).copied().unwrap_or(self.width);
            set_bits(&mut self.row, run[0] as usize, end as usize);
        }
        self.read = 0;
    }
}

impl Read for Fax<'_> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        if self.read == self.row.len() {
            self.next_row()?;
        }
        let length = (&self.row[self.read..]).read(to)?;
        self.read += length;
        Ok(length)
    }
}

/// Sets the bits `start..end`, counted from the highest bit of the first byte.
fn set_bits(row: &mut [u8], start: usize, end: usize) {
    if start >= end {
        return;
    }
    let (first, last) = (start / 8, (end - 1) / 8);
    let head = 0xff >> (start % 8);
    let tail = 0xff << (7 - (end - 1) % 8);
    if first == last {
        row[first] |= head & tail;
    } else {
        row[first] |= head;
        row[first + 1..last].fill(0xff);
        row[last] |= tail;
    }
}

fn damaged() -> Error {
    ErrorKind::InvalidData.into()
}

/// A position in the data, in bits. After the end there are zeros, but nothing
/// that starts there is decoded.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn length(&self) -> usize {
        self.data.len() * 8
    }

    fn take(&mut self, bits: u8) -> Result<u16> {
        let value = self.peek(bits).ok_or(ErrorKind::UnexpectedEof)?;
        self.at += usize::from(bits);
        Ok(value)
    }

    /// The length of a run: codes of multiples of 64, then one of less.
    fn run(&mut self, color: Color) -> Result<u32> {
        let mut length = 0_u32;
        loop {
            let start = self.at;
            let code = match color {
                Color::White => white::decode(self),
                Color::Black => black::decode(self),
            };
            let Some(code) = code else {
                let ended = self.at >= self.length();
                // It may be an end-of-line code.
                self.at = start;
                return Err(if ended {
                    ErrorKind::UnexpectedEof.into()
                } else {
                    damaged()
                });
            };
            length = length.saturating_add(code.into());
            if code < 64 {
                return Ok(length);
            }
        }
    }

    /// Whether an end-of-line code follows: at least 11 zeros.
    fn is_end_of_line(&self) -> bool {
        self.peek(11) == Some(0)
    }

    /// Skips an end-of-line code and the fill before it, if there is one.
    fn skip_end_of_line(&mut self) -> Result<bool> {
        if !self.is_end_of_line() {
            return Ok(false);
        }
        while self.take(1)? == 0 {}
        Ok(true)
    }
}

impl BitReader for Bits<'_> {
    type Error = Error;

    fn peek(&self, bits: u8) -> Option<u16> {
        if self.at >= self.length() {
            return None;
        }
        let byte = |i| u32::from(self.data.get(self.at / 8 + i).copied().unwrap_or(0));
        let window = byte(0) << 16 | byte(1) << 8 | byte(2);
        let window = window << (8 + self.at % 8);
        Some((window >> 16 >> (16 - u32::from(bits.min(16)))) as u16)
    }

    fn consume(&mut self, bits: u8) -> Result<()> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        (self.at.wrapping_neg() % 8) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_end_code_ends_the_rows() {
        let rows = |data| {
            let mut rows = [0xaa; 3];
            Fax::new(data, 8, FaxCoding::Group4)
                .read_exact(&mut rows)
                .map(|()| rows)
        };
        // A row that is as the white one above it, and EOFB.
        assert_eq!(rows(&[0x80, 0x08, 0x00, 0x80]).unwrap(), [0; 3]);
        for cut in [&[0x80][..], &[0x80, 0x00], &[0xc0]] {
            assert!(rows(cut).is_err(), "{cut:?}");
        }
    }
}
