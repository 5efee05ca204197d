//! How a photo becomes the pixels a network was trained on: resize, crop,
//! normalise. The recipe travels with the weights; nothing else decides it.

use serde::{Deserialize, Serialize};

/// The resampling filter, in Pillow's definition (the kernel is stretched when
/// shrinking, which is what "antialias" means).
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

/// The preprocessing a checkpoint was trained with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Resize before the crop.
    pub resize: Resize,
    /// Side of the square centre crop: the network's input size.
    pub crop: u32,
    /// Filter of the resize.
    pub interpolation: Interpolation,
    /// Per-channel mean of pixels scaled to 0..1, RGB.
    pub mean: [f32; 3],
    /// Per-channel standard deviation of pixels scaled to 0..1, RGB.
    pub std: [f32; 3],
}

/// Input sides beyond this are a mistake or an attack: one photo would take
/// 50 MB of f32.
const LARGEST_SIDE: u32 = 2048;

impl Recipe {
    /// The recipe, if a photo can be prepared by it.
    ///
    /// # Errors
    /// What is impossible about it.
    pub(crate) fn checked(self) -> Result<Self, String> {
        let (Resize::ShortSide(side) | Resize::Exact(side)) = self.resize;
        if self.crop == 0 || self.crop > LARGEST_SIDE {
            return Err(format!(
                "a crop of {} pixels; 1 to {LARGEST_SIDE} are possible",
                self.crop
            ));
        }
        if side < self.crop || side > 2 * LARGEST_SIDE {
            return Err(format!(
                "a resize to {side} pixels before a crop of {}",
                self.crop
            ));
        }
        if let Some(std) = self
            .std
            .iter()
            .find(|std| !(std.is_finite() && **std > 0.0))
        {
            return Err(format!("a standard deviation of {std}"));
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(format!("a mean of {mean}"));
        }
        Ok(self)
    }

    /// torchvision's recipe for ImageNet: short side 256, bilinear, crop 224.
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

    /// CIFAR-10 as the published checkpoints use it: 32 pixels, ImageNet's
    /// mean and deviation.
    #[must_use]
    pub fn cifar() -> Self {
        Self {
            resize: Resize::ShortSide(32),
            crop: 32,
            ..Self::imagenet()
        }
    }
}
