//! Samples of TIFF to grey or RGB, as Pillow and libtiff convert them.

use crate::decode::tiff::lab::Lab;
use crate::decode::tiff::layout::{Layout, Photometric, broken, tag};
use crate::decode::tiff::rows::Row;
use crate::decode::tiff::samples::{Scale, unpack};
use crate::error::ImageError;
use crate::ifd::Directory;

/// Converts rows.
pub(super) struct Colors<'a, 'b> {
    layout: &'b Layout<'a>,
    scale: Scale,
    palette: Vec<[u8; 3]>,
    ycbcr: YCbCr,
    lab: Option<Lab>,
    /// Samples per pixel in `pixels`.
    samples: usize,
    /// `[chunk width, samples]`, 8 bits.
    pixels: Vec<u8>,
    /// A row of one plane.
    line: Vec<u8>,
}

impl<'a, 'b> Colors<'a, 'b> {
    /// Reads the palette and the definition of YCbCr.
    ///
    /// # Errors
    /// `Broken` if the palette is missing.
    pub(super) fn new(layout: &'b Layout<'a>, scale: Scale) -> Result<Self, ImageError> {
        let samples = match layout.is_planar {
            true => layout.photometric.channels() + usize::from(layout.is_premultiplied),
            false => layout.samples,
        };
        let width = layout.chunk[0] as usize;
        Ok(Self {
            layout,
            scale,
            palette: match layout.photometric {
                Photometric::Palette => palette(layout)?,
                _ => Vec::new(),
            },
            ycbcr: YCbCr::read(&layout.directory),
            lab: match layout.photometric {
                Photometric::CieLab => Some(Lab::cie()),
                Photometric::IccLab => Some(Lab::icc()),
                _ => None,
            },
            samples,
            pixels: vec![0; width * samples],
            line: vec![0; if layout.is_planar { width } else { 0 }],
        })
    }

    /// 1 (grey) or 3 (RGB).
    pub(super) fn channels(&self) -> usize {
        match self.layout.photometric {
            Photometric::WhiteIsZero | Photometric::BlackIsZero => 1,
            _ => 3,
        }
    }

    /// Writes the first pixels of a row to `to`. With planes, this happens when the
    /// last plane of the row is there.
    pub(super) fn convert(&mut self, row: &Row<'_>, to: &mut [u8]) {
        if self.layout.is_planar {
            unpack(self.layout, self.scale, row.bytes, &mut self.line);
            let pixels = self.pixels.chunks_exact_mut(self.samples);
            for (pixel, &sample) in pixels.zip(&self.line) {
                pixel[row.plane] = sample;
            }
            if row.plane + 1 < self.samples {
                return;
            }
        } else {
            unpack(self.layout, self.scale, row.bytes, &mut self.pixels);
        }
        self.write(to);
    }

    fn write(&mut self, to: &mut [u8]) {
        let samples = self.samples;
        if self.layout.is_premultiplied {
            let channels = self.layout.photometric.channels();
            for pixel in self.pixels.chunks_exact_mut(samples) {
                let (colors, alpha) = pixel.split_at_mut(channels);
                colors.iter_mut().for_each(|c| *c = divide(*c, alpha[0]));
            }
        }
        let pixels = self.pixels.chunks_exact(samples);
        match self.layout.photometric {
            Photometric::BlackIsZero | Photometric::Rgb if samples == self.channels() => {
                to.copy_from_slice(&self.pixels[..to.len()]);
            }
            Photometric::BlackIsZero => {
                to.iter_mut().zip(pixels).for_each(|(to, p)| *to = p[0]);
            }
            Photometric::WhiteIsZero => {
                to.iter_mut().zip(pixels).for_each(|(to, p)| *to = !p[0]);
            }
            kind => {
                for (to, pixel) in to.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    *to = match kind {
                        Photometric::Palette => {
                            let color = self.palette.get(usize::from(pixel[0]));
                            color.copied().unwrap_or_default()
                        }
                        Photometric::Cmyk => rgb_of_cmyk([pixel[0], pixel[1], pixel[2], pixel[3]]),
                        Photometric::YCbCr => self.ycbcr.to_rgb([pixel[0], pixel[1], pixel[2]]),
                        _ => {
                            let pixel = [pixel[0], pixel[1], pixel[2]];
                            let lab = self.lab.as_ref();
                            lab.map_or(pixel, |lab| lab.to_rgb(pixel))
                        }
                    };
                }
            }
        }
    }
}

/// The colours of a palette: all reds, then all greens, then all blues.
fn palette(layout: &Layout<'_>) -> Result<Vec<[u8; 3]>, ImageError> {
    let map = layout.directory.get(tag::COLOR_MAP);
    let map = map.ok_or_else(|| broken("it has no palette"))?;
    let count = map.count() / 3;
    let value = |at| map.uint(at).unwrap_or(0);
    // Some writers use the range of 8 bits; libtiff looks for it in the same way.
    let shift = match (0..3 * count).all(|at| value(at) < 256) {
        true => 0,
        false => 8,
    };
    let color = |index| [0, 1, 2].map(|channel| (value(channel * count + index) >> shift) as u8);
    Ok((0..count.min(256)).map(color).collect())
}

/// A colour before its multiplication by alpha, rounded as in Pillow.
fn divide(color: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => color,
        alpha => (u32::from(color) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// CMYK to RGB without a profile, rounded as in Pillow.
fn rgb_of_cmyk([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let white = u32::from(255 - black);
    [cyan, magenta, yellow].map(|ink| {
        let product = u32::from(ink) * white + 128;
        (white - (((product >> 8) + product) >> 8)) as u8
    })
}

/// The definition of YCbCr (sections 20 and 21).
struct YCbCr {
    /// Parts of red, green and blue in the luma.
    luma: [f32; 3],
    /// The codes of black and white, for each sample.
    range: [[f32; 2]; 3],
}

impl YCbCr {
    fn read(directory: &Directory<'_>) -> Self {
        let numbers = |tag| {
            let values = directory.get(tag);
            move |at| values.and_then(|values| values.number(at))
        };
        let luma = numbers(tag::YCBCR_COEFFICIENTS);
        let range = numbers(tag::REFERENCE_BLACK_WHITE);
        let defaults = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];
        let code = |at: usize| range(at).unwrap_or(defaults[at]) as f32;
        let luma = match (luma(0), luma(1), luma(2)) {
            (Some(red), Some(green), Some(blue)) if green > 0.0 => [red, green, blue],
            _ => [0.299, 0.587, 0.114],
        };
        Self {
            luma: luma.map(|part| part as f32),
            range: [0, 2, 4].map(|at| [code(at), code(at + 1)]),
        }
    }

    fn to_rgb(&self, pixel: [u8; 3]) -> [u8; 3] {
        let scaled = |i: usize, full: f32| {
            let [black, white] = self.range[i];
            let span = if white == black { 1.0 } else { white - black };
            (f32::from(pixel[i]) - black) * full / span
        };
        let (luma, blue, red) = (scaled(0, 255.0), scaled(1, 127.0), scaled(2, 127.0));
        let [lr, lg, lb] = self.luma;
        let red = luma + red * (2.0 - 2.0 * lr);
        let blue = luma + blue * (2.0 - 2.0 * lb);
        let green = (luma - lr * red - lb * blue) / lg;
        [red, green, blue].map(|value| (value + 0.5) as u8)
    }
}
