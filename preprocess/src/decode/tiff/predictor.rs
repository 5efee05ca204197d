//! Undoes the predictors of TIFF: differences between neighbours (section 14), and
//! differences of the bytes of floats (Adobe, TIFF Technical Note 3).

use crate::decode::tiff::layout::Layout;
use crate::ifd::ByteOrder;

/// Turns the differences in a row into samples, in place. The bytes of floats are
/// left in big-endian order.
pub(super) fn undo(layout: &Layout<'_>, row: &mut [u8]) {
    let stride = if layout.is_planar { 1 } else { layout.samples };
    match (layout.predictor, layout.bits) {
        (2, 8) => {
            for i in stride..row.len() {
                row[i] = row[i].wrapping_add(row[i - stride]);
            }
        }
        (2, 16) => sum::<2>(row, stride, layout.file.order),
        (2, 32) => sum::<4>(row, stride, layout.file.order),
        (2, 64) => sum::<8>(row, stride, layout.file.order),
        (3, bits) => {
            for i in stride..row.len() {
                row[i] = row[i].wrapping_add(row[i - stride]);
            }
            // The highest bytes of all samples come first.
            let size = bits / 8;
            let planes = row.to_vec();
            let count = row.len() / size;
            for (i, sample) in row.chunks_exact_mut(size).enumerate() {
                for (byte, to) in sample.iter_mut().enumerate() {
                    *to = planes[byte * count + i];
                }
            }
        }
        _ => {}
    }
}

/// Adds each sample of `N` bytes to the one `stride` samples after it.
fn sum<const N: usize>(row: &mut [u8], stride: usize, order: ByteOrder) {
    let samples = row.as_chunks_mut::<N>().0;
    for i in stride..samples.len() {
        let before = order.uint(&samples[i - stride]);
        let value = order.uint(&samples[i]).wrapping_add(before);
        match order {
            ByteOrder::Little => samples[i].copy_from_slice(&value.to_le_bytes()[..N]),
            ByteOrder::Big => samples[i].copy_from_slice(&value.to_be_bytes()[8 - N..]),
        }
    }
}
