//! Pillow's antialiased resize, of the cropped part only, and the last step to
//! upright RGB. Channels a network does not read (alpha) go along and are
//! dropped at the end, where there are 50 thousand pixels and not 12 million.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use weights::Interpolation;

use super::Decoded;
use super::crop::Side;
use super::error::PhotoError;
use super::orientation::Orientation;

/// Decoded pixels: 8 bits a sample, rows from the top, no padding.
pub(super) struct Bitmap {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    pub channels: usize,
    /// `[height, width, channels]`.
    pub samples: Vec<u8>,
}

/// Resizes `photo` and keeps what the sides of the stored photo (across, down)
/// say: `[down.kept, across.kept, channels]`. The upright horizontal comes
/// first and is rounded to 8 bits, then the vertical, as Pillow has it.
///
/// # Errors
/// `Resize`, but not for a bitmap of the size it claims.
pub(super) fn resize(
    photo: &Decoded,
    sides: [Side; 2],
    filter: Interpolation,
) -> Result<Bitmap, PhotoError> {
    let bitmap = &photo.bitmap;
    let pixel = match bitmap.channels {
        1 => PixelType::U8,
        2 => PixelType::U8x2,
        3 => PixelType::U8x3,
        _ => PixelType::U8x4,
    };
    let (algorithm, support) = match filter {
        Interpolation::Nearest => (ResizeAlg::Nearest, 0.5),
        Interpolation::Bilinear => (ResizeAlg::Convolution(FilterType::Bilinear), 1.0),
        Interpolation::Bicubic => (ResizeAlg::Convolution(FilterType::CatmullRom), 2.0),
        Interpolation::Lanczos => (ResizeAlg::Convolution(FilterType::Lanczos3), 3.0),
    };
    let options = ResizeOptions::new().resize_alg(algorithm).use_alpha(false);
    let [x, y] = [0, 1].map(|axis| {
        let length = f64::from(photo.size[axis]) * photo.scale;
        Reach::new(
            sides[axis],
            length,
            [bitmap.width, bitmap.height][axis],
            support,
        )
    });
    let kept = sides.map(|side| side.kept);
    let [across, down] = kept.map(f64::from);

    let stored =
        ImageRef::new(bitmap.width, bitmap.height, &bitmap.samples, pixel).map_err(ours)?;
    let (mut half, first, second);
    if photo.orientation.transposed {
        half = Image::new(x.pixels, kept[1], pixel);
        first = options.crop(x.from, y.start, x.pixels.into(), y.length);
        second = options.crop(x.start - x.from, 0.0, x.length, down);
    } else {
        half = Image::new(kept[0], y.pixels, pixel);
        first = options.crop(x.start, y.from, x.length, y.pixels.into());
        second = options.crop(0.0, y.start - y.from, across, y.length);
    }
    let mut whole = Image::new(kept[0], kept[1], pixel);
    let mut resizer = Resizer::new();
    resizer.resize(&stored, &mut half, &first).map_err(ours)?;
    resizer.resize(&half, &mut whole, &second).map_err(ours)?;
    Ok(Bitmap {
        width: kept[0],
        height: kept[1],
        channels: bitmap.channels,
        samples: whole.into_vec(),
    })
}

fn ours(error: impl std::error::Error) -> PhotoError {
    PhotoError::Resize(error.to_string())
}

/// What the kept part of a side needs of the bitmap, in the bitmap's pixels.
struct Reach {
    /// Where the kept part begins.
    start: f64,
    /// How long it is.
    length: f64,
    /// The first pixel that the filter touches, a whole number.
    from: f64,
    /// How many it touches.
    pixels: u32,
}

impl Reach {
    /// The photo is `length` pixels long, of which the bitmap has `stored`
    /// whole ones: a scaled decode rounds up.
    fn new(side: Side, length: f64, stored: u32, support: f64) -> Self {
        let scale = length / side.resized as f64;
        let start = side.first as f64 * scale;
        // Rounding must not carry the end past the last pixel.
        let length = (f64::from(side.kept) * scale).min(f64::from(stored) - start);
        let touch = support * scale.max(1.0) + 1.0;
        let from = (start - touch).floor().max(0.0);
        let to = (start + length + touch).ceil().min(stored.into());
        Self {
            start,
            length,
            from,
            pixels: (to - from) as u32,
        }
    }
}

/// Upright RGB on a black square: `[crop, crop, 3]`. `kept` lies as stored,
/// `sides` are the upright ones.
#[must_use]
pub(super) fn place(
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
