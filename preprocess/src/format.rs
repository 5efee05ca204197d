//! The image formats that can be read, and their file name extensions.

use std::fmt;

/// The supported formats, as error texts list them.
pub(crate) const SUPPORTED: &str =
    "JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, JPEG XL, JPEG 2000, ICO, PNM or QOI";

/// File name extensions of the supported formats: lower case, without the dot.
///
/// `read` detects the format from the content alone. These
/// extensions are for programs that search folders for images.
pub const EXTENSIONS: &[&str] = &[
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "ico",
    "cur", "pbm", "pgm", "ppm", "pnm", "pam", "qoi", "heic", "heif", "hif", "jxl", "jp2", "j2k",
    "j2c", "jpf", "jpx",
];

/// An image format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG: baseline, extended sequential or progressive, Huffman-coded, 8 bits.
    Jpeg,
    /// PNG.
    Png,
    /// WebP: lossy, lossless or animated (first frame).
    WebP,
    /// GIF (first frame).
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF (first page).
    Tiff,
    /// HEIC (HEIF with HEVC, primary image).
    Heic,
    /// JPEG XL (first frame).
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// Windows icon or cursor (largest image).
    Ico,
    /// Portable bitmap, greymap, pixmap or arbitrary map (PBM, PGM, PPM, PAM).
    Pnm,
    /// QOI.
    Qoi,
}

impl Format {
    /// Its name in metrics and traces: lower case, without spaces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Heic => "heic",
            Self::JpegXl => "jpeg-xl",
            Self::Jpeg2000 => "jpeg-2000",
            Self::Ico => "ico",
            Self::Pnm => "pnm",
            Self::Qoi => "qoi",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Heic => "HEIC",
            Self::JpegXl => "JPEG XL",
            Self::Jpeg2000 => "JPEG 2000",
            Self::Ico => "ICO",
            Self::Pnm => "PNM",
            Self::Qoi => "QOI",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_lower_case_without_duplicates() {
        for (i, extension) in EXTENSIONS.iter().enumerate() {
            assert!(
                extension
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            );
            assert!(!EXTENSIONS[..i].contains(extension), "{extension}");
        }
    }
}
