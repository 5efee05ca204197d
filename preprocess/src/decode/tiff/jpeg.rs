//! Strips and tiles that are JPEGs (TIFF Technical Note 2). The TIFF says what their
//! colours are, whatever their markers say.

use std::borrow::Cow;

use crate::decode::jpeg::abbreviated::{AbbreviatedStream, decode_abbreviated};
use crate::decode::jpeg::color::Color;
use crate::decode::tiff::compression::Compression;
use crate::decode::tiff::layout::{Layout, broken, tag};
use crate::decode::tiff::old_jpeg;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::support::simd::Simd;

/// The samples of a strip or tile of which `rows` rows are needed.
///
/// # Errors
/// `Unsupported` for rare coding processes; `Broken` for damage, and if the JPEG is
/// not what the TIFF says.
pub(super) fn decode(
    layout: &Layout<'_>,
    budget: &Budget<'_>,
    data: &[u8],
    rows: u32,
) -> Result<Vec<u8>, ImageError> {
    let [width, height] = layout.chunk;
    budget.check(Format::Tiff, width, height)?;
    let samples = match layout.is_planar {
        true => 1,
        false => layout.samples,
    };
    let tables = layout.directory.get(tag::JPEG_TABLES);
    let tables = tables.map_or(&[][..], |tables| tables.bytes());
    let image = match layout.compression {
        Compression::OldJpeg => old_jpeg::stream(layout, data, rows)?,
        _ => Cow::Borrowed(data),
    };
    // Many strips may have the same large tables, or no end.
    let copied = match image {
        Cow::Owned(ref image) => image.len(),
        Cow::Borrowed(_) => 0,
    };
    budget.spend(Format::Tiff, (tables.len() + copied) as u64)?;
    let stream = AbbreviatedStream {
        tables,
        image: &image,
        color: Some(match layout.converts_in_jpeg {
            true => Color::YCbCr,
            false => Color::Unchanged,
        }),
        // Some writers make the last strip as high as the others, or higher.
        max_size: [width, u32::MAX],
    };
    let image = decode_abbreviated(Simd::best(), &stream, budget).map_err(|error| match error {
        ImageError::Broken { reason, .. } => broken(format!("in a JPEG in it, {reason}")),
        ImageError::Unsupported { found } => {
            ImageError::unsupported(format!("a TIFF that contains {found}"))
        }
        error => error,
    })?;
    if image.width != width || image.height < rows || image.channels != samples {
        return Err(broken("a JPEG in it has another size or other colours"));
    }
    Ok(image.samples)
}
