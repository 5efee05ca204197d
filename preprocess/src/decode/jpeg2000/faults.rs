//! The error for damage of any kind.

use crate::error::ImageError;
use crate::format::Format;

pub(super) fn damaged() -> ImageError {
    ImageError::broken(Format::Jpeg2000, "its data is damaged or incomplete")
}
