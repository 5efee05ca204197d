//! Inverse DCT of an 8 x 8 block onto fewer points: the low `X` x `Y`
//! coefficients through cosines of `X` and `Y` points give the block at that
//! size (what libjpeg calls a scaled IDCT).

use std::f64::consts::PI;

use super::huffman::{Block, ZIGZAG};

/// `[frequency][point]`.
type Cosines = [[f32; 8]; 8];

/// The transform onto some number of points, across and down.
pub(super) struct Scaled {
    points: [usize; 2],
    cosines: [Cosines; 2],
    transform: fn(&[f32; 64], &[Cosines; 2], &mut [u8], usize),
}

impl Scaled {
    /// The transform, if the points are powers of two up to 8 and at most one
    /// step apart.
    pub(super) fn new(points: [usize; 2]) -> Option<Self> {
        let transform = match points {
            [1, 1] => idct::<1, 1>,
            [2, 1] => idct::<2, 1>,
            [1, 2] => idct::<1, 2>,
            [2, 2] => idct::<2, 2>,
            [4, 2] => idct::<4, 2>,
            [2, 4] => idct::<2, 4>,
            [4, 4] => idct::<4, 4>,
            [8, 4] => idct::<8, 4>,
            [4, 8] => idct::<4, 8>,
            [8, 8] => idct::<8, 8>,
            _ => return None,
        };
        Some(Self {
            points,
            cosines: points.map(cosines),
            transform,
        })
    }

    /// How many coefficients, as coded, the transform reads.
    pub(super) fn needed(&self) -> usize {
        let [across, down] = self.points;
        let low = |&at: &u8| usize::from(at % 8) < across && usize::from(at / 8) < down;
        ZIGZAG[..64]
            .iter()
            .rposition(low)
            .map_or(0, |last| last + 1)
    }

    /// Writes a block to `out`, column by column, the columns `stride` apart.
    pub(super) fn idct(
        &self,
        block: &Block,
        quantization: &[i32; 64],
        out: &mut [u8],
        stride: usize,
    ) {
        let coefficient = |at: usize| i32::from(block[at]).wrapping_mul(quantization[at]) as f32;
        let block = std::array::from_fn(coefficient);
        (self.transform)(&block, &self.cosines, out, stride);
    }
}

/// The cosines of the inverse transform (ITU-T T.81, A.3.3), each direction
/// taking half of the factor 1/4 in front.
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
    // Along the rows: [Y, X].
    let mut rows = [[0.0; X]; Y];
    for (v, row) in rows.iter_mut().enumerate() {
        for u in 0..X {
            for x in 0..X {
                row[x] += horizontal[u][x] * block[8 * v + u];
            }
        }
    }
    for x in 0..X {
        // 128 is the level shift of A.3.1.
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
