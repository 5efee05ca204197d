//! Samples of TIFF of any type and size, scaled to 8 bits.

use crate::decode::tiff::layout::{Layout, Photometric, SampleFormat};
use crate::decode::tiff::rows::for_each_row;
use crate::error::ImageError;
use crate::ifd::ByteOrder;
use crate::limits::Budget;

/// How samples become 8 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Not at all: they are indices.
    Index,
    /// By their number of bits: up to 8 bits are stretched, of more the highest 8
    /// are kept.
    Bits,
    /// This value is 255.
    Range(f64),
}

impl Scale {
    /// The scale for the samples of an image.
    ///
    /// Integers of more than 16 bits, signed integers of more than 8 bits and
    /// floats are used with different ranges, so the largest value in the image
    /// decides: the range is the smallest of 1 (floats only), 255, 65535 and the
    /// largest value of the type that contains it. For floats beyond 65535, it is
    /// the largest value itself. Negative values are black.
    ///
    /// # Errors
    /// As [`for_each_row`]; `Unsupported` for large palettes.
    pub(super) fn of(layout: &Layout<'_>, budget: &Budget<'_>) -> Result<Self, ImageError> {
        if layout.photometric == Photometric::Palette {
            if layout.bits > 8 {
                let found = "a TIFF with a palette of more than 256 colours";
                return Err(ImageError::unsupported(found));
            }
            return Ok(Self::Index);
        }
        let by_bits = match layout.format {
            SampleFormat::Unsigned => 16,
            SampleFormat::Signed => 8,
            SampleFormat::Float => 0,
        };
        if layout.bits <= by_bits {
            return Ok(Self::Bits);
        }
        let largest = largest(layout, budget)?;
        let type_max = match layout.format {
            SampleFormat::Unsigned => 2_f64.powi(layout.bits as i32) - 1.0,
            SampleFormat::Signed => 2_f64.powi(layout.bits as i32 - 1) - 1.0,
            SampleFormat::Float => largest,
        };
        let ranges: &[f64] = match layout.format {
            SampleFormat::Float => &[1.0, 255.0, 65535.0],
            _ => &[255.0, 65535.0],
        };
        let range = ranges.iter().copied().find(|range| largest <= *range);
        let range = range.filter(|range| *range <= type_max || largest == type_max);
        Ok(Self::Range(range.unwrap_or(type_max)))
    }
}

/// The largest finite value of the colours in the image.
fn largest(layout: &Layout<'_>, budget: &Budget<'_>) -> Result<f64, ImageError> {
    let mut largest = 0.0_f64;
    let width = layout.size[0];
    for_each_row(layout, budget, |row| {
        let columns = layout.chunk[0].min(width - row.x) as usize;
        let per_pixel = if layout.is_planar { 1 } else { layout.samples };
        let colors = layout.photometric.channels().min(per_pixel);
        for pixel in 0..columns {
            for sample in 0..colors {
                let value = value(layout, row.bytes, pixel * per_pixel + sample);
                if value.is_finite() {
                    largest = largest.max(value);
                }
            }
        }
    })?;
    Ok(largest)
}

/// Writes the first `to.len()` samples of a row to `to`.
pub(super) fn unpack(layout: &Layout<'_>, scale: Scale, row: &[u8], to: &mut [u8]) {
    let bits = layout.bits;
    match (scale, bits) {
        (Scale::Range(range), _) => {
            let factor = 255.0 / range.max(f64::MIN_POSITIVE);
            for (i, to) in to.iter_mut().enumerate() {
                // A float that is not a number is 0.
                *to = (value(layout, row, i) * factor + 0.5) as u8;
            }
        }
        (_, 8) => to.copy_from_slice(&row[..to.len()]),
        (_, 16) => {
            let high = match layout.order() {
                ByteOrder::Little => 1,
                ByteOrder::Big => 0,
            };
            for (to, from) in to.iter_mut().zip(row.as_chunks::<2>().0) {
                *to = from[high];
            }
        }
        _ => {
            let max = (1_u32 << bits) - 1;
            for (i, to) in to.iter_mut().enumerate() {
                let value = packed(row, i * bits, bits);
                *to = match scale {
                    Scale::Index => value as u8,
                    _ if bits > 8 => (value >> (bits - 8)) as u8,
                    _ => (value * 255 / max) as u8,
                };
            }
        }
    }
}

/// An integer of up to 16 bits that starts at bit `at`, from the highest bit.
fn packed(row: &[u8], at: usize, bits: usize) -> u32 {
    let byte = |i| u32::from(row.get(at / 8 + i).copied().unwrap_or(0));
    let window = byte(0) << 16 | byte(1) << 8 | byte(2);
    window >> (24 - at % 8 - bits) & ((1 << bits) - 1)
}

/// Sample `i` of a row as a number.
fn value(layout: &Layout<'_>, row: &[u8], i: usize) -> f64 {
    let size = layout.bits / 8;
    let bits = layout.order().uint(&row[i * size..][..size]);
    match (layout.format, size) {
        (SampleFormat::Unsigned, _) => bits as f64,
        (SampleFormat::Signed, _) => {
            let unused = 64 - layout.bits;
            ((bits << unused) as i64 >> unused) as f64
        }
        (SampleFormat::Float, 2) => half(bits as u16),
        (SampleFormat::Float, 4) => f32::from_bits(bits as u32).into(),
        (SampleFormat::Float, _) => f64::from_bits(bits),
    }
}

/// A float of 16 bits (IEEE 754, binary16).
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    sign * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_those_of_ieee_754() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x3555, 0.333_251_953_125),
            (0x0001, 2_f64.powi(-24)),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn packed_samples_start_at_the_highest_bit() {
        let row = [0b1011_0010, 0b0111_0001, 0b1000_0000];
        let read = |bits, count| -> Vec<u32> {
            (0..count).map(|i| packed(&row, i * bits, bits)).collect()
        };
        assert_eq!(read(1, 8), [1, 0, 1, 1, 0, 0, 1, 0]);
        assert_eq!(read(4, 4), [11, 2, 7, 1]);
        assert_eq!(read(12, 2), [0xb27, 0x180]);
    }
}
