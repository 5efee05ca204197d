//! Uncompressed or losslessly compressed YCbCr with fewer colour samples than luma
//! samples (TIFF 6.0, section 21).

use std::io::{Read, Result};

use crate::decode::tiff::layout::{Layout, Photometric, broken, tag};
use crate::error::ImageError;
use crate::ifd::Directory;

/// The luma samples for each colour sample, horizontally and vertically.
///
/// # Errors
/// `Broken` for factors that do not exist, `Unsupported` with other than 8 bits or
/// with planes.
pub(super) fn subsampling(layout: &Layout<'_>) -> std::result::Result<[usize; 2], ImageError> {
    if layout.photometric != Photometric::YCbCr {
        return Ok([1, 1]);
    }
    let factors = sampling_factors(&layout.directory)?;
    if layout.bits != 8 || layout.compression.is_fax() {
        return Err(ImageError::unsupported(format!(
            "a TIFF with YCbCr samples of {} bits",
            layout.bits
        )));
    }
    let is_simple = !layout.is_planar && layout.samples == 3 && layout.predictor == 1;
    if factors != [1, 1] && !is_simple {
        let found = "a TIFF with YCbCr subsampling in planes or with a predictor";
        return Err(ImageError::unsupported(found));
    }
    Ok(factors)
}

/// The factors as the directory has them.
///
/// # Errors
/// `Broken` for factors that do not exist.
pub(super) fn sampling_factors(
    directory: &Directory<'_>,
) -> std::result::Result<[usize; 2], ImageError> {
    let values = directory.get(tag::YCBCR_SUBSAMPLING);
    let factor = |at| values.map_or(Some(2), |values| values.uint(at));
    match (factor(0), factor(1)) {
        (Some(h @ (1 | 2 | 4)), Some(v @ (1 | 2 | 4))) => Ok([h as usize, v as usize]),
        _ => Err(broken("its YCbCr subsampling is not 1, 2 or 4")),
    }
}

/// A reader of rows with three samples per pixel.
pub(super) struct Subsampled<R> {
    inner: R,
    width: usize,
    factors: [usize; 2],
    /// Units of luma samples with one sample of each colour.
    units: Vec<u8>,
    /// `[width, 3]`, and how much of it has been read.
    row: Vec<u8>,
    read: usize,
    /// The next row in the units.
    next: usize,
}

impl<R: Read> Subsampled<R> {
    /// Reads units from `inner` for rows of `width` pixels.
    pub(super) fn new(inner: R, width: u32, factors: [usize; 2]) -> Self {
        let width = width as usize;
        let [h, v] = factors;
        Self {
            inner,
            width,
            factors,
            units: vec![0; width.div_ceil(h) * (h * v + 2)],
            row: vec![0; 3 * width],
            read: 3 * width,
            next: v,
        }
    }

    fn next_row(&mut self) -> Result<()> {
        let [h, v] = self.factors;
        if self.next == v {
            self.inner.read_exact(&mut self.units)?;
            self.next = 0;
        }
        for (x, pixel) in self.row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let unit = &self.units[x / h * (h * v + 2)..];
            *pixel = [unit[self.next * h + x % h], unit[h * v], unit[h * v + 1]];
        }
        self.next += 1;
        self.read = 0;
        Ok(())
    }
}

impl<R: Read> Read for Subsampled<R> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        if self.read == 3 * self.width {
            self.next_row()?;
        }
        let length = (&self.row[self.read..]).read(to)?;
        self.read += length;
        Ok(length)
    }
}
