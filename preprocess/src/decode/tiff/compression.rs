//! The compression schemes of TIFF, as readers of the decompressed bytes.

use std::io::{Error, ErrorKind, Read, Result};

use flate2::bufread::ZlibDecoder;
use weezl::{BitOrder, LzwStatus, decode::Decoder};

use crate::decode::tiff::fax::{Fax, FaxCoding};
use crate::decode::tiff::layout::tag;
use crate::error::ImageError;
use crate::ifd::Directory;

/// How a strip or tile is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    /// CCITT T.4 or T.6.
    Fax(FaxCoding),
    Lzw,
    /// JPEG, with tables in the directory.
    Jpeg,
    /// JPEG as in TIFF 6.0, section 22, which is obsolete.
    OldJpeg,
    Deflate,
    PackBits,
}

impl Compression {
    /// Reads the tags of the compression.
    ///
    /// # Errors
    /// `Unsupported`, with the name of the compression.
    pub(super) fn read(directory: &Directory<'_>) -> std::result::Result<Self, ImageError> {
        let options = directory.uint(tag::T4_OPTIONS).unwrap_or(0);
        let name = match directory.uint(tag::COMPRESSION).unwrap_or(1) {
            1 => return Ok(Self::None),
            2 => return Ok(Self::Fax(FaxCoding::Rows { align: 8 })),
            3 if options & 1 == 0 => return Ok(Self::Fax(FaxCoding::Group3)),
            3 => return Ok(Self::Fax(FaxCoding::Group3Mixed)),
            4 => return Ok(Self::Fax(FaxCoding::Group4)),
            5 => return Ok(Self::Lzw),
            6 => return Ok(Self::OldJpeg),
            7 => return Ok(Self::Jpeg),
            8 | 32946 => return Ok(Self::Deflate),
            32771 => return Ok(Self::Fax(FaxCoding::Rows { align: 16 })),
            32773 => return Ok(Self::PackBits),
            32766 => "NeXT",
            32809 => "ThunderScan",
            32908 | 32909 => "PixarLog",
            34661 => "JBIG",
            34676 | 34677 => "SGI LogLuv",
            33003 | 33005 | 34712 => "JPEG 2000",
            34887 => "LERC",
            34925 => "LZMA",
            50000 => "Zstandard",
            50001 => "WebP",
            50002 | 52546 => "JPEG XL",
            other => {
                return Err(ImageError::unsupported(format!(
                    "a TIFF with an unknown compression ({other})"
                )));
            }
        };
        Err(ImageError::unsupported(format!(
            "a TIFF with {name} compression"
        )))
    }

    /// Whether this is a compression of fax machines.
    pub(super) fn is_fax(self) -> bool {
        matches!(self, Self::Fax(_))
    }

    /// Whether this is JPEG, whose decoder works on whole strips and tiles.
    pub(super) fn is_jpeg(self) -> bool {
        matches!(self, Self::Jpeg | Self::OldJpeg)
    }

    /// The decompressed bytes of `data`, except of JPEG. `width` is that of the
    /// strip or tile in samples.
    pub(super) fn reader<'a>(self, data: &'a [u8], width: usize) -> Box<dyn Read + 'a> {
        match self {
            Self::Fax(coding) => Box::new(Fax::new(data, width, coding)),
            Self::Lzw => Box::new(Lzw::new(data)),
            Self::Deflate => Box::new(ZlibDecoder::new(data)),
            Self::PackBits => Box::new(PackBits::new(data)),
            Self::None | Self::Jpeg | Self::OldJpeg => Box::new(data),
        }
    }
}

/// LZW (section 13).
struct Lzw<'a> {
    rest: &'a [u8],
    decoder: Decoder,
}

impl<'a> Lzw<'a> {
    fn new(rest: &'a [u8]) -> Self {
        // Before TIFF 5.0, codes started at the lowest bit, and the first one, which
        // clears the table, shows it.
        let is_old = matches!(rest, [0, second, ..] if second & 1 == 1);
        let decoder = if is_old {
            Decoder::new(BitOrder::Lsb, 8)
        } else {
            Decoder::with_tiff_size_switch(BitOrder::Msb, 8)
        };
        Self { rest, decoder }
    }
}

impl Read for Lzw<'_> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            let result = self.decoder.decode_bytes(self.rest, to);
            self.rest = &self.rest[result.consumed_in..];
            match result.status {
                _ if result.consumed_out > 0 => return Ok(result.consumed_out),
                // The decoder may have codes left that it has taken from the data.
                Ok(LzwStatus::Ok) => {}
                Ok(_) => return Ok(0),
                Err(_) => return Err(Error::from(ErrorKind::InvalidData)),
            }
        }
    }
}

/// PackBits (section 9): runs and literals.
struct PackBits<'a> {
    rest: &'a [u8],
    /// Bytes that remain of the current run or literal.
    left: usize,
    /// The byte of the current run; `None` in a literal.
    run: Option<u8>,
}

impl<'a> PackBits<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            left: 0,
            run: None,
        }
    }
}

impl Read for PackBits<'_> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        while self.left == 0 {
            let &[head, ref rest @ ..] = self.rest else {
                return Ok(0);
            };
            self.rest = rest;
            (self.left, self.run) = match head {
                0..=127 => (usize::from(head) + 1, None),
                128 => (0, None),
                129..=255 => {
                    let &[value, ref rest @ ..] = self.rest else {
                        return Ok(0);
                    };
                    self.rest = rest;
                    (257 - usize::from(head), Some(value))
                }
            };
        }
        let length = self.left.min(to.len());
        let length = match self.run {
            Some(value) => {
                to[..length].fill(value);
                length
            }
            None => self.rest.read(&mut to[..length])?,
        };
        self.left -= length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut reader: impl Read) -> Vec<u8> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn pack_bits_is_the_example_of_its_authors() {
        // Apple, Technical Note TN1023.
        let packed = [
            0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0xfd, 0xaa, 0x03, 0x80, 0x00, 0x2a, 0x22, 0xf7,
            0xaa,
        ];
        let mut expected = vec![
            0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0xaa, 0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0x22,
        ];
        expected.extend([0xaa; 10]);
        assert_eq!(read(PackBits::new(&packed)), expected);
        assert_eq!(read(PackBits::new(&packed[..4])), expected[..4]);
    }

    #[test]
    fn lzw_codes_after_a_clear_code_at_the_end_are_read() {
        // Codes of 9 bits: clear, a, clear, b, end.
        let codes = [256, 97, 256, 98, 257_u64];
        let bits = codes.iter().fold(0, |bits, code| bits << 9 | code);
        let packed = (bits << 3).to_be_bytes();
        let mut lzw = Lzw::new(&packed[2..]);
        for expected in b"ab" {
            let mut byte = [0];
            lzw.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [*expected]);
        }
    }

    #[test]
    fn both_bit_orders_of_lzw_are_read() {
        let plain: Vec<u8> = (0..9000).map(|i| (i * i / 7 % 83) as u8).collect();
        let new = weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8);
        let old = weezl::encode::Encoder::new(BitOrder::Lsb, 8);
        for mut encoder in [new, old] {
            let packed = encoder.encode(&plain).unwrap();
            assert_eq!(read(Lzw::new(&packed)), plain);
        }
    }
}
