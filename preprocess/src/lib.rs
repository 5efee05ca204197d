//! Converts image files to the input pixels of an image classifier, as Pillow and
//! torchvision do: decode, apply the EXIF orientation, resize, crop.
//!
//! [`read`] takes the content of an image file in any format of [`Format`] and
//! returns `[S, S, 3]` RGB pixels:
//!
//! ```
//! use resnet_preprocess::{Limits, Preprocessing, read};
//!
//! // Any image file will do; this one is a red PPM of 640 x 480 pixels.
//! let mut file = b"P6 640 480 255\n".to_vec();
//! file.extend([200, 30, 30].repeat(640 * 480));
//!
//! // Resize the short side to 256 pixels, crop the centre 224 x 224.
//! let pixels = read(&file, &Preprocessing::imagenet(), &Limits::default())?;
//! assert_eq!(pixels.0.len(), 224 * 224 * 3);
//! assert_eq!(pixels.0[..3], [200, 30, 30]);
//! # Ok::<(), resnet_preprocess::ImageError>(())
//! ```
//!
//! For lossless formats with 8 bits per channel, for lossy WebP, and for JPEG decoded
//! at full size, the pixels are identical to those of Pillow and torchvision. Samples of
//! 16 bits are reduced to their high byte, as Pillow does for RGB; those of PPM are
//! rounded. Alpha is dropped, as by Pillow's `convert("RGB")`. A JPEG that is much larger
//! than needed is decoded at 1/2, 1/4 or 1/8 of its size, and only the part inside the
//! crop is decoded. This makes decoding faster; the pixels then differ slightly from
//! those of a full-size decode. A progressive JPEG that ends without its last scans, but
//! with an end mark, is decoded without the smoothing of libjpeg.
//!
//! Colour profiles are not applied, as by Pillow. JPEG XL is the exception: the colours
//! of its lossy images are independent of a profile, and its lossless images may name
//! a standard colour space. Both become sRGB, as `djxl --color_space` does, and HDR
//! images (PQ and HLG) are reduced to the brightness of sRGB.
//!
//! # Path of an image
//!
//! | step | file |
//! |---|---|
//! | detect the format | `sniff/`, `format.rs` |
//! | check the size, count the work | `limits.rs` |
//! | compute the crop | `crop.rs`, `orientation.rs`, `filter.rs` |
//! | decode | `decode/`: a module for each format |
//! | resize the part inside the crop | `resize/` |
//! | orient, pad and interleave | `output.rs` |

mod crop;
mod decode;
mod error;
mod filter;
mod format;
mod ifd;
mod limits;
mod orientation;
mod output;
mod resize;
mod sniff;
mod support;

pub use weights::{Interpolation, Preprocessing, Resize};

pub use crop::Crop;
pub use decode::is_decoding;
pub use error::ImageError;
pub use format::{EXTENSIONS, Format};
pub use limits::Limits;

use crate::crop::Target;
use crate::decode::decoded::DecodedImage;
use crate::limits::Budget;
use crate::support::simd::Simd;

/// The input of a network before normalisation: RGB, 8 bits per channel, in rows
/// from the top, `[S, S, 3]`.
///
/// `S` is the side of the crop. The conversion to floats and the normalisation by
/// mean and standard deviation are done by the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels(pub Vec<u8>);

/// Decodes an image file and applies `preprocessing` (except normalisation). The
/// format is detected from the content.
///
/// # Errors
/// [`ImageError`] if the image cannot be read or exceeds `limits`.
pub fn read(
    bytes: &[u8],
    preprocessing: &Preprocessing,
    limits: &Limits,
) -> Result<Pixels, ImageError> {
    read_unless(bytes, preprocessing, limits, &|| false)
}

