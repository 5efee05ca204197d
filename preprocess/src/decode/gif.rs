//! GIF: the first frame on its canvas, as Pillow decodes it.

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use crate::decode::decoded::DecodedImage;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// Decodes the first frame. Canvas pixels outside the frame have the transparent
/// colour, or colour 0 if no colour is transparent. A frame that extends beyond
/// the logical screen enlarges the canvas.
///
/// # Errors
/// `TooLarge` if the screen or the frame exceeds the limit; `Broken` for damage.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // An extension says nothing about the pixels of the first frame.
    options.allow_unknown_blocks(true);
    // Memory is bounded by the checks of the dimensions below.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(convert_error)?;
    let screen = [decoder.width(), decoder.height()].map(u32::from);
    budget.check(Format::Gif, screen[0].max(1), screen[1].max(1))?;
    let frame = decoder
        .next_frame_info()
        .map_err(convert_error)?
        .ok_or_else(|| ImageError::broken(Format::Gif, "it contains no frame"))?;
    let [left, top] = [frame.left, frame.top].map(u32::from);
    let [frame_width, frame_height] = [frame.width, frame.height].map(u32::from);
    let background = frame.transparent.unwrap_or(0);
    let width = screen[0].max(left + frame_width);
    let height = screen[1].max(top + frame_height);
    budget.check(Format::Gif, width, height)?;
    budget.check(Format::Gif, frame_width, frame_height)?;

    let bytes = 4 * u64::from(width) * u64::from(height);
    budget.spend(Format::Gif, bytes)?;
    let mut indices = vec![0; frame_width as usize * frame_height as usize];
    decoder
        .read_into_buffer(&mut indices)
        .map_err(convert_error)?;
    let colors = colors(decoder.palette().ok());

    let mut samples = Vec::with_capacity(width as usize * height as usize * 3);
    let mut push = |index: u8| samples.extend_from_slice(&colors[usize::from(index)]);
    for y in 0..height {
        let row = match y.checked_sub(top) {
            Some(y) if y < frame_height => {
                &indices[(y * frame_width) as usize..][..frame_width as usize]
            }
            _ => &[],
        };
        let before = if row.is_empty() { width } else { left };
        let after = width - before - row.len() as u32;
        (0..before).for_each(|_| push(background));
        row.iter().for_each(|&index| push(index));
        (0..after).for_each(|_| push(background));
    }
    Ok(DecodedImage::upright([width, height], 3, samples))
}

/// The colour of each index. As in Pillow, an index beyond the end of the palette
/// is black, and without any palette the indices are shades of grey.
fn colors(palette: Option<&[u8]>) -> [[u8; 3]; 256] {
    match palette {
        Some(palette) => {
            let mut colors = [[0; 3]; 256];
            for (color, rgb) in colors.iter_mut().zip(palette.chunks_exact(3)) {
                color.copy_from_slice(rgb);
            }
            colors
        }
        None => std::array::from_fn(|index| [index as u8; 3]),
    }
}

fn convert_error(error: DecodingError) -> ImageError {
    match error {
        DecodingError::UnexpectedEof => ImageError::truncated(Format::Gif),
        error => ImageError::broken(Format::Gif, error),
    }
}
