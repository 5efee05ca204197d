//! The orientation tag of EXIF (1..8), as a transposition and two flips that
//! turn the stored pixels into the upright image.

use crate::crop::CropAxis;
use crate::ifd::{Directory, TiffFile};

/// The tag (EXIF 2.32, 4.6.4; TIFF 6.0, section 8).
const ORIENTATION: u16 = 0x0112;

/// How the stored pixels are oriented. The default is upright.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Orientation {
    /// Stored rows are columns of the upright image.
    pub transposed: bool,
    /// Pixels within a stored row are in reverse order.
    pub flip_x: bool,
    /// Stored rows are in reverse order.
    pub flip_y: bool,
}

impl Orientation {
    /// From the value of the tag (CIPA DC-008, EXIF 2.32, 4.6.4). Values other
    /// than 2..8 mean upright.
    #[must_use]
    pub(crate) fn from_tag(value: u8) -> Self {
        let (transposed, flip_x, flip_y) = match value {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (true, true, false),
            _ => (false, false, false),
        };
        Self {
            transposed,
            flip_x,
            flip_y,
        }
    }

    /// The first valid orientation in an EXIF block, if there is one. As in
    /// Pillow, the TIFF header may follow the prefix that JPEG uses, once or
    /// twice.
    #[must_use]
    pub(crate) fn find_in_exif(mut block: &[u8]) -> Option<Self> {
        for _ in 0..2 {
            block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        }
        Self::find_in_directory(&TiffFile::new(block)?.first_directory()?)
    }

    /// The first valid orientation of a TIFF image. As in Pillow, the value may
    /// have any numeric type, but not that of single bytes.
    #[must_use]
    pub(crate) fn find_in_directory(directory: &Directory<'_>) -> Option<Self> {
        let numbers = directory.all(ORIENTATION).filter(|v| !v.is_bytes());
        let valid = |number| (1..=8).find(|&value| f64::from(value) == number);
        let value = numbers.filter_map(|v| v.number(0)).find_map(valid)?;
        Some(Self::from_tag(value))
    }

    /// The orientation in an XMP packet, which Pillow uses if EXIF has none.
    #[must_use]
    pub(crate) fn find_in_xmp(packet: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"tiff:Orientation";
        memchr::memmem::find_iter(packet, NAME).find_map(|at| {
            let rest = &packet[at + NAME.len()..];
            let value = rest
                .strip_prefix(b"=\"")
                .or_else(|| rest.strip_prefix(b">"))?;
            let value = value.first()?.wrapping_sub(b'0');
            (1..=8).contains(&value).then(|| Self::from_tag(value))
        })
    }

    /// Converts a (horizontal, vertical) pair between the stored and the upright
    /// image: swaps it if the image is stored transposed.
    #[must_use]
    pub(crate) fn swap_axes<T>(self, [horizontal, vertical]: [T; 2]) -> [T; 2] {
        if self.transposed {
            [vertical, horizontal]
        } else {
            [horizontal, vertical]
        }
    }

    /// Converts the crop of the upright image to the crop of the stored image.
    #[must_use]
    pub(crate) fn stored_crop(self, upright: [CropAxis; 2]) -> [CropAxis; 2] {
        let [horizontal, vertical] = self.swap_axes(upright);
        let flip = |axis: CropAxis, flipped| if flipped { axis.mirrored() } else { axis };
        [flip(horizontal, self.flip_x), flip(vertical, self.flip_y)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with the given prefix, type and values of the tag.
    fn exif(prefix: &[u8], kind: u8, values: &[u8]) -> Vec<u8> {
        let mut block = prefix.to_vec();
        block.extend([b'M', b'M', 0, 42, 0, 0, 0, 8, 0, values.len() as u8]);
        for &value in values {
            let field = match kind {
                1 | 2 | 6 | 7 => [value, 0, 0, 0],
                3 | 8 => [0, value, 0, 0],
                _ => [0, 0, 0, value],
            };
            block.extend([1, 0x12, 0, kind, 0, 0, 0, 1]);
            block.extend(field);
        }
        block
    }

    /// A block whose value takes eight bytes, after the directory.
    fn long_exif(kind: u8, bytes: [u8; 8]) -> Vec<u8> {
        let mut block = exif(b"", kind, &[26]);
        block.extend([0; 4]);
        block.extend(bytes);
        block
    }

    #[test]
    fn the_first_valid_value_of_any_numeric_type_is_used() {
        let rotated = Some(Orientation::from_tag(6));
        for prefix in [&b""[..], b"Exif\0\0", b"Exif\0\0Exif\0\0"] {
            for kind in [3, 4, 6, 8, 9, 13] {
                for values in [&[6][..], &[6, 1], &[0, 6], &[9, 6, 3]] {
                    let block = exif(prefix, kind, values);
                    assert_eq!(Orientation::find_in_exif(&block), rotated, "{kind}");
                }
            }
        }
        for (kind, [a, b, c, d]) in [
            (5, [0, 0, 0, 6]),
            (10, [0, 0, 0, 6]),
            (12, [0x40, 0x18, 0, 0]),
        ] {
            let denominator = if kind == 12 { 0 } else { 1 };
            let block = long_exif(kind, [a, b, c, d, 0, 0, 0, denominator]);
            assert_eq!(Orientation::find_in_exif(&block), rotated, "{kind}");
        }
        let mut float = exif(b"", 11, &[0]);
        float[18..22].copy_from_slice(&6_f32.to_be_bytes());
        assert_eq!(Orientation::find_in_exif(&float), rotated);
        float[18..22].copy_from_slice(&6.5_f32.to_be_bytes());
        assert_eq!(Orientation::find_in_exif(&float), None);
        for kind in [1, 2, 7] {
            assert_eq!(Orientation::find_in_exif(&exif(b"", kind, &[6])), None);
        }
        for values in [&[][..], &[0], &[9]] {
            assert_eq!(Orientation::find_in_exif(&exif(b"", 3, values)), None);
        }
        let upright = Some(Orientation::default());
        assert_eq!(Orientation::find_in_exif(&exif(b"", 3, &[1, 6])), upright);
        let block = exif(b"", 3, &[6]);
        for cut in 0..block.len() {
            assert_eq!(Orientation::find_in_exif(&block[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn xmp_has_the_orientation_as_an_attribute_or_an_element() {
        let rotated = Some(Orientation::from_tag(8));
        for packet in [
            "<x tiff:Orientation=\"8\"/>",
            "<tiff:Orientation>8</tiff:Orientation>",
            "<tiff:Orientation>0</tiff:Orientation><tiff:Orientation>8<",
        ] {
            assert_eq!(Orientation::find_in_xmp(packet.as_bytes()), rotated);
        }
        assert_eq!(Orientation::find_in_xmp(b"<tiff:Orientation="), None);
    }
}
