//! GIF: the first frame, on its canvas, as Pillow shows it.

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::bitmap::{Bitmap, Picture};
use super::error::PhotoError;
use super::orientation::Orientation;
use super::sniff::Format;
use super::{Decoded, Limits};

/// Decodes the first frame. Where it leaves the canvas bare, the canvas shows
/// the transparent colour, or colour 0 where none is transparent. A frame that
/// reaches past the logical screen widens the canvas.
///
/// # Errors
/// `TooLarge` from the headers of screen and frame; `Broken` for damage.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, PhotoError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // The budget of pixels, below, is the limit.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(failed)?;
    let screen = [decoder.width(), decoder.height()].map(u32::from);
    limits.check(Format::Gif, screen[0].max(1), screen[1].max(1))?;
    let frame = decoder
        .next_frame_info()
        .map_err(failed)?
        .ok_or_else(|| PhotoError::broken(Format::Gif, "it has no image in it"))?;
    let [left, top, across, down] =
        [frame.left, frame.top, frame.width, frame.height].map(u32::from);
    let bare = frame.transparent.unwrap_or(0);
    let width = screen[0].max(left + across);
    let height = screen[1].max(top + down);
    limits.check(Format::Gif, width, height)?;
    limits.check(Format::Gif, across, down)?;

    let mut indices = vec![0; across as usize * down as usize];
    decoder.read_into_buffer(&mut indices).map_err(failed)?;
    let palette = decoder.palette().map_err(failed)?;
    // An index past the end of the palette is black, as Pillow has it.
    let mut colors = [[0; 3]; 256];
    for (color, rgb) in colors.iter_mut().zip(palette.chunks_exact(3)) {
        color.copy_from_slice(rgb);
    }

    let mut samples = Vec::with_capacity(width as usize * height as usize * 3);
    let mut paint = |index: u8| samples.extend_from_slice(&colors[usize::from(index)]);
    for y in 0..height {
        let row = match y.checked_sub(top) {
            Some(y) if y < down => &indices[(y * across) as usize..][..across as usize],
            _ => &[],
        };
        let before = if row.is_empty() { width } else { left };
        let after = width - before - row.len() as u32;
        (0..before).for_each(|_| paint(bare));
        row.iter().for_each(|&index| paint(index));
        (0..after).for_each(|_| paint(bare));
    }
    Ok(Decoded {
        size: [width, height],
        scale: 1.0,
        orientation: Orientation::default(),
        picture: Picture::Bitmap(Bitmap {
            width,
            height,
            channels: 3,
            samples,
        }),
    })
}

fn failed(error: DecodingError) -> PhotoError {
    match error {
        DecodingError::UnexpectedEof => {
            PhotoError::broken(Format::Gif, "it ends before its last pixel")
        }
        error => PhotoError::broken(Format::Gif, error),
    }
}
