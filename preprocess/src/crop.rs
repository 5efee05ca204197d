//! The geometry of torchvision's `Resize` and `CenterCrop`. It is computed
//! before decoding, so that only the pixels inside the crop are decoded.

use weights::{Preprocessing, Resize};

/// One axis, horizontal or vertical, of the resized image, and the centre part
/// of it inside the crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CropAxis {
    /// Length of the whole resized image in pixels.
    pub resized: u64,
    /// The first resized pixel inside the crop.
    pub first: u64,
    /// Resized pixels inside the crop: its side, or `resized` if that is less.
    pub length: u32,
    /// Black pixels before the image if it is smaller than the crop.
    pub padding: u32,
}

impl CropAxis {
    /// The centre `crop` pixels of `resized` pixels. Half-pixel offsets are
    /// rounded to even, as Python's `round` does in torchvision.
    fn centered(resized: u64, crop: u32) -> Self {
        let side = u64::from(crop);
        if resized < side {
            return Self {
                resized,
                first: 0,
                length: resized as u32,
                padding: ((side - resized) / 2) as u32,
            };
        }
        let margins = resized - side;
        Self {
            resized,
            first: margins / 2 + u64::from(margins % 4 == 3),
            length: crop,
            padding: 0,
        }
    }

    /// The same part, counted from the other end of the axis.
    #[must_use]
    pub(crate) fn mirrored(self) -> Self {
        let first = self.resized - u64::from(self.length) - self.first;
        Self { first, ..self }
    }
}

/// The crop (horizontal, vertical) of an upright image of `width` x `height`
/// pixels.
#[must_use]
pub(crate) fn crop_axes(width: u32, height: u32, preprocessing: &Preprocessing) -> [CropAxis; 2] {
    let (w, h) = (u64::from(width), u64::from(height));
    let resized = match preprocessing.resize {
        Resize::ShortSide(short) if w <= h => [u64::from(short), u64::from(short) * h / w],
        Resize::ShortSide(short) => [u64::from(short) * w / h, u64::from(short)],
        Resize::Exact(side) => [u64::from(side); 2],
    };
    resized.map(|length| CropAxis::centered(length, preprocessing.crop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_side_is_rounded_down_and_the_crop_offset_to_even() {
        // torchvision: 500 x 375 -> 341 x 256; (341 - 224) / 2 = 58.5 -> 58.
        let [x, y] = crop_axes(500, 375, &Preprocessing::imagenet());
        assert_eq!((x.resized, x.first), (341, 58));
        assert_eq!((y.resized, y.first, y.length), (256, 16, 224));
        // 343 - 224 = 119; 59.5 -> 60.
        assert_eq!(CropAxis::centered(343, 224).first, 60);
        assert_eq!(CropAxis::centered(343, 224).mirrored().first, 59);
    }

    #[test]
    fn an_image_smaller_than_the_crop_is_padded() {
        let preprocessing = Preprocessing {
            resize: Resize::ShortSide(199),
            ..Preprocessing::imagenet()
        };
        let [x, y] = crop_axes(10, 1000, &preprocessing);
        let padded = CropAxis {
            resized: 199,
            first: 0,
            length: 199,
            padding: 12,
        };
        assert_eq!(x, padded);
        assert_eq!((y.resized, y.first, y.padding), (19_900, 9838, 0));
    }

    #[test]
    fn an_exact_resize_ignores_the_aspect_ratio() {
        let preprocessing = Preprocessing {
            resize: Resize::Exact(248),
            ..Preprocessing::imagenet()
        };
        let [x, y] = crop_axes(4000, 10, &preprocessing);
        assert_eq!((x, y.resized, y.first), (y, 248, 12));
    }
}
