//! From the bytes of a photo to the pixels a network reads: sniff, decode,
//! resize, crop, turn upright.

mod bitmap;
mod buffer;
mod crop;
mod decode;
mod error;
mod filter;
mod gif;
mod jpeg;
mod orientation;
mod place;
mod resize;
mod simd;
mod sniff;
mod transpose;

use weights::Recipe;

pub use error::{PhotoError, SUPPORTED};
pub use sniff::Format;

use bitmap::Picture;
use orientation::Orientation;
use simd::Level;

/// What the network reads: `[S, S, 3]` RGB, 8 bits, `S` being the recipe's
/// crop. Scaling to floats and normalising are the model's.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels(pub Vec<u8>);

/// What a photo may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most pixels (width times height) that are decoded. Memory follows:
    /// at most about 8 bytes a pixel, most often 3.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 50 million: the largest photos that phones take by themselves.
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
        }
    }
}

impl Limits {
    /// Refuses a photo by its header.
    fn check(&self, format: Format, width: u32, height: u32) -> Result<(), PhotoError> {
        let (width, height) = (u64::from(width), u64::from(height));
        let (pixels, limit) = (width * height, self.max_pixels);
        match pixels {
            0 => Err(PhotoError::broken(format, "it has no pixels")),
            _ if pixels > limit => Err(PhotoError::TooLarge {
                width,
                height,
                pixels,
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// The bytes a decoder may take at once: four channels of 16 bits.
    fn memory(&self) -> u64 {
        self.max_pixels.saturating_mul(8).max(1 << 20)
    }
}

/// A decoded photo, as it lies in the file.
struct Decoded {
    /// Width and height in the file.
    size: [u32; 2],
    /// Pixels of the picture per pixel of the file: 1, or less for a JPEG that
    /// was decoded small. The picture then has `size * scale` pixels, rounded up.
    scale: f64,
    orientation: Orientation,
    picture: Picture,
}

/// Reads a photo as `recipe` wants it.
///
/// # Errors
/// See [`PhotoError`]: all but one are the sender's.
pub fn read(bytes: &[u8], recipe: &Recipe, limits: &Limits) -> Result<Pixels, PhotoError> {
    read_at(Level::best(), bytes, recipe, limits)
}

fn read_at(
    level: Level,
    bytes: &[u8],
    recipe: &Recipe,
    limits: &Limits,
) -> Result<Pixels, PhotoError> {
    let photo = match sniff::sniff(bytes)? {
        Format::Jpeg => jpeg::decode(level, bytes, recipe, limits)?,
        Format::Gif => gif::decode(bytes, limits)?,
        format => decode::decode(bytes, format, limits)?,
    };
    let orientation = photo.orientation;
    let [width, height] = orientation.swap(photo.size);
    let upright = crop::sides(width, height, recipe);
    let stored = orientation.stored(upright);
    let kept = resize::resize(level, &photo, stored, recipe.interpolation);
    let pixels = place::place(level, &kept, upright, orientation, recipe.crop);
    Ok(Pixels(pixels))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use weights::{Interpolation, Resize};

    /// The small photos that travel with the code.
    fn samples() -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/photos");
        let mut photos = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !["py", "md", "safetensors"]
                .iter()
                .any(|e| name.ends_with(e))
            {
                photos.push((name, std::fs::read(path).unwrap()));
            }
        }
        photos
    }

    fn recipe(side: u32, crop: u32, interpolation: Interpolation) -> Recipe {
        Recipe {
            resize: Resize::ShortSide(side),
            crop,
            interpolation,
            ..Recipe::imagenet()
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_pixels_and_errors() {
        let limits = Limits {
            max_pixels: 1_000_000,
        };
        let recipes = [
            recipe(18, 16, Interpolation::Bilinear),
            recipe(40, 33, Interpolation::Lanczos),
        ];
        for (name, mut photo) in samples() {
            for damage in 0..8 {
                for recipe in &recipes {
                    let [plain, rest @ ..] = &Level::all()
                        .map(|level| read_at(level, &photo, recipe, &limits))
                        .collect::<Vec<_>>()[..]
                    else {
                        panic!("no instruction set at all");
                    };
                    assert!(damage > 0 || plain.is_ok(), "{name}");
                    for other in rest {
                        assert_eq!(other, plain, "{name}, damage {damage}");
                    }
                }
                let at = photo.len() * (damage + 9) / 18;
                photo[at] = photo[at].wrapping_add(97);
            }
        }
    }

    #[test]
    fn what_the_crop_keeps_does_not_depend_on_what_it_leaves() {
        // All of a photo, resized and then cropped by hand, is the crop that
        // was never decoded around.
        let limits = Limits::default();
        for (name, photo) in samples() {
            if !["jpg", "png"].iter().any(|e| name.ends_with(e)) {
                continue;
            }
            let whole = recipe(40, 200, Interpolation::Bicubic);
            let part = recipe(40, 22, Interpolation::Bicubic);
            let whole = read(&photo, &whole, &limits).unwrap().0;
            let part = read(&photo, &part, &limits).unwrap().0;
            // Padding and cropping round half a pixel apart.
            let fits = |[dx, dy]: [usize; 2]| {
                part.chunks_exact(22 * 3).enumerate().all(|(y, row)| {
                    let at = ((y + 88 + dy) * 200 + 88 + dx) * 3;
                    row == &whole[at..at + 22 * 3]
                })
            };
            assert!(
                [[0, 0], [0, 1], [1, 0], [1, 1]].into_iter().any(fits),
                "{name}"
            );
        }
    }
}
