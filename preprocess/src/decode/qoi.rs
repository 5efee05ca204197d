//! QOI (The Quite OK Image Format, version 1.0), as Pillow decodes it: the number of
//! channels and the colour space in the header are not used, and alpha is dropped.

use crate::decode::decoded::DecodedImage;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// Decodes `bytes`. The mark at the end may be missing.
///
/// # Errors
/// `TooLarge`, or `Broken` if the file ends early.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let truncated = || ImageError::truncated(Format::Qoi);
    let (header, chunks) = bytes.split_first_chunk::<14>().ok_or_else(truncated)?;
    let side =
        |at| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let size = [side(4), side(8)];
    budget.check(Format::Qoi, size[0], size[1])?;
    let stride = size[0] as usize * 3;
    let mut samples = vec![0; stride * size[1] as usize];
    let mut reader = Reader::new(chunks);
    for row in samples.chunks_exact_mut(stride) {
        budget.spend(Format::Qoi, stride as u64)?;
        reader
            .row(row.as_chunks_mut::<3>().0)
            .ok_or_else(truncated)?;
    }
    Ok(DecodedImage::upright(size, 3, samples))
}

/// Reads one row after the other.
struct Reader<'a> {
    rest: &'a [u8],
    /// Red, green, blue, alpha.
    pixel: [u8; 4],
    /// How often the pixel is still repeated.
    run: u8,
    /// Pixels seen before, by a hash of their values.
    seen: [[u8; 4]; 64],
}

impl<'a> Reader<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            pixel: [0, 0, 0, 255],
            run: 0,
            seen: [[0; 4]; 64],
        }
    }

    /// The colours of the next pixels. `None` at the end of the file. What changes with
    /// each pixel is in local variables, so that it stays in registers.
    fn row(&mut self, colors: &mut [[u8; 3]]) -> Option<()> {
        let (mut rest, mut pixel, mut run) = (self.rest, self.pixel, self.run);
        for color in colors {
            if run > 0 {
                run -= 1;
            } else {
                let (&code, after) = rest.split_first()?;
                rest = after;
                if (0xc0..0xfe).contains(&code) {
                    run = code & 0x3f;
                } else {
                    pixel = next(code, pixel, &self.seen, &mut rest)?;
                    let [red, green, blue, alpha] = pixel.map(usize::from);
                    self.seen[(red * 3 + green * 5 + blue * 7 + alpha * 11) % 64] = pixel;
                }
            }
            *color = [pixel[0], pixel[1], pixel[2]];
        }
        (self.rest, self.pixel, self.run) = (rest, pixel, run);
        Some(())
    }
}

/// The pixel of a code that is no run. `None` at the end of the file.
#[inline(always)]
fn next(
    code: u8,
    [red, green, blue, alpha]: [u8; 4],
    seen: &[[u8; 4]; 64],
    rest: &mut &[u8],
) -> Option<[u8; 4]> {
    let low = code & 0x3f;
    Some(match code {
        0xff => take::<4>(rest)?,
        // 0xfe: those below are runs.
        0xc0..0xff => {
            let [red, green, blue] = take(rest)?;
            [red, green, blue, alpha]
        }
        0..0x40 => seen[usize::from(low)],
        0x40..0x80 => {
            let add = |value: u8, at: u8| value.wrapping_add(low >> at & 3).wrapping_sub(2);
            [add(red, 4), add(green, 2), add(blue, 0), alpha]
        }
        0x80..0xc0 => {
            let [differences] = take(rest)?;
            let change = low.wrapping_sub(32);
            let add = |value: u8, difference: u8| {
                value
                    .wrapping_add(change)
                    .wrapping_add(difference)
                    .wrapping_sub(8)
            };
            [
                add(red, differences >> 4),
                green.wrapping_add(change),
                add(blue, differences & 15),
                alpha,
            ]
        }
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}
