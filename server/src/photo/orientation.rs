//! Which way up: the orientation tag of EXIF (1..8), as the way through the
//! stored pixels that shows the photo upright.

use super::crop::Side;

/// How the stored pixels lie. An upright photo has `Orientation::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Orientation {
    /// Stored rows are upright columns.
    pub transposed: bool,
    /// Stored pixels of a row run against the upright direction.
    pub flip_x: bool,
    /// Stored rows run against the upright direction.
    pub flip_y: bool,
}

impl Orientation {
    /// From the value of the tag, CIPA DC-008 (EXIF 2.32), 4.6.4; anything
    /// else than 2..8 is upright.
    #[must_use]
    pub(super) fn from_tag(value: u8) -> Self {
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

    /// From an EXIF block that begins with its TIFF header.
    #[must_use]
    pub(super) fn from_exif(block: &[u8]) -> Self {
        image::metadata::Orientation::from_exif_chunk(block).map_or_else(Self::default, Self::from)
    }

    /// The pair (across, down) of the upright photo for that of the stored
    /// one, or the other way round.
    #[must_use]
    pub(super) fn swap<T>(self, [across, down]: [T; 2]) -> [T; 2] {
        if self.transposed {
            [down, across]
        } else {
            [across, down]
        }
    }

    /// The sides of the stored photo for those of the upright one.
    #[must_use]
    pub(super) fn stored(self, upright: [Side; 2]) -> [Side; 2] {
        let [across, down] = self.swap(upright);
        let turn = |side: Side, flip| if flip { side.mirrored() } else { side };
        [turn(across, self.flip_x), turn(down, self.flip_y)]
    }
}

impl From<image::metadata::Orientation> for Orientation {
    fn from(orientation: image::metadata::Orientation) -> Self {
        Self::from_tag(orientation.to_exif())
    }
}
