//! HEIC (HEIF with HEVC), decoded with the `heic-decoder` crate: the primary image,
//! also one made of tiles. The container's rotation is applied; the orientation in
//! its EXIF block repeats it and is not used.

mod faults;
mod items;

use heic_decoder::hevc::nal::{NAL_SPS, parse_nal_header};
use heic_decoder::hevc::params::parse_sps;
use heic_decoder::isobmff::{ParsedHeif, ResolvedImage};
use heic_decoder::{ChromaSampling, ChromaUpsampling, ColorInfo, RgbOptions};
use rayon::ThreadPoolBuilder;

use crate::decode::decoded::DecodedImage;
use crate::decode::guard::guard;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// Decodes the primary image.
///
/// # Errors
/// `TooLarge`, `Unsupported` for other codecs than HEVC, or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    items::check(bytes)?;
    let parsed = heic_decoder::isobmff::parse(bytes).map_err(faults::in_file)?;
    check_size(&parsed, budget)?;
    drop(parsed);
    // Tiles are decoded in parallel, but the caller's threads are to be the only ones.
    let pool = ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|_| ImageError::broken(Format::Heic, "no thread could be started"))?;
    let image = pool.install(|| {
        guard(Format::Heic, || {
            let mut image = heic_decoder::decode(bytes).map_err(faults::in_picture)?;
            repeat_chroma(&mut image.chroma_sampling);
            let options = RgbOptions {
                color: Some(color(&image)),
                upsampling: ChromaUpsampling::Nearest,
            };
            image
                .to_rgb8_with_options(&options)
                .map_err(faults::in_picture)
        })
    })?;
    let size = [image.width as u32, image.height as u32];
    Ok(DecodedImage::upright(size, 3, image.data))
}

/// Checks the pixels of everything that will be decoded: the canvas, its tiles, and
/// alpha, which the decoder does not leave out. It takes up to 22 bytes for each,
/// and more with more colour samples.
fn check_size(parsed: &ParsedHeif, budget: &Budget<'_>) -> Result<(), ImageError> {
    let mut coded = Coded {
        pixels: 0,
        largest: [0; 2],
        share: 2,
    };
    coded.add_all(parsed)?;
    if coded.pixels == 0 {
        return Err(ImageError::broken(Format::Heic, "it contains no picture"));
    }
    if let Some(grid) = parsed.grid {
        let (width, height) = (grid.output_width, grid.output_height);
        budget.check_share(Format::Heic, width, height, coded.share)?;
    }
    let [width, height] = coded.largest;
    budget.check_share(Format::Heic, width, height, coded.share)?;
    let limit = (budget.limits().max_pixels / coded.share).max(1 << 16);
    // Alpha has as many pixels as the colours.
    if coded.pixels > 2 * limit {
        let reason = "its tiles have more pixels than the image";
        return Err(ImageError::broken(Format::Heic, reason));
    }
    budget.spend(Format::Heic, coded.pixels.saturating_mul(4))
}

/// The coded pictures of a file.
struct Coded {
    /// Of all pictures.
    pixels: u64,
    /// The largest width and the largest height.
    largest: [u32; 2],
    /// The part of the pixel limit that is allowed.
    share: u64,
}

impl Coded {
    fn add_all(&mut self, parsed: &ParsedHeif) -> Result<(), ImageError> {
        for image in parsed.images.iter().chain(&parsed.reference_image) {
            self.add(image)?;
        }
        match &parsed.alpha {
            Some(alpha) => self.add_all(&alpha.image),
            None => Ok(()),
        }
    }

    /// Adds a picture, with the parser that the decoder uses as well.
    fn add(&mut self, image: &ResolvedImage) -> Result<(), ImageError> {
        for unit in image.hevc_config.nalus_of_type(NAL_SPS) {
            let (_, payload) = parse_nal_header(unit).map_err(faults::in_picture)?;
            let raw = heic_decoder::bitreader::strip_emulation_prevention(payload);
            let set = parse_sps(&raw).map_err(faults::in_picture)?;
            let size = [
                set.pic_width_in_luma_samples,
                set.pic_height_in_luma_samples,
            ];
            let pixels = u64::from(size[0]) * u64::from(size[1]);
            self.pixels = self.pixels.saturating_add(pixels);
            self.largest = [0, 1].map(|axis| self.largest[axis].max(size[axis]));
            self.share = self.share.max(match set.chroma_format_idc {
                0 | 1 => 2,
                2 => 3,
                _ => 4,
            });
        }
        Ok(())
    }
}

/// Repeats each chroma sample for all its luma samples, as libheif does: it is the
/// nearest of them all if it is in their middle.
fn repeat_chroma(sampling: &mut ChromaSampling) {
    sampling.origin_x = (sampling.sub_x as f32 - 1.0) / 2.0;
    sampling.origin_y = (sampling.sub_y as f32 - 1.0) / 2.0;
}

/// The colours of the file. As in libheif, what it does not say is the matrix of
/// BT.601 (5) and the full range, and grey is not scaled from a limited range.
fn color(image: &heic_decoder::DecodedImage) -> ColorInfo {
    const UNSPECIFIED: u16 = 2;
    let mut color = image.color_info.unwrap_or(ColorInfo {
        color_primaries: UNSPECIFIED,
        transfer_characteristics: UNSPECIFIED,
        matrix_coefficients: UNSPECIFIED,
        full_range: true,
    });
    if color.matrix_coefficients == UNSPECIFIED {
        color.matrix_coefficients = 5;
    }
    color.full_range |= image.chroma_format_idc == 0;
    color
}
