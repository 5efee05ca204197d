//! What can be wrong with a photo. The variant says whose fault it is (always
//! the sender's, but for `Resize`), the text says what to do about it.

use super::sniff::Format;

/// The formats that can be read, as error texts name them.
pub const SUPPORTED: &str = "JPEG, PNG, WebP, GIF, BMP or TIFF";

/// Why a photo could not be read. The number in each variant's first line is
/// the HTTP status that an answer to it deserves.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PhotoError {
    /// 400: there are no bytes at all.
    #[error("the photo is empty (0 bytes): send the bytes of a {SUPPORTED} file")]
    Empty,

    /// 415: the bytes are whole, for all we know, but in a format, or a rare
    /// kind of a known format, that this server does not read.
    #[error("this is {found}, which cannot be read: convert it to {SUPPORTED} and send it again")]
    Unsupported {
        /// What the bytes are, with its article, as in "a PDF document".
        found: String,
    },

    /// 413: the header announces more pixels than the server accepts. Nothing
    /// of the pixels has been decoded, nor memory taken for them.
    #[error(
        "the photo is {width} x {height} = {pixels} pixels and the limit is {limit}: \
         scale it down and send it again"
    )]
    TooLarge {
        /// Width in pixels, as the header says.
        width: u64,
        /// Height in pixels, as the header says.
        height: u64,
        /// `width * height`.
        pixels: u64,
        /// The most pixels a photo may have.
        limit: u64,
    },

    /// 422: the format is known but its content is damaged.
    #[error(
        "the {format} is broken: {reason}; if it opens in a viewer, save it anew and send \
         that, else send it again from the source"
    )]
    Broken {
        /// The format the first bytes announce.
        format: Format,
        /// What was wrong, in a few words.
        reason: String,
    },
}

impl PhotoError {
    /// The content of a file of this format is damaged.
    pub(super) fn broken(format: Format, reason: impl ToString) -> Self {
        Self::Broken {
            format,
            reason: reason.to_string(),
        }
    }

    /// The bytes are `found`, which is named with its article.
    pub(super) fn unsupported(found: impl Into<String>) -> Self {
        Self::Unsupported {
            found: found.into(),
        }
    }
}
