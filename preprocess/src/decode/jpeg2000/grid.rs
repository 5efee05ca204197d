//! The grids of tiles, precincts and code blocks along one axis (ISO/IEC 15444-1,
//! annex B).

use std::ops::Range;

use crate::decode::jpeg2000::faults::damaged;
use crate::error::ImageError;

/// The most tiles that there can be.
pub(super) const MAX_TILES: u64 = 65_535;

/// Divides an image along one axis into tiles of this size.
///
/// # Errors
/// `Broken` without tiles, or with too many.
pub(super) fn divide(
    image: &Range<u64>,
    first: u64,
    size: u64,
) -> Result<Vec<Range<u64>>, ImageError> {
    let length = image.end.checked_sub(first).ok_or_else(damaged)?;
    let count = length.checked_div(size).ok_or_else(damaged)? + 1;
    if image.is_empty() || count > MAX_TILES + 1 {
        return Err(damaged());
    }
    let at = |i: u64| (first + i * size).clamp(image.start, image.end);
    let tiles = (0..count).map(|i| at(i)..at(i + 1));
    Ok(tiles.filter(|tile| !tile.is_empty()).collect())
}

/// Samples that start at an offset, reduced by a power of two.
pub(super) fn reduced(samples: &Range<u64>, level: usize, offset: u64) -> Range<u64> {
    let reduce = |at: u64| at.saturating_sub(offset).div_ceil(1 << level);
    reduce(samples.start)..reduce(samples.end)
}

/// The cells of a grid that contain these samples. The size of a cell is a power of
/// two.
pub(super) fn cells(samples: Range<u64>, size: u8) -> u64 {
    match samples.is_empty() {
        true => 0,
        false => samples.end.div_ceil(1 << size) - (samples.start >> size),
    }
}
