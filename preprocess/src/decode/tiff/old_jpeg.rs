//! JPEG as in TIFF 6.0, section 22, which is obsolete: strips and tiles without the
//! markers of JPEG, whose tables the tags point to.

use std::borrow::Cow;

use crate::decode::tiff::layout::{Layout, broken, tag};
use crate::decode::tiff::subsampled::sampling_factors;
use crate::error::ImageError;
use crate::ifd::Values;

/// The most samples per pixel in a JPEG.
const MAX_COMPONENTS: usize = 4;

/// The JPEG of a strip or tile of which `rows` rows are needed. Some writers store a
/// complete one, which is returned as it is.
///
/// # Errors
/// `Broken` for tables outside the file; `Unsupported` without tables.
pub(super) fn stream<'a>(
    layout: &Layout<'_>,
    data: &'a [u8],
    rows: u32,
) -> Result<Cow<'a, [u8]>, ImageError> {
    if data.starts_with(&[0xff, 0xd8]) {
        return Ok(Cow::Borrowed(data));
    }
    let directory = &layout.directory;
    let tables = [tag::JPEG_Q_TABLES, tag::JPEG_DC_TABLES, tag::JPEG_AC_TABLES];
    let [Some(quantization), Some(dc), Some(ac)] = tables.map(|tag| directory.get(tag)) else {
        let found = "a TIFF with obsolete JPEG compression (without its tables)";
        return Err(ImageError::unsupported(found));
    };
    let count = if layout.is_planar { 1 } else { layout.samples };
    if count > MAX_COMPONENTS {
        let found = format!("a TIFF with obsolete JPEG compression of {count} samples");
        return Err(ImageError::unsupported(found));
    }
    let mut jpeg = vec![0xff, 0xd8];
    for component in 0..count {
        let id = component as u8;
        let table = table(layout, quantization, component)?;
        let table = table.get(..64).ok_or_else(outside)?;
        segment(&mut jpeg, 0xdb, &[&[id][..], table].concat());
        for (class, tables) in [(0, dc), (0x10, ac)] {
            let codes = huffman(layout, tables, component)?;
            segment(&mut jpeg, 0xc4, &[&[class | id][..], codes].concat());
        }
    }
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![8];
    frame.extend(side(rows));
    frame.extend(side(layout.chunk[0]));
    let mut scan = vec![count as u8];
    frame.push(count as u8);
    let factors = match layout.converts_in_jpeg {
        true => sampling_factors(directory)?,
        false => [1, 1],
    };
    for id in 0..count as u8 {
        let [horizontal, vertical] = if id == 0 { factors } else { [1, 1] };
        frame.extend([id, (horizontal << 4 | vertical) as u8, id]);
        scan.extend([id, id << 4 | id]);
    }
    segment(&mut jpeg, 0xc0, &frame);
    if let Some(interval) = directory.uint(tag::JPEG_RESTART_INTERVAL) {
        let interval = u16::try_from(interval).unwrap_or(0);
        segment(&mut jpeg, 0xdd, &interval.to_be_bytes());
    }
    scan.extend([0, 63, 0]);
    segment(&mut jpeg, 0xda, &scan);
    jpeg.extend(data);
    Ok(Cow::Owned(jpeg))
}

/// The bytes from the table of a component on.
fn table<'a>(
    layout: &Layout<'a>,
    offsets: Values<'a>,
    component: usize,
) -> Result<&'a [u8], ImageError> {
    let offset = offsets.uint(component).ok_or_else(outside)?;
    let offset = usize::try_from(offset).map_err(|_| outside())?;
    layout.file.bytes.get(offset..).ok_or_else(outside)
}

/// The numbers of codes by their length, and the symbols of the codes.
fn huffman<'a>(
    layout: &Layout<'a>,
    offsets: Values<'a>,
    component: usize,
) -> Result<&'a [u8], ImageError> {
    let bytes = table(layout, offsets, component)?;
    let counts = bytes.get(..16).ok_or_else(outside)?;
    let symbols: usize = counts.iter().map(|&count| usize::from(count)).sum();
    bytes.get(..16 + symbols).ok_or_else(outside)
}

fn segment(jpeg: &mut Vec<u8>, marker: u8, payload: &[u8]) {
    jpeg.extend([0xff, marker]);
    jpeg.extend((payload.len() as u16 + 2).to_be_bytes());
    jpeg.extend(payload);
}

fn outside() -> ImageError {
    broken("a table of its JPEG compression is not in the file")
}
