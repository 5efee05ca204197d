//! The preprocessing of images: resize, centre crop, normalization. It comes
//! from the checkpoint.

use serde::{Deserialize, Serialize};

/// The resampling filter as Pillow defines it: when an image is reduced, the
/// filter's support grows with the scale ("antialias").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Nearest neighbour.
    Nearest,
    /// Triangle, support 1.
    Bilinear,
    /// Keys' cubic with a = -0.5, support 2.
    Bicubic,
    /// Windowed sinc, support 3.
    Lanczos,
}

/// The resize that precedes the centre crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The short side becomes this many pixels; the long side keeps the
    /// aspect ratio, rounded down as torchvision does.
    ShortSide(u32),
    /// Both sides become this many pixels, whatever the aspect ratio.
    Exact(u32),
}

/// The preprocessing that a network was trained for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// The resize before the crop.
    pub resize: Resize,
    /// Side of the square centre crop in pixels: the network's input size.
    pub crop: u32,
    /// Filter of the resize.
    pub interpolation: Interpolation,
    /// Per-channel mean of pixels scaled to 0..1, RGB.
    pub mean: [f32; 3],
    /// Per-channel standard deviation of pixels scaled to 0..1, RGB.
    pub std: [f32; 3],
}

/// Larger input sides are rejected: one image would take more than 50 MB of f32.
const MAX_SIDE: u32 = 2048;

impl Preprocessing {
    /// Validates the values.
    ///
    /// # Errors
    /// Which value is invalid, and what is allowed.
    pub(crate) fn checked(self) -> Result<Self, String> {
        let (Resize::ShortSide(side) | Resize::Exact(side)) = self.resize;
        if self.crop == 0 || self.crop > MAX_SIDE {
            return Err(format!(
                "the crop is {} pixels; 1 to {MAX_SIDE} are supported",
                self.crop
            ));
        }
        if side < self.crop || side > 2 * MAX_SIDE {
            return Err(format!(
                "the resize to {side} pixels does not match the crop of {} pixels; {} to {} are supported",
                self.crop,
                self.crop,
                2 * MAX_SIDE
            ));
        }
        if let Some(std) = self
            .std
            .iter()
            .find(|std| !(std.is_finite() && **std > 0.0))
        {
            return Err(format!(
                "the standard deviation is {std}; it must be positive and finite"
            ));
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(format!("the mean is {mean}; it must be finite"));
        }
        Ok(self)
    }

    /// torchvision's preprocessing for ImageNet: short side 256, bilinear, crop
    /// 224.
    #[must_use]
    pub fn imagenet() -> Self {
        Self {
            resize: Resize::ShortSide(256),
            crop: 224,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// The preprocessing of the published CIFAR-10 checkpoints: 32 pixels,
    /// ImageNet's mean and standard deviation.
    #[must_use]
    pub fn cifar() -> Self {
        Self {
            resize: Resize::ShortSide(32),
            crop: 32,
            ..Self::imagenet()
        }
    }
}
