//! Draws a class activation map on the upright photo, and encodes the result as
//! PNG.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use preprocess::{Crop, Photo};

use super::colormap::Colormap;
use super::error::Error;
use super::explain::Grid;

/// Pixels on the longer side of an overlay: larger photos are reduced to that.
pub const LONGEST_SIDE: u32 = 2048;

/// How a map is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Share of the map in the colour of a pixel, 0 to 1.
    pub opacity: f64,
    /// The colours of low to high values.
    pub colormap: Colormap,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            opacity: 0.5,
            colormap: Colormap::default(),
        }
    }
}

/// Decodes a photo and draws `grid` on the part of it inside `crop`. The lowest
/// value of the grid has the first colour, the highest the last. Pixels outside
/// the crop stay as they are: the network has not seen them.
///
/// # Errors
/// A photo that cannot be decoded.
pub fn overlay(
    file: &[u8],
    limits: &preprocess::Limits,
    crop: &Crop,
    grid: &Grid,
    style: Style,
) -> Result<Photo, Error> {
    let mut photo = preprocess::photo(file, LONGEST_SIDE, limits)?;
    draw(&mut photo, crop, grid, style);
    Ok(photo)
}

fn draw(photo: &mut Photo, crop: &Crop, grid: &Grid, style: Style) {
    let table = style.colormap.table();
    let colour = levels(grid);
    // pixels of the original photo for one of `photo`
    let scale = [
        f64::from(crop.photo[0]) / f64::from(photo.width),
        f64::from(crop.photo[1]) / f64::from(photo.height),
    ];
    let columns: Vec<Option<Between>> = (0..photo.width)
        .map(|x| Between::at(x, scale[0], (crop.x, crop.width), grid.width))
        .collect();
    let rows = photo.rgb.chunks_exact_mut(photo.width as usize * 3);
    for (y, row) in (0..).zip(rows) {
        let Some(vertical) = Between::at(y, scale[1], (crop.y, crop.height), grid.height) else {
            continue;
        };
        let pixels = row.as_chunks_mut::<3>().0.iter_mut().zip(&columns);
        for (pixel, horizontal) in pixels {
            let Some(horizontal) = horizontal else {
                continue;
            };
            let level = bilinear(&colour, grid.width, *horizontal, vertical);
            let new = table[(level.round() as usize).min(255)];
            for (old, new) in pixel.iter_mut().zip(new) {
                let mixed =
                    f64::from(*old) * (1.0 - style.opacity) + f64::from(new) * style.opacity;
                *old = mixed.round() as u8;
            }
        }
    }
}

/// The values of a grid as positions in a table of colours, 0 to 255.
fn levels(grid: &Grid) -> Vec<f64> {
    let values = grid.values.iter().map(|&value| f64::from(value));
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let range = if high > low { high - low } else { 1.0 };
    values.map(|value| (value - low) / range * 255.0).collect()
}

/// A position between two neighbours of a grid.
#[derive(Clone, Copy)]
struct Between {
    first: usize,
    second: usize,
    /// Share of the second.
    share: f64,
}

impl Between {
    /// The place of pixel `at` in a grid of `cells` that covers `start..start +
    /// length`; `None` outside. The outer half of the outer cells is constant.
    fn at(at: u32, scale: f64, (start, length): (f64, f64), cells: usize) -> Option<Self> {
        let place = ((f64::from(at) + 0.5) * scale - start) / length;
        if !(0.0..1.0).contains(&place) || cells == 0 {
            return None;
        }
        let place = (place * cells as f64 - 0.5).clamp(0.0, (cells - 1) as f64);
        let first = place as usize;
        Some(Self {
            first,
            second: (first + 1).min(cells - 1),
            share: place - first as f64,
        })
    }
}

fn bilinear(values: &[f64], width: usize, horizontal: Between, vertical: Between) -> f64 {
    let along = |row: usize| {
        let row = &values[row * width..][..width];
        row[horizontal.first] * (1.0 - horizontal.share) + row[horizontal.second] * horizontal.share
    };
    along(vertical.first) * (1.0 - vertical.share) + along(vertical.second) * vertical.share
}

/// A photo as PNG.
///
/// # Errors
/// [`Error::Png`] if it cannot be encoded.
pub fn png(photo: &Photo) -> Result<Vec<u8>, Error> {
    let mut file = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive);
    encoder
        .write_image(
            &photo.rgb,
            photo.width,
            photo.height,
            ExtendedColorType::Rgb8,
        )
        .map_err(|error| Error::Png(error.to_string()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPAQUE: Style = Style {
        opacity: 1.0,
        colormap: Colormap::Viridis,
    };

    fn grey(width: u32, height: u32) -> Photo {
        Photo {
            width,
            height,
            rgb: vec![100; (width * height * 3) as usize],
        }
    }

    fn pixel(photo: &Photo, x: u32, y: u32) -> [u8; 3] {
        let at = ((y * photo.width + x) * 3) as usize;
        [photo.rgb[at], photo.rgb[at + 1], photo.rgb[at + 2]]
    }

    #[test]
    fn the_map_covers_the_crop_and_nothing_else() {
        // a photo of 20 x 10, reduced by 2 from 40 x 20, with a crop of 20 x 20
        let crop = Crop {
            photo: [40, 20],
            x: 10.0,
            y: 0.0,
            width: 20.0,
            height: 20.0,
        };
        let grid = Grid {
            width: 2,
            height: 1,
            values: vec![-3.0, 5.0],
        };
        let mut photo = grey(20, 10);
        draw(&mut photo, &crop, &grid, OPAQUE);
        let table = Colormap::Viridis.table();
        assert_eq!(pixel(&photo, 4, 3), [100; 3]);
        assert_eq!(pixel(&photo, 5, 3), table[0]);
        assert_eq!(pixel(&photo, 14, 9), table[255]);
        assert_eq!(pixel(&photo, 15, 9), [100; 3]);
        // centres of the cells are at 15 and 25; pixel 9 is at 19: 0.4 between them
        assert_eq!(pixel(&photo, 9, 0), table[102]);
    }

    #[test]
    fn opacity_mixes_the_colours_and_a_flat_map_has_the_lowest() {
        let crop = Crop {
            photo: [4, 4],
            x: 0.0,
            y: 0.0,
            width: 4.0,
            height: 4.0,
        };
        let grid = Grid {
            width: 1,
            height: 1,
            values: vec![7.0],
        };
        let style = Style {
            opacity: 0.25,
            ..OPAQUE
        };
        let mut photo = grey(4, 4);
        draw(&mut photo, &crop, &grid, style);
        let expected =
            Colormap::Viridis.table()[0].map(|new| (75.0 + 0.25 * f64::from(new)).round() as u8);
        assert_eq!(pixel(&photo, 2, 2), expected);
    }

    #[test]
    fn a_png_can_be_read_again() {
        let mut photo = grey(5, 3);
        photo.rgb[4] = 7;
        let file = png(&photo).unwrap();
        let read = preprocess::photo(&file, 5, &preprocess::Limits::default()).unwrap();
        assert_eq!(read, photo);
    }
}
