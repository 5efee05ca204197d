//! GIF: the first frame on its canvas, as Pillow decodes it. The blocks are read
//! here, so that what is around the frame cannot be in the way of its pixels.

use weezl::decode::{Configuration, Decoder};
use weezl::{BitOrder, LzwStatus};

use crate::decode::decoded::DecodedImage;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// The most bits of a colour index that the LZW of GIF allows (appendix F).
const MAX_BITS: u8 = 11;

/// Decodes the first frame. Canvas pixels outside the frame have the transparent
/// colour, or colour 0 if no colour is transparent. A frame that extends beyond
/// the logical screen enlarges the canvas.
///
/// # Errors
/// `TooLarge` if the screen or the frame exceeds the limit; `Broken` for damage.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let mut blocks = Blocks { rest: &bytes[6..] };
    let &[w0, w1, h0, h1, flags, ..] = blocks.take(7)? else {
        return Err(ImageError::truncated(Format::Gif));
    };
    let screen = [[w0, w1], [h0, h1]].map(|side| u32::from(u16::from_le_bytes(side)));
    budget.check(Format::Gif, screen[0].max(1), screen[1].max(1))?;
    let palette = blocks.palette(flags)?;
    let frame = blocks.first_frame(palette)?;
    let width = screen[0].max(frame.left + frame.width);
    let height = screen[1].max(frame.top + frame.height);
    budget.check(Format::Gif, width, height)?;
    budget.check(Format::Gif, frame.width, frame.height)?;

    let bytes = 4 * u64::from(width) * u64::from(height);
    budget.spend(Format::Gif, bytes)?;
    let indices = frame.indices(budget)?;
    let samples = place(&frame, &indices, [width, height]);
    Ok(DecodedImage::upright([width, height], 3, samples))
}

/// The colours of the canvas, `[height, width, 3]`.
fn place(frame: &Frame<'_>, indices: &[u8], [width, height]: [u32; 2]) -> Vec<u8> {
    let colors = colors(frame.palette);
    let background = frame.transparent.unwrap_or(0);
    let mut samples = Vec::with_capacity(width as usize * height as usize * 3);
    let mut push = |index: u8| samples.extend_from_slice(&colors[usize::from(index)]);
    for y in 0..height {
        let row = match y.checked_sub(frame.top) {
            Some(y) if y < frame.height => {
                &indices[(y * frame.width) as usize..][..frame.width as usize]
            }
            _ => &[],
        };
        let before = if row.is_empty() { width } else { frame.left };
        let after = width - before - row.len() as u32;
        (0..before).for_each(|_| push(background));
        row.iter().for_each(|&index| push(index));
        (0..after).for_each(|_| push(background));
    }
    samples
}

/// The colour of each index. As in Pillow, an index beyond the end of the palette
/// is black, and without any palette the indices are shades of grey. A palette in
/// which each colour is its index counts as none.
fn colors(palette: Option<&[u8]>) -> [[u8; 3]; 256] {
    let grey = std::array::from_fn(|index| [index as u8; 3]);
    let palette = palette.map_or(&[][..], |palette| palette.as_chunks::<3>().0);
    if palette == &grey[..palette.len()] {
        return grey;
    }
    let mut colors = [[0; 3]; 256];
    colors[..palette.len()].copy_from_slice(palette);
    colors
}

/// The image descriptor of the first frame, and what follows it.
struct Frame<'a> {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    is_interlaced: bool,
    transparent: Option<u8>,
    palette: Option<&'a [u8]>,
    /// Bits of a colour index.
    bits: u8,
    data: Blocks<'a>,
}

