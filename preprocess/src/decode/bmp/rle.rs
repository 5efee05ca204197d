//! Run-length coded BMP (BI_RLE8 and BI_RLE4).

use crate::error::ImageError;
use crate::format::Format;

/// Expands the runs to indices, in rows from the bottom. Pixels that no run
/// covers are 0. The end mark may be missing after the last pixel.
///
/// # Errors
/// `Broken` if the data end before the last pixel without an end mark.
pub(super) fn expand(
    data: &[u8],
    width: usize,
    height: usize,
    four_bits: bool,
) -> Result<Vec<u8>, ImageError> {
    let mut indices = vec![0; width * height];
    let (mut x, mut y) = (0, 0);
    let mut rest = data;
    while y < height {
        let &[count, value, ref after @ ..] = rest else {
            let is_complete = y + 1 == height && x >= width;
            if is_complete {
                break;
            }
            return Err(ImageError::truncated(Format::Bmp));
        };
        rest = after;
        let to = &mut indices[y * width..][..width];
        match (count, value) {
            (0, 0) => (x, y) = (0, y + 1),
            (0, 1) => break,
            (0, 2) => {
                let &[right, up, ref after @ ..] = rest else {
                    return Err(ImageError::truncated(Format::Bmp));
                };
                rest = after;
                (x, y) = (x + usize::from(right), y + usize::from(up));
            }
            (0, count) => {
                let count = usize::from(count);
                let length = if four_bits { count.div_ceil(2) } else { count };
                let (run, after) = rest.split_at(rest.len().min(length));
                // The padding to 16 bits may be missing at the end.
                rest = after.get(length % 2..).unwrap_or_default();
                write(to, x, count, |i| pixel(run, i, four_bits).unwrap_or(0));
                if run.len() < length && x + run.len() * (1 + usize::from(four_bits)) < width {
                    return Err(ImageError::truncated(Format::Bmp));
                }
                x += count;
            }
            (count, value) => {
                let count = usize::from(count);
                let run = [value];
                let period = if four_bits { 2 } else { 1 };
                write(to, x, count, |i| {
                    pixel(&run, i % period, four_bits).unwrap_or(0)
                });
                x += count;
            }
        }
    }
    Ok(indices)
}

/// Writes `count` indices from column `x`; those beyond the row are dropped.
fn write(row: &mut [u8], x: usize, count: usize, index: impl Fn(usize) -> u8) {
    let start = x.min(row.len());
    let end = (x + count).min(row.len());
    for (i, to) in row[start..end].iter_mut().enumerate() {
        *to = index(i);
    }
}

/// Index `i` of a run.
fn pixel(run: &[u8], i: usize, four_bits: bool) -> Option<u8> {
    if four_bits {
        let pair = run.get(i / 2)?;
        Some(if i.is_multiple_of(2) {
            pair >> 4
        } else {
            pair & 15
        })
    } else {
        run.get(i).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_literals_and_jumps_of_both_sizes() {
        let eight = [2, 7, 0, 3, 1, 2, 3, 0, 0, 0, 0, 2, 1, 1, 4, 9, 0, 1];
        let expected = [7, 7, 1, 2, 3, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9];
        assert_eq!(expand(&eight, 5, 3, false).unwrap(), expected);
        let four = [3, 0x12, 0, 3, 0x34, 0x50, 0, 0, 6, 0xab];
        let expected = [1, 2, 1, 3, 4, 5, 10, 11, 10, 11, 10, 11];
        assert_eq!(expand(&four, 6, 2, true).unwrap(), expected);
    }

    #[test]
    fn only_a_missing_pixel_is_damage() {
        // Two rows of 4 pixels, the second without an end of line or bitmap.
        let whole = [4, 1, 0, 0, 2, 2, 2, 3];
        assert!(expand(&whole, 4, 2, false).is_ok());
        for cut in 0..whole.len() {
            let result = expand(&whole[..cut], 4, 2, false);
            assert_eq!(result, Err(ImageError::truncated(Format::Bmp)), "{cut}");
        }
        // A long run is cut at the end of its row.
        assert_eq!(expand(&[9, 1], 4, 1, false).unwrap(), [1; 4]);
    }
}
