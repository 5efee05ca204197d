//! The geometry of torchvision's `Resize` and `CenterCrop`. It is computed
//! before decoding, so that only the pixels inside the crop are decoded.

use weights::{Interpolation, Preprocessing, Resize};

/// The part of a photo that a network sees, in pixels of the upright photo.
///
/// A network's input of `S` x `S` pixels covers this rectangle evenly: the centre
/// of input pixel (i, j) is at (x + (i + 0.5) * width / S, y + (j + 0.5) * height / S).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Crop {
    /// Width and height of the upright photo.
    pub photo: [u32; 2],
    /// Left edge. Negative if the input was padded because the photo was resized
    /// to less than the crop.
    pub x: f64,
    /// Top edge. Negative as `x`.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Crop {
    /// The rectangle of `axes` (horizontal, vertical) of a photo, for inputs of
    /// `size` pixels.
    pub(crate) fn new(photo: [u32; 2], axes: [CropAxis; 2], size: [u32; 2]) -> Self {
        let along = |axis: usize| {
            let CropAxis {
                resized,
                first,
                padding,
                ..
            } = axes[axis];
            // photo pixels per resized pixel
            let scale = f64::from(photo[axis]) / resized as f64;
            let first = first as f64 - f64::from(padding);
            (first * scale, f64::from(size[axis]) * scale)
        };
        let ((x, width), (y, height)) = (along(0), along(1));
        Self {
            photo,
            x,
            y,
            width,
            height,
        }
    }
}

/// What a photo is resized to.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The input of a network.
    Input(&'a Preprocessing),
    /// The whole photo, with at most this many pixels on its longer side.
    Whole { longest: u32 },
}

impl Target<'_> {
    /// The filter of the resize.
    pub(crate) fn filter(self) -> Interpolation {
        match self {
            Self::Input(preprocessing) => preprocessing.interpolation,
            Self::Whole { .. } => Interpolation::Bilinear,
        }
    }

    /// The crop (horizontal, vertical) of an upright photo of this width and
    /// height.
    pub(crate) fn axes(self, [width, height]: [u32; 2]) -> [CropAxis; 2] {
        let longest = match self {
            Self::Input(preprocessing) => return crop_axes(width, height, preprocessing),
            Self::Whole { longest } => longest,
        };
        let scale = (f64::from(longest) / f64::from(width.max(height))).min(1.0);
        [width, height].map(|length| {
            let length = (f64::from(length) * scale).round().max(1.0) as u32;
            CropAxis::centered(u64::from(length), length)
        })
    }

    /// Width and height of the result; `axes` are those of [`Target::axes`].
    pub(crate) fn size(self, axes: [CropAxis; 2]) -> [u32; 2] {
        match self {
            Self::Input(preprocessing) => [preprocessing.crop; 2],
            Self::Whole { .. } => axes.map(|axis| axis.length),
        }
    }
}

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
fn crop_axes(width: u32, height: u32, preprocessing: &Preprocessing) -> [CropAxis; 2] {
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

    #[test]
    fn the_crop_is_in_pixels_of_the_photo() {
        let imagenet = Preprocessing::imagenet();
        let crop = |photo, preprocessing: &Preprocessing| {
            let target = Target::Input(preprocessing);
            let axes = target.axes(photo);
            Crop::new(photo, axes, target.size(axes))
        };
        // 1000 x 500 -> 512 x 256, of which 144..368 x 16..240 are seen
        let Crop {
            x,
            y,
            width,
            height,
            ..
        } = crop([1000, 500], &imagenet);
        assert_eq!((x, y), (144.0 * 1000.0 / 512.0, 16.0 * 500.0 / 256.0));
        assert_eq!((width, height), (437.5, 437.5));
        // a square resize stretches
        let exact = Preprocessing {
            resize: Resize::Exact(256),
            ..imagenet.clone()
        };
        let Crop {
            x, width, height, ..
        } = crop([1000, 500], &exact);
        assert_eq!((x, width, height), (62.5, 875.0, 437.5));
        // 10 x 100 -> 199 x 1990: 25 black pixels, of which 12 are on the left
        let padded = Preprocessing {
            resize: Resize::ShortSide(199),
            ..imagenet
        };
        let Crop { x, width, .. } = crop([10, 100], &padded);
        assert!((x + 12.0 * 10.0 / 199.0).abs() < 1e-12, "{x}");
        assert!((width - 224.0 * 10.0 / 199.0).abs() < 1e-12, "{width}");
    }

    #[test]
    fn a_whole_photo_is_only_reduced() {
        let size = |photo, longest| {
            let target = Target::Whole { longest };
            target.size(target.axes(photo))
        };
        assert_eq!(size([300, 200], 400), [300, 200]);
        assert_eq!(size([300, 200], 150), [150, 100]);
        assert_eq!(size([1, 40_000_000], 2048), [1, 2048]);
    }
}
