//! TIFF: the first page, with the compressions and kinds of pixels that libtiff
//! reads. Rows are decompressed one at a time, so that the memory is that of the
//! result.

mod color;
mod compression;
mod fax;
mod jpeg;
mod lab;
mod layout;
mod old_jpeg;
mod predictor;
mod raw;
mod rows;
mod samples;
mod subsampled;

use crate::decode::decoded::DecodedImage;
use crate::decode::interleaved::InterleavedPixels;
use crate::decode::tiff::color::Colors;
use crate::decode::tiff::layout::{Layout, broken, tag};
use crate::decode::tiff::rows::for_each_row;
use crate::decode::tiff::samples::Scale;
use crate::error::ImageError;
use crate::format::Format;
use crate::ifd::TiffFile;
use crate::limits::Budget;
use crate::orientation::Orientation;

/// Decodes the first page.
///
/// # Errors
/// `TooLarge`, `Unsupported` for raw camera images and rare kinds of pixels, or
/// `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let no_directory = || broken("it has no directory");
    let file = TiffFile::new(bytes).ok_or_else(no_directory)?;
    let directory = file.first_directory().ok_or_else(no_directory)?;
    if let Some(name) = raw::name(&file, &directory) {
        return Err(ImageError::unsupported(name));
    }
    let reversed: Vec<u8>;
    let mut layout = Layout::read(file, directory)?;
    let [width, height] = layout.size;
    budget.check(Format::Tiff, width, height)?;

    if layout.is_reversed {
        reversed = bytes.iter().map(|byte| byte.reverse_bits()).collect();
        layout.data = &reversed;
    }
    let scale = Scale::of(&layout, budget)?;
    let mut colors = Colors::new(&layout, scale)?;
    let channels = colors.channels();
    let stride = width as usize * channels;
    let mut samples = vec![0; stride * height as usize];
    for_each_row(&layout, budget, |row| {
        let columns = layout.chunk[0].min(width - row.x) as usize;
        let start = row.y as usize * stride + row.x as usize * channels;
        colors.convert(&row, &mut samples[start..][..columns * channels]);
    })?;
    let pixels = InterleavedPixels {
        width,
        height,
        channels,
        samples,
    };
    let xmp = || Orientation::find_in_xmp(directory.get(tag::XMP)?.bytes());
    let orientation = Orientation::find_in_directory(&directory).or_else(xmp);
    Ok(DecodedImage::full_size(
        pixels,
        orientation.unwrap_or_default(),
    ))
}