/// As [`read`], but decoding stops soon after `is_cancelled` returns true, for
/// example because of a deadline. It is called often and should be fast.
///
/// # Errors
/// As [`read`], and `Cancelled`.
pub fn read_unless(
    bytes: &[u8],
    preprocessing: &Preprocessing,
    limits: &Limits,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Pixels, ImageError> {
    let budget = Budget::new(limits, is_cancelled);
    read_with(Simd::best(), bytes, preprocessing, &budget)
}

/// As [`read_unless`]; also returns which part of the photo the pixels show.
///
/// # Errors
/// As [`read_unless`].
pub fn read_with_crop(
    bytes: &[u8],
    preprocessing: &Preprocessing,
    limits: &Limits,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<(Pixels, Crop), ImageError> {
    let budget = Budget::new(limits, is_cancelled);
    let resized = resized(Simd::best(), bytes, Target::Input(preprocessing), &budget)?;
    Ok((Pixels(resized.rgb), resized.crop))
}

/// The format of an image file, by its first bytes; `None` if it is not supported.
#[must_use]
pub fn detect(bytes: &[u8]) -> Option<Format> {
    sniff::sniff(bytes).ok()
}

/// A whole upright photo: RGB, 8 bits per channel, in rows from the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

/// Decodes an image file whole and upright. A photo with more than `longest`
/// pixels on its longer side is reduced to that.
///
/// # Errors
/// As [`read`].
pub fn photo(bytes: &[u8], longest: u32, limits: &Limits) -> Result<Photo, ImageError> {
    let budget = Budget::new(limits, &|| false);
    let resized = resized(Simd::best(), bytes, Target::Whole { longest }, &budget)?;
    let [width, height] = resized.size;
    Ok(Photo {
        width,
        height,
        rgb: resized.rgb,
    })
}

/// As [`read_with_crop`], of a photo that is decoded already.
///
/// # Errors
/// `Shape` if the bytes are not one whole photo, `TooLarge` above the limit.
pub fn resize_photo(
    photo: Photo,
    preprocessing: &Preprocessing,
    limits: &Limits,
) -> Result<(Pixels, Crop), ImageError> {
    let Photo { width, height, rgb } = photo;
    limits.check_photo(width, height, rgb.len())?;
    let image = DecodedImage::upright([width, height], 3, rgb);
    let resized = resized_image(Simd::best(), &image, Target::Input(preprocessing));
    Ok((Pixels(resized.rgb), resized.crop))
}

fn read_with(
    simd: Simd,
    bytes: &[u8],
    preprocessing: &Preprocessing,
    budget: &Budget<'_>,
) -> Result<Pixels, ImageError> {
    let resized = resized(simd, bytes, Target::Input(preprocessing), budget)?;
    Ok(Pixels(resized.rgb))
}

/// An upright image, resized and cropped.
struct Resized {
    /// Width and height.
    size: [u32; 2],
    /// `[height, width, 3]`.
    rgb: Vec<u8>,
    crop: Crop,
}

fn resized(
    simd: Simd,
    bytes: &[u8],
    target: Target<'_>,
    budget: &Budget<'_>,
) -> Result<Resized, ImageError> {
    let format = sniff::sniff(bytes)?;
    let image = decode::decode(simd, bytes, format, target, budget)?;
    Ok(resized_image(simd, &image, target))
}

/// A decoded image, resized, cropped and upright.
fn resized_image(simd: Simd, image: &DecodedImage, target: Target<'_>) -> Resized {
    let orientation = image.orientation;
    let photo = orientation.swap_axes(image.size);
    let axes = target.axes(photo);
    let size = target.size(axes);
    let stored_crop = orientation.stored_crop(axes);
    let resized = resize::resize(simd, image, stored_crop, target.filter());
    Resized {
        size,
        rgb: output::upright_rgb(simd, &resized, axes, orientation, size),
        crop: Crop::new(photo, axes, size),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The images in `tests/images`.
    fn test_images() -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
        let mut images = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !["py", "md", "safetensors"]
                .iter()
                .any(|e| name.ends_with(e))
            {
                images.push((name, std::fs::read(path).unwrap()));
            }
        }
        images
    }

    fn preprocessing(side: u32, crop: u32, interpolation: Interpolation) -> Preprocessing {
        Preprocessing {
            resize: Resize::ShortSide(side),
            crop,
            interpolation,
            ..Preprocessing::imagenet()
        }
    }

    #[test]
    fn all_instruction_sets_give_the_same_pixels_and_errors() {
        let limits = Limits {
            max_pixels: 1_000_000,
        };
        let variants = [
            preprocessing(18, 16, Interpolation::Bilinear),
            preprocessing(40, 33, Interpolation::Lanczos),
        ];
        for (name, mut image) in test_images() {
            for damage in 0..8 {
                for preprocessing in &variants {
                    let [portable, others @ ..] = &Simd::all()
                        .map(|simd| {
                            let budget = Budget::new(&limits, &|| false);
                            read_with(simd, &image, preprocessing, &budget)
                        })
                        .collect::<Vec<_>>()[..]
                    else {
                        panic!("no instruction set is supported");
                    };
                    assert!(damage > 0 || portable.is_ok(), "{name}");
                    for other in others {
                        assert_eq!(other, portable, "{name}, {damage} bytes damaged");
                    }
                }
                let at = image.len() * (damage + 9) / 18;
                image[at] = image[at].wrapping_add(97);
            }
        }
    }

    #[test]
    fn a_decoded_photo_is_resized_as_its_file_is() {
        let imagenet = Preprocessing::imagenet();
        let limits = Limits::default();
        let file =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images/rgb.png"));
        let file = file.unwrap();
        let whole = photo(&file, u32::MAX, &limits).unwrap();
        let expected = read_with_crop(&file, &imagenet, &limits, &|| false).unwrap();
        assert_eq!(
            resize_photo(whole.clone(), &imagenet, &limits),
            Ok(expected)
        );

        let (width, height) = (whole.width, whole.height);
        let small = Limits {
            max_pixels: u64::from(width * height) - 1,
        };
        let large = resize_photo(whole.clone(), &imagenet, &small);
        assert!(
            matches!(large, Err(ImageError::TooLarge { .. })),
            "{large:?}"
        );
        for wrong in [
            Photo {
                width: width + 1,
                ..whole.clone()
            },
            Photo {
                height: 0,
                ..whole.clone()
            },
            Photo {
                width: 0,
                height: 0,
                rgb: Vec::new(),
            },
        ] {
            let found = resize_photo(wrong, &imagenet, &limits);
            assert!(matches!(found, Err(ImageError::Shape { .. })), "{found:?}");
        }
    }

    #[test]
    fn decoding_only_the_crop_gives_the_pixels_of_the_whole_image() {
        let limits = Limits::default();
        for (name, image) in test_images() {
            if !["jpg", "png"].iter().any(|e| name.ends_with(e)) {
                continue;
            }
            let whole = preprocessing(40, 200, Interpolation::Bicubic);
            let part = preprocessing(40, 22, Interpolation::Bicubic);
            let whole = read(&image, &whole, &limits).unwrap().0;
            let part = read(&image, &part, &limits).unwrap().0;
            // The offsets of padding and cropping may differ by one pixel, as they
            // are rounded differently.
            let is_equal_at = |[dx, dy]: [usize; 2]| {
                part.chunks_exact(22 * 3).enumerate().all(|(y, row)| {
                    let at = ((y + 88 + dy) * 200 + 88 + dx) * 3;
                    row == &whole[at..at + 22 * 3]
                })
            };
            assert!(
                [[0, 0], [0, 1], [1, 0], [1, 1]]
                    .into_iter()
                    .any(is_equal_at),
                "{name}"
            );
        }
    }
}
