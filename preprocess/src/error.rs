//! The reasons why an image cannot be read.

use crate::format::{Format, SUPPORTED};

/// Why an image could not be read.
///
/// Every variant except `Cancelled` describes the input: the caller who supplied
/// the bytes can correct it. The display text states what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImageError {
    /// The input is empty.
    #[error("the image is empty (0 bytes): send the content of a {SUPPORTED} file")]
    Empty,

    /// The input is not in a supported format, or uses a feature of a supported
    /// format that no decoder here implements. The data may be intact.
    #[error(
        "the data is {found}, which is not supported: convert it to {SUPPORTED} and send it again"
    )]
    Unsupported {
        /// What was detected, with its article, as in "a PDF document".
        found: String,
    },

    /// The input is a text that stands for an image, such as base64.
    #[error(
        "the data is {found}, not the image itself: send the content of the image file, or send \
         base64 as JSON, {{\"image\": \"<base64>\"}}, with `content-type: application/json`"
    )]
    Text {
        /// What was detected, with its article.
        found: &'static str,
    },

    /// The header declares more pixels than `Limits::max_pixels` allows. No pixel
    /// was decoded and no memory was allocated for pixels.
    #[error(
        "the image is {width} x {height} = {pixels} pixels and the limit is {limit}: \
         scale it down and send it again"
    )]
    TooLarge {
        /// Width in pixels, from the header.
        width: u64,
        /// Height in pixels, from the header.
        height: u64,
        /// `width * height`.
        pixels: u64,
        /// The largest number of pixels that is accepted.
        limit: u64,
    },

    /// The format was detected, but the content is damaged or incomplete.
    #[error(
        "the {format} image is broken: {reason}; if an image viewer can open it, save it \
         again and send the new file, otherwise send the original file again"
    )]
    Broken {
        /// The format detected from the first bytes.
        format: Format,
        /// What is wrong, in a few words.
        reason: String,
    },

    /// Decoded pixels whose number does not fit their width and height.
    #[error(
        "{bytes} bytes are not an image of {width} x {height} RGB pixels: send 3 bytes for each \
         pixel, and at least one pixel"
    )]
    Shape {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes of the pixels.
        bytes: usize,
    },

    /// Decoding stopped because the caller of `read_unless` asked for it.
    #[error("decoding was cancelled, as nothing waits for the image")]
    Cancelled,
}

impl ImageError {
    /// The content of a file in this format is damaged.
    pub(crate) fn broken(format: Format, reason: impl ToString) -> Self {
        Self::Broken {
            format,
            reason: reason.to_string(),
        }
    }

    /// The file ends before the data of its last pixel.
    pub(crate) fn truncated(format: Format) -> Self {
        Self::broken(format, "the file ends before its last pixel")
    }

    /// `found` names the unsupported content, with its article.
    pub(crate) fn unsupported(found: impl Into<String>) -> Self {
        Self::Unsupported {
            found: found.into(),
        }
    }
}
