//! Which part of the resized photo the network sees: torchvision's `Resize`
//! and `CenterCrop`, as numbers, before any pixel is touched.

use weights::{Recipe, Resize};

/// One side of the upright photo after the resize, and the centre part of it
/// that the crop keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Side {
    /// Length after the resize, in pixels, before the crop.
    pub resized: u64,
    /// First resized pixel that is kept.
    pub first: u64,
    /// How many are kept: the crop's side, or all if there are fewer.
    pub kept: u32,
    /// Black pixels before the first kept one where there are fewer.
    pub pad: u32,
}

impl Side {
    /// The centre `crop` of `resized` pixels, with torchvision's rounding:
    /// half a pixel too many goes to the even side, as Python's `round` has it.
    fn centre(resized: u64, crop: u32) -> Self {
        let wanted = u64::from(crop);
        if resized < wanted {
            let pad = ((wanted - resized) / 2) as u32;
            let kept = resized as u32;
            return Self {
                resized,
                first: 0,
                kept,
                pad,
            };
        }
        let spare = resized - wanted;
        let first = spare / 2 + u64::from(spare % 4 == 3);
        Self {
            resized,
            first,
            kept: crop,
            pad: 0,
        }
    }

    /// The same part, counted from the other end.
    #[must_use]
    pub(super) fn mirrored(self) -> Self {
        let first = self.resized - u64::from(self.kept) - self.first;
        Self { first, ..self }
    }
}

/// The sides (across, down) of an upright photo of `width` x `height` pixels.
#[must_use]
pub(super) fn sides(width: u32, height: u32, recipe: &Recipe) -> [Side; 2] {
    let (w, h) = (u64::from(width), u64::from(height));
    let resized = match recipe.resize {
        Resize::ShortSide(short) if w <= h => [u64::from(short), u64::from(short) * h / w],
        Resize::ShortSide(short) => [u64::from(short) * w / h, u64::from(short)],
        Resize::Exact(side) => [u64::from(side); 2],
    };
    resized.map(|side| Side::centre(side, recipe.crop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_side_rounds_down_and_the_crop_rounds_to_even() {
        // torchvision: 500 x 375 -> 341 x 256; (341 - 224) / 2 = 58.5 -> 58.
        let [across, down] = sides(500, 375, &Recipe::imagenet());
        assert_eq!((across.resized, across.first), (341, 58));
        assert_eq!((down.resized, down.first, down.kept), (256, 16, 224));
        // 343 - 224 = 119; 59.5 -> 60.
        assert_eq!(Side::centre(343, 224).first, 60);
        assert_eq!(Side::centre(343, 224).mirrored().first, 59);
    }

    #[test]
    fn a_small_photo_is_padded() {
        let recipe = Recipe {
            resize: Resize::ShortSide(199),
            ..Recipe::imagenet()
        };
        let [across, down] = sides(10, 1000, &recipe);
        let whole = Side {
            resized: 199,
            first: 0,
            kept: 199,
            pad: 12,
        };
        assert_eq!(across, whole);
        assert_eq!((down.resized, down.first, down.pad), (19_900, 9838, 0));
    }

    #[test]
    fn both_sides_may_be_given() {
        let recipe = Recipe {
            resize: Resize::Exact(248),
            ..Recipe::imagenet()
        };
        let [across, down] = sides(4000, 10, &recipe);
        assert_eq!((across, down.resized, down.first), (down, 248, 12));
    }
}