impl Frame<'_> {
    /// The index of each pixel, `[height, width]`.
    fn indices(&self, budget: &Budget<'_>) -> Result<Vec<u8>, ImageError> {
        let passes: &[(u32, usize)] = match self.is_interlaced {
            true => &[(0, 8), (4, 8), (2, 4), (1, 2)],
            false => &[(0, 1)],
        };
        let rows = passes
            .iter()
            .flat_map(|&(first, step)| (first..self.height).step_by(step));
        if self.bits > MAX_BITS {
            return Err(damaged());
        }
        let configuration = Configuration::new(BitOrder::Lsb, self.bits);
        let mut lzw = Lzw {
            blocks: self.data,
            block: &[],
            decoder: configuration.with_yield_on_full_buffer(true).build(),
        };
        let width = self.width as usize;
        let mut indices = vec![0; width * self.height as usize];
        for row in rows {
            budget.spend(Format::Gif, 0)?;
            lzw.fill(&mut indices[row as usize * width..][..width])?;
        }
        Ok(indices)
    }
}

/// The compressed indices of a frame.
struct Lzw<'a> {
    blocks: Blocks<'a>,
    /// What is left of the current data block.
    block: &'a [u8],
    decoder: Decoder,
}

impl Lzw<'_> {
    fn fill(&mut self, mut to: &mut [u8]) -> Result<(), ImageError> {
        while !to.is_empty() {
            let result = self.decoder.decode_bytes(self.block, to);
            self.block = &self.block[result.consumed_in..];
            to = &mut to[result.consumed_out..];
            match result.status {
                _ if result.consumed_out > 0 => {}
                Err(_) => return Err(damaged()),
                Ok(LzwStatus::Done) => return Err(ImageError::truncated(Format::Gif)),
                // The decoder may have codes left that it has taken from the block.
                Ok(LzwStatus::Ok) => {}
                Ok(LzwStatus::NoProgress) => {
                    let next = self.blocks.data_block();
                    self.block = next.ok_or_else(|| ImageError::truncated(Format::Gif))?;
                }
            }
        }
        Ok(())
    }
}

/// What is left of the file.
#[derive(Clone, Copy)]
struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Blocks<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ImageError> {
        let parts = self.rest.split_at_checked(length);
        let (taken, rest) = parts.ok_or_else(|| ImageError::truncated(Format::Gif))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The palette that the flags of a descriptor announce.
    fn palette(&mut self, flags: u8) -> Result<Option<&'a [u8]>, ImageError> {
        match flags & 0x80 {
            0 => Ok(None),
            _ => self.take(6 << (flags & 7)).map(Some),
        }
    }

    /// A block of data, of up to 255 bytes. `None` after the last one.
    fn data_block(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.rest.split_first()?;
        let block = &rest[..rest.len().min(length.into())];
        self.rest = &rest[block.len()..];
        (!block.is_empty()).then_some(block)
    }

    /// Reads up to the data of the first frame. As in Pillow, bytes between blocks
    /// are passed over.
    fn first_frame(&mut self, palette: Option<&'a [u8]>) -> Result<Frame<'a>, ImageError> {
        let mut transparent = None;
        loop {
            match self.take(1)? {
                b"!" => {
                    let label = self.take(1)?;
                    let block = self.data_block();
                    // The graphic control extension, of any length.
                    if let (b"\xf9", Some(&[flags, _, _, index, ..])) = (label, block)
                        && flags & 1 != 0
                    {
                        transparent = Some(index);
                    }
                    while block.is_some() && self.data_block().is_some() {}
                }
                b"," => break,
                b";" => return Err(ImageError::broken(Format::Gif, "it contains no frame")),
                _ => {}
            }
        }
        let descriptor = self.take(9)?;
        let side = |at| u32::from(u16::from_le_bytes([descriptor[at], descriptor[at + 1]]));
        let flags = descriptor[8];
        Ok(Frame {
            left: side(0),
            top: side(2),
            width: side(4),
            height: side(6),
            is_interlaced: flags & 0x40 != 0,
            transparent,
            palette: self.palette(flags)?.or(palette),
            bits: self.take(1)?[0],
            data: *self,
        })
    }
}

fn damaged() -> ImageError {
    ImageError::broken(Format::Gif, "its pixel data is damaged")
}
