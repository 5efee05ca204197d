//! Pillow's antialiased resize, of the cropped part only, and the last step to
//! upright RGB. Channels a network does not read (alpha) go along and are
//! dropped at the end, where there are 50 thousand pixels and not 12 million.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use weights::Interpolation;

use super::crop::Side;
use super::error::PhotoError;
use super::orientation::Orientation;

/// Decoded pixels: 8 bits a sample, rows from the top, no padding.
pub struct Bitmap {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    pub channels: usize,
    /// `[height, width, channels]`.
    pub samples: Vec<u8>,
}

/// Resizes `photo` and keeps what `sides` (of the stored photo: across, down)
/// says, horizontally first and then vertically with rounding to 8 bits
/// between, as Pillow does: `[down.kept, across.kept, channels]`.
///
/// # Errors
/// `Resize`, but not for a bitmap of the size it claims.
pub fn resize(
    photo: &Bitmap,
    [across, down]: [Side; 2],
    interpolation: Interpolation,
) -> Result<Bitmap, PhotoError> {
    let pixel = match photo.channels {
        1 => PixelType::U8,
        2 => PixelType::U8x2,
        3 => PixelType::U8x3,
        _ => PixelType::U8x4,
    };
    let (filter, support) = match interpolation {
        Interpolation::Nearest => (None, 0.5),
        Interpolation::Bilinear => (Some(FilterType::Bilinear), 1.0),
        Interpolation::Bicubic => (Some(FilterType::CatmullRom), 2.0),
        Interpolation::Lanczos => (Some(FilterType::Lanczos3), 3.0),
    };
    let options = ResizeOptions::new()
        .resize_alg(filter.map_or(ResizeAlg::Nearest, ResizeAlg::Convolution))
        .use_alpha(false);
    let mut resizer = Resizer::new();

    let (left, width) = source(across, photo.width);
    let (top, height) = source(down, photo.height);
    // The rows that the vertical filter reaches.
    let reach = support * (height / f64::from(down.kept)).max(1.0) + 1.0;
    let first = (top - reach).floor().max(0.0);
    let last = (top + height + reach).ceil().min(f64::from(photo.height));
    let rows = (last - first) as u32;

    let stored = ImageRef::new(photo.width, photo.height, &photo.samples, pixel).map_err(ours)?;
    let mut narrow = Image::new(across.kept, rows, pixel);
    let keep = options.crop(left, first, width, f64::from(rows));
    resizer.resize(&stored, &mut narrow, &keep).map_err(ours)?;

    let mut kept = Image::new(across.kept, down.kept, pixel);
    let keep = options.crop(0.0, top - first, f64::from(across.kept), height);
    resizer.resize(&narrow, &mut kept, &keep).map_err(ours)?;
    Ok(Bitmap {
        width: across.kept,
        height: down.kept,
        channels: photo.channels,
        samples: kept.into_vec(),
    })
}

fn ours(error: impl std::error::Error) -> PhotoError {
    PhotoError::Resize(error.to_string())
}

/// Where the kept part of a side begins and how long it is, in pixels of the
/// photo, whose side is `length`.
fn source(side: Side, length: u32) -> (f64, f64) {
    let length = f64::from(length);
    let scale = length / side.resized as f64;
    let first = side.first as f64 * scale;
    // Rounding must not carry the end past the last pixel.
    (first, (f64::from(side.kept) * scale).min(length - first))
}

/// Upright RGB on a black square: `[crop, crop, 3]`. `kept` lies as stored,
/// `sides` are the upright ones.
#[must_use]
pub fn place(
    kept: Bitmap,
    [across, down]: [Side; 2],
    orientation: Orientation,
    crop: u32,
) -> Vec<u8> {
    let square = kept.width == crop && kept.height == crop;
    if square && kept.channels == 3 && orientation == Orientation::default() {
        return kept.samples;
    }
    let crop = crop as usize;
    let (width, height) = (kept.width as usize, kept.height as usize);
    let mut rgb = vec![0; crop * crop * 3];
    for y in 0..down.kept as usize {
        let row = ((y + down.pad as usize) * crop + across.pad as usize) * 3;
        let row = &mut rgb[row..row + across.kept as usize * 3];
        for (x, to) in row.chunks_exact_mut(3).enumerate() {
            let [mut sx, mut sy] = orientation.swap([x, y]);
            if orientation.flip_x {
                sx = width - 1 - sx;
            }
            if orientation.flip_y {
                sy = height - 1 - sy;
            }
            let from = &kept.samples[(sy * width + sx) * kept.channels..][..kept.channels];
            match from {
                [grey] | [grey, _] => to.fill(*grey),
                [r, g, b, ..] => to.copy_from_slice(&[*r, *g, *b]),
                [] => {}
            }
        }
    }
    rgb
}
