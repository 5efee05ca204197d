//! JPEG XL, decoded with the `jxl-oxide` crate: the first frame, upright, in sRGB.
//! Pixels that are stored in a colour space that only a profile describes are not
//! converted, as in the other formats.

mod rendering;

use jxl_oxide::{AllocTracker, InitializeResult, JxlImage};

use crate::decode::decoded::DecodedImage;
use crate::decode::jxl::rendering::Rendering;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// The decoder takes about 28 bytes per pixel, so its images are limited to a third
/// of the pixels.
const SHARE: u64 = 3;

/// Bytes that the decoder is given at once.
const STEP: usize = 1 << 16;

/// The most frames that may be composed into the first one that is shown.
const MAX_FRAMES: usize = 64;

/// Decodes the first frame.
///
/// # Errors
/// `TooLarge`, `Unsupported` for CMYK, or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let mut image = read(bytes, budget)?;
    let rendering = Rendering::of(&image);
    if let Some(encoding) = rendering.encoding() {
        image.request_color_encoding(encoding);
    }
    let frame = image.render_frame(0).map_err(damaged)?;
    let mut stream = frame.stream_no_alpha();
    let (width, height) = (stream.width(), stream.height());
    let channels = stream.channels() as usize;
    if !matches!(channels, 1 | 3) {
        return Err(ImageError::unsupported("a JPEG XL image in CMYK"));
    }
    let mut samples = vec![0; width as usize * height as usize * channels];
    rendering.read(&mut stream, &mut samples);
    Ok(DecodedImage::upright([width, height], channels, samples))
}

/// Reads the header, checks it, and reads on until the first frame is there.
fn read(bytes: &[u8], budget: &Budget<'_>) -> Result<JxlImage, ImageError> {
    let truncated = || ImageError::truncated(Format::JpegXl);
    let tracker = AllocTracker::with_limit(budget.limits().max_allocation() as usize);
    let mut start = JxlImage::builder().alloc_tracker(tracker).build_uninit();
    let mut rest = bytes;
    let mut image = loop {
        let consumed = start.feed_bytes(&rest[..rest.len().min(STEP)]);
        let consumed = consumed.map_err(damaged)?;
        rest = &rest[consumed..];
        match start.try_init().map_err(damaged)? {
            InitializeResult::Initialized(image) => break image,
            InitializeResult::NeedMoreData(_) if consumed == 0 => return Err(truncated()),
            InitializeResult::NeedMoreData(more) => start = more,
        }
    };
    let (width, height) = (image.width(), image.height());
    budget.check_share(Format::JpegXl, width, height, SHARE)?;
    budget.spend(Format::JpegXl, 28 * u64::from(width) * u64::from(height))?;
    while image.num_loaded_keyframes() == 0 {
        budget.spend(Format::JpegXl, 0)?;
        let consumed = image.feed_bytes(&rest[..rest.len().min(STEP)]);
        let consumed = consumed.map_err(damaged)?;
        rest = &rest[consumed..];
        if consumed == 0 && image.num_loaded_keyframes() == 0 {
            return Err(truncated());
        }
        if image.num_loaded_frames() > MAX_FRAMES {
            let reason = "its first picture is composed of too many frames";
            return Err(ImageError::broken(Format::JpegXl, reason));
        }
    }
    Ok(image)
}

fn damaged(_: impl Sized) -> ImageError {
    ImageError::broken(Format::JpegXl, "its data is damaged or incomplete")
}
