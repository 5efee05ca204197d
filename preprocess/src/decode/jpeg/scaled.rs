//! The inverse DCT at reduced size: the lowest `X` x `Y` coefficients of an 8 x 8
//! block give the block at `X` x `Y` points (the scaled IDCT of libjpeg).

use std::f64::consts::PI;

use crate::decode::jpeg::zigzag::ZIGZAG;

/// `[frequency][point]`.
type Cosines = [[f32; 8]; 8];

/// The inverse DCT to a given number of points, horizontally and vertically.
pub(crate) struct ScaledIdct {
    points: [usize; 2],
    cosines: [Cosines; 2],
    transform: Transform,
}

/// Transforms a dequantised block, and writes it column by column.
type Transform = fn(&[f32; 64], &[Cosines; 2], &mut [u8], usize);

/// The transform to `X` x `height` points.
fn with_width<const X: usize>(height: usize) -> Option<Transform> {
    match height {
        1 => Some(idct::<X, 1>),
        2 => Some(idct::<X, 2>),
        4 => Some(idct::<X, 4>),
        8 => Some(idct::<X, 8>),
        _ => None,
    }
}

impl ScaledIdct {
    /// `None` unless both numbers of points are powers of two up to 8.
    pub(crate) fn new(points: [usize; 2]) -> Option<Self> {
        let transform = match points[0] {
            1 => with_width::<1>(points[1]),
            2 => with_width::<2>(points[1]),
            4 => with_width::<4>(points[1]),
            8 => with_width::<8>(points[1]),
            _ => None,
        };
        Some(Self {
            points,
            cosines: points.map(cosines),
            transform: transform?,
        })
    }

    /// The number of coefficients, in zigzag order, up to the last one used.
    pub(crate) fn coefficients(&self) -> usize {
        let [width, height] = self.points;
        let used = |&at: &u8| usize::from(at % 8) < width && usize::from(at / 8) < height;
        ZIGZAG[..64]
            .iter()
            .rposition(used)
            .map_or(0, |last| last + 1)
    }

    /// Writes a block to `out` column by column, with columns `stride` apart.
    pub(crate) fn idct(
        &self,
        block: &[i16; 64],
        quantization: &[i32; 64],
        out: &mut [u8],
        stride: usize,
    ) {
        let coefficient = |at: usize| i32::from(block[at]).wrapping_mul(quantization[at]) as f32;
        let block = std::array::from_fn(coefficient);
        (self.transform)(&block, &self.cosines, out, stride);
    }
}

/// The cosines of the inverse DCT (ITU-T T.81, A.3.3). Each axis contributes 1/2
/// to the overall factor of 1/4.
fn cosines(points: usize) -> Cosines {
    let mut table = [[0.0; 8]; 8];
    for (u, row) in table.iter_mut().enumerate().take(points) {
        let norm = if u == 0 { 0.5f64.sqrt() } else { 1.0 };
        for (x, cosine) in row.iter_mut().enumerate().take(points) {
            let angle = (2 * x + 1) as f64 * u as f64 * PI / (2 * points) as f64;
            *cosine = (0.5 * norm * angle.cos()) as f32;
        }
    }
    table
}

fn idct<const X: usize, const Y: usize>(
    block: &[f32; 64],
    [horizontal, vertical]: &[Cosines; 2],
    out: &mut [u8],
    stride: usize,
) {
    // The transform of the rows: [Y, X].
    let mut rows = [[0.0; X]; Y];
    for (v, row) in rows.iter_mut().enumerate() {
        for u in 0..X {
            for x in 0..X {
                row[x] += horizontal[u][x] * block[8 * v + u];
            }
        }
    }
    for x in 0..X {
        // The level shift of A.3.1, and 0.5 to round to nearest.
        let mut pixels = [128.5; Y];
        for (row, cosines) in rows.iter().zip(vertical) {
            for y in 0..Y {
                pixels[y] += row[x] * cosines[y];
            }
        }
        for (to, pixel) in out[x * stride..][..Y].iter_mut().zip(pixels) {
            *to = pixel as u8;
        }
    }
}
