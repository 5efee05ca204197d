//! The orientation tag of EXIF (1..8), as a transposition and two flips that
//! turn the stored pixels into the upright image.

use crate::crop::CropAxis;

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

    /// From an EXIF block that starts with its TIFF header. A block without a
    /// valid orientation means upright.
    #[must_use]
    pub(crate) fn from_exif(block: &[u8]) -> Self {
        image::metadata::Orientation::from_exif_chunk(block).map_or_else(Self::default, Self::from)
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

impl From<image::metadata::Orientation> for Orientation {
    fn from(orientation: image::metadata::Orientation) -> Self {
        Self::from_tag(orientation.to_exif())
    }
}
