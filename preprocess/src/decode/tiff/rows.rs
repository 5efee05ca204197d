//! Walks through the strips or tiles of a TIFF and decompresses their rows.

use std::io::{Cursor, ErrorKind, Read};

use crate::decode::tiff::jpeg::decode as decode_jpeg;
use crate::decode::tiff::layout::{Layout, broken};
use crate::decode::tiff::predictor::undo as undo_predictor;
use crate::decode::tiff::subsampled::{Subsampled, subsampling};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// A row of a strip or tile, as stored but decompressed.
pub(super) struct Row<'a> {
    /// The position of its first pixel. Pixels beyond the image are padding.
    pub x: u32,
    /// The row of the image.
    pub y: u32,
    /// The index of the sample that all of the row belongs to, or 0 if the samples
    /// of a pixel are together.
    pub plane: usize,
    /// The samples, in the byte order of `Layout::order`.
    pub bytes: &'a [u8],
}

/// The least memory for a row that is allowed, in bytes, so that small images can
/// have tiles of an ordinary size.
const LEAST_ROW: usize = 1 << 20;

/// Decompresses all rows of the planes that colours are made of. Rows of a strip
/// or tile come from the top; each comes once for each plane.
///
/// # Errors
/// `Broken`, `Unsupported`, or `Cancelled`.
pub(super) fn for_each_row(
    layout: &Layout<'_>,
    budget: &Budget<'_>,
    mut sink: impl FnMut(Row<'_>),
) -> Result<(), ImageError> {
    let [width, height] = layout.size;
    let [chunk_width, chunk_height] = layout.chunk;
    let planes = match layout.is_planar {
        true => layout.photometric.channels() + usize::from(layout.is_premultiplied),
        false => 1,
    };
    let row_bytes = row_bytes(layout, budget)?;
    let mut buffer = vec![0; row_bytes];
    let across = width.div_ceil(chunk_width) as usize;
    let chunks = across * height.div_ceil(chunk_height) as usize;
    for index in 0..chunks {
        let x = (index % across) as u32 * chunk_width;
        let top = (index / across) as u32 * chunk_height;
        let rows = chunk_height.min(height - top);
        budget.spend(
            Format::Tiff,
            row_bytes as u64 * planes as u64 * u64::from(rows),
        )?;
        let open = |plane| reader(layout, budget, plane * chunks + index, rows);
        let mut readers = (0..planes).map(open).collect::<Result<Vec<_>, _>>()?;
        for y in top..top + rows {
            budget.spend(Format::Tiff, 0)?;
            for (plane, reader) in readers.iter_mut().enumerate() {
                reader.read_exact(&mut buffer).map_err(convert_error)?;
                undo_predictor(layout, &mut buffer);
                sink(Row {
                    x,
                    y,
                    plane,
                    bytes: &buffer,
                });
            }
        }
    }
    Ok(())
}

/// Bytes of a row of a strip or tile.
fn row_bytes(layout: &Layout<'_>, budget: &Budget<'_>) -> Result<usize, ImageError> {
    let bytes_of = |pixels: u32| {
        let samples = match layout.is_planar {
            true => 1,
            false => layout.samples as u64,
        };
        (u64::from(pixels) * samples)
            .saturating_mul(layout.bits as u64)
            .div_ceil(8)
    };
    let row = bytes_of(layout.chunk[0]);
    // A tile may be wider than the image, but not by much.
    let limit = bytes_of(layout.size[0]).saturating_mul(4);
    let limit = limit
        .max(LEAST_ROW as u64)
        .min(budget.limits().max_allocation());
    if row > limit {
        return Err(broken("its rows are longer than its pixels justify"));
    }
    Ok(row as usize)
}

/// The decompressed bytes of a strip or tile of which `rows` rows are needed.
fn reader<'a>(
    layout: &Layout<'a>,
    budget: &Budget<'_>,
    index: usize,
    rows: u32,
) -> Result<Box<dyn Read + 'a>, ImageError> {
    let data = layout.chunk_bytes(index)?;
    if layout.compression.is_jpeg() {
        let samples = decode_jpeg(layout, budget, data, rows)?;
        return Ok(Box::new(Cursor::new(samples)));
    }
    let width = layout.row_samples();
    let bytes = layout.compression.reader(data, width);
    match subsampling(layout)? {
        [1, 1] => Ok(bytes),
        factors => Ok(Box::new(Subsampled::new(bytes, layout.chunk[0], factors))),
    }
}

fn convert_error(error: std::io::Error) -> ImageError {
    match error.kind() {
        ErrorKind::UnexpectedEof => ImageError::truncated(Format::Tiff),
        _ => broken("its compressed data is damaged"),
    }
}
