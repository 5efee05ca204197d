//! A reader over several byte slices, one after the other. Decoders of other
//! projects are given only the parts of a file that the pixels depend on, so that
//! they neither refuse nor expand the rest.

use std::io::{BufRead, Error, ErrorKind, Read, Result, Seek, SeekFrom};

/// The slices and a position in them.
pub(crate) struct Pieces<'a> {
    /// The slices, none of them empty, with the positions where they start.
    pieces: Vec<(u64, &'a [u8])>,
    length: u64,
    position: u64,
    /// The piece that contains the position, or the number of pieces at the end.
    current: usize,
}

impl<'a> Pieces<'a> {
    /// Reads `pieces` in this order.
    pub(crate) fn new(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut length = 0;
        let mut positions = Vec::new();
        for piece in pieces {
            if !piece.is_empty() {
                positions.push((length, piece));
                length += piece.len() as u64;
            }
        }
        Self {
            pieces: positions,
            length,
            position: 0,
            current: 0,
        }
    }

    fn rest(&self) -> &'a [u8] {
        match self.pieces.get(self.current) {
            Some((start, piece)) => &piece[(self.position - start) as usize..],
            None => &[],
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let length = self.rest().read(to)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        Ok(self.rest())
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.rest().len());
        self.position += amount as u64;
        if self.rest().is_empty() && self.current < self.pieces.len() {
            self.current += 1;
        }
    }
}

impl Seek for Pieces<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
        };
        let position = position.ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
        self.position = position.min(self.length);
        let after = self
            .pieces
            .partition_point(|(start, _)| *start <= self.position);
        self.current = match after.checked_sub(1) {
            Some(at) if self.position < self.length => at,
            _ => self.pieces.len(),
        };
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_one_file() {
        let pieces: [&[u8]; 4] = [b"ab", b"", b"cde", b"f"];
        let mut text = String::new();
        let mut reader = Pieces::new(pieces);
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdef");
        for at in 0..8 {
            reader.seek(SeekFrom::Start(at)).unwrap();
            text.clear();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "abcdef"[at.min(6) as usize..], "{at}");
        }
        assert_eq!(reader.seek(SeekFrom::End(-2)).unwrap(), 4);
        assert_eq!(reader.fill_buf().unwrap(), b"e");
    }
}
