//! The errors of `heic-decoder` in plain words.

use heic_decoder::HeifError;

use crate::error::ImageError;
use crate::format::Format;

/// What is not supported, by a word of the decoder's error. The first that is found
/// counts.
const FEATURES: [(&str, &str); 15] = [
    ("P picture", "a picture that is predicted from another"),
    ("P slice", "a picture that is predicted from another"),
    ("I/P slices", "a picture that is predicted from another"),
    ("non-IRAP", "a picture that is predicted from another"),
    ("predict", "a picture that is predicted from another"),
    ("motion", "a picture that is predicted from another"),
    ("inter:", "a picture that is predicted from another"),
    ("hvc1", "pictures of another codec than HEVC"),
    ("slice", "a picture in several slices"),
    ("multi-tile", "a picture in several HEVC tiles"),
    ("bit depth", "bit depths of a rare kind"),
    ("RGB", "colours of a rare kind"),
    ("chroma", "colours of a rare kind"),
    ("clap", "a crop at fractions of a pixel"),
    ("alpha", "alpha of a rare kind"),
];

/// An error of the boxes of the file.
pub(super) fn in_file(error: HeifError) -> ImageError {
    match error {
        HeifError::Truncated { .. } => ImageError::truncated(Format::Heic),
        error => convert(error, "its boxes are damaged or incomplete"),
    }
}

/// An error of the coded pictures, which are all there.
pub(super) fn in_picture(error: HeifError) -> ImageError {
    convert(error, "its data is damaged")
}

fn convert(error: HeifError, damage: &str) -> ImageError {
    match error {
        HeifError::Unsupported(feature) => {
            let known = FEATURES.iter().find(|(word, _)| feature.contains(word));
            let name = known.map_or("a rare structure", |(_, name)| name);
            ImageError::unsupported(format!("a HEIC image with {name}"))
        }
        HeifError::LimitExceeded(_) => {
            ImageError::broken(Format::Heic, "its parts are larger than any image")
        }
        _ => ImageError::broken(Format::Heic, damage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_features_are_named() {
        for (feature, name) in [
            (
                "decode: multiple slices require intra coding and disabled loop filters",
                "a picture in several slices",
            ),
            (
                "slice header: only I/P slices are supported",
                "a picture that is predicted from another",
            ),
            (
                "decode: non-IRAP slice NAL in a still image",
                "a picture that is predicted from another",
            ),
            (
                "resolved image item is not type 'hvc1' or 'grid'",
                "pictures of another codec than HEVC",
            ),
            ("iref: version", "a rare structure"),
        ] {
            let expected = ImageError::unsupported(format!("a HEIC image with {name}"));
            assert_eq!(in_file(HeifError::Unsupported(feature)), expected);
        }
        let error = in_picture(HeifError::Truncated { at: 9, needed: 1 });
        assert!(error.to_string().contains("its data is damaged"), "{error}");
    }
}
