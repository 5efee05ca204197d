//! The headers of a BMP: BITMAPCOREHEADER, BITMAPINFOHEADER and its later
//! versions, and their OS/2 relatives.

use crate::error::ImageError;
use crate::format::Format;

/// What the decoder needs from the headers.
pub(super) struct Header {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Whether the first row is the top one.
    pub top_down: bool,
    /// How the pixels are stored.
    pub coding: Coding,
    /// Where red, green and blue are in a pixel of 16 or 32 bits.
    pub masks: [Mask; 3],
    /// The colours of indexed pixels.
    pub palette: Vec<[u8; 3]>,
    /// The end of the header, in bytes from its start, with the masks.
    pub end: usize,
    /// Bytes per colour of the palette, and colours according to the header.
    palette_layout: [usize; 2],
}

/// How pixels are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Coding {
    /// A constant number of bits per pixel.
    Packed {
        /// 1, 2, 4, 8, 16, 24 or 32.
        bits: usize,
    },
    /// Runs of indices of 8 or 4 bits.
    Rle {
        /// Whether the indices have 4 bits.
        four_bits: bool,
    },
}

/// The bits of one colour in a pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    shift: u32,
    max: u32,
}

impl Mask {
    fn new(mask: u32) -> Self {
        let shift = mask.trailing_zeros().min(31);
        let max = mask >> shift;
        Self { shift, max }
    }

    /// The colour in `pixel`, scaled to 8 bits and rounded down, as in Pillow.
    pub(super) fn sample(self, pixel: u32) -> u8 {
        let value = pixel >> self.shift & self.max;
        match self.max {
            0 => 0,
            255 => value as u8,
            max => (u64::from(value) * 255 / u64::from(max)) as u8,
        }
    }
}

impl Header {
    /// Reads the header at the start of `bitmap`, and the palette after it.
    pub(super) fn read(bitmap: &[u8]) -> Result<Self, ImageError> {
        Self::parse(bitmap).ok_or_else(|| ImageError::truncated(Format::Bmp))?
    }

    fn parse(bitmap: &[u8]) -> Option<Result<Self, ImageError>> {
        let size = uint(bitmap, 0, 4)? as usize;
        let is_core = size == 12;
        let field = |at, length| {
            if at + length > size {
                Some(0)
            } else {
                uint(bitmap, at, length)
            }
        };
        let [width, height, bits] = if is_core {
            [
                uint(bitmap, 4, 2)?,
                uint(bitmap, 6, 2)?,
                uint(bitmap, 10, 2)?,
            ]
        } else {
            [
                uint(bitmap, 4, 4)?,
                uint(bitmap, 8, 4)?,
                uint(bitmap, 14, 2)?,
            ]
        };
        let [compression, colors] = if is_core {
            [0; 2]
        } else {
            [field(16, 4)?, field(32, 4)?]
        };
        let coding = match coding(compression, bits, size == 64) {
            Ok(coding) => coding,
            Err(error) => return Some(Err(error)),
        };
        let mut masks = match bits {
            16 => [0x7c00, 0x3e0, 0x1f],
            _ => [0xff_0000, 0xff00, 0xff],
        };
        let mut end = size;
        if (width as i32) < 0 {
            let reason = "its header has a negative width";
            return Some(Err(ImageError::broken(Format::Bmp, reason)));
        }
        if matches!(compression, 3 | 6) {
            let given = [
                uint(bitmap, 40, 4)?,
                uint(bitmap, 44, 4)?,
                uint(bitmap, 48, 4)?,
            ];
            if given != [0; 3] {
                masks = given;
            }
            // A header without the masks has them, and with 6 that of alpha, after it.
            end = end.max(if compression == 6 { 56 } else { 52 });
        }
        let top_down = !is_core && (height as i32) < 0;
        let mut header = Self {
            width,
            height: if top_down {
                height.wrapping_neg()
            } else {
                height
            },
            top_down,
            coding,
            masks: masks.map(Mask::new),
            palette: Vec::new(),
            end,
            palette_layout: [if is_core { 3 } else { 4 }, colors as usize],
        };
        if bits <= 8 {
            header.read_palette(bitmap, bits)?;
        }
        Some(Ok(header))
    }

    /// Reads as many colours as the pixels can have, or fewer if the header says
    /// so or the file ends.
    fn read_palette(&mut self, bitmap: &[u8], bits: u32) -> Option<()> {
        let [size, count] = &mut self.palette_layout;
        if *count == 0 {
            *count = 1 << bits;
        }
        let colors = bitmap.get(self.end..)?.chunks_exact(*size);
        let colors = colors.take((*count).min(1 << bits));
        self.palette = colors.map(|bgr| [bgr[2], bgr[1], bgr[0]]).collect();
        Some(())
    }

    /// Where the pixels start if no offset is given, in bytes from the header.
    pub(super) fn pixels_at(&self, bitmap: &[u8]) -> usize {
        let [size, count] = self.palette_layout;
        let palette = if self.palette.is_empty() { 0 } else { count };
        (self.end.saturating_add(palette.saturating_mul(size))).min(bitmap.len())
    }

    /// The colour of an index; black beyond the palette.
    pub(super) fn color(&self, index: u8) -> [u8; 3] {
        let color = self.palette.get(usize::from(index));
        color.copied().unwrap_or_default()
    }
}

fn coding(compression: u32, bits: u32, is_os2: bool) -> Result<Coding, ImageError> {
    let name = match (compression, bits) {
        (0, 1 | 2 | 4 | 8 | 16 | 24 | 32) | (3 | 6, 16 | 24 | 32)
            if !(is_os2 && compression == 3) =>
        {
            return Ok(Coding::Packed {
                bits: bits as usize,
            });
        }
        (1, 8) => return Ok(Coding::Rle { four_bits: false }),
        (2, 4) => return Ok(Coding::Rle { four_bits: true }),
        (3, _) if is_os2 => "a BMP with Huffman-coded pixels (OS/2)",
        (4, _) if is_os2 => "a BMP with run-length coded colours (OS/2)",
        (4, _) => "a BMP that contains a JPEG",
        (5, _) => "a BMP that contains a PNG",
        (11..=13, _) => "a BMP with CMYK colours",
        _ => {
            let reason = format!(
                "its header has {bits} bits per pixel with compression {compression}, which BMP \
                 does not define"
            );
            return Err(ImageError::broken(Format::Bmp, reason));
        }
    };
    Err(ImageError::unsupported(name))
}

/// A little-endian integer of `length` bytes.
fn uint(bytes: &[u8], at: usize, length: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + length)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |value, &b| value << 8 | u32::from(b)),
    )
}
