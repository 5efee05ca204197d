//! Inverse DCT of an 8 x 8 block onto fewer points: the low `X` x `Y`
//! coefficients through cosines of `X` and `Y` points give the block at that
//! size (what libjpeg calls a scaled IDCT).

use std::f64::consts::PI;

/// Writes a block at `X` x `Y` pixels to `out`, whose rows are `stride` apart.
pub(super) type Idct = fn(&[f32; 64], &Cosines, out: &mut [u8], stride: usize);

/// `[frequency][point]`, by the logarithm of the number of points.
pub(super) struct Cosines([[[f32; 8]; 8]; 4]);

impl Cosines {
    /// The cosines of the inverse transform (ITU-T T.81, A.3.3), each
    /// direction taking half of the factor 1/4 in front.
    pub(super) fn new() -> Self {
        let mut tables = [[[0.0; 8]; 8]; 4];
        for (log, table) in tables.iter_mut().enumerate() {
            let points = 1 << log;
            for (u, row) in table.iter_mut().enumerate().take(points) {
                let norm = if u == 0 { 0.5f64.sqrt() } else { 1.0 };
                for (x, cosine) in row.iter_mut().enumerate().take(points) {
                    let angle = (2 * x + 1) as f64 * u as f64 * PI / (2 * points) as f64;
                    *cosine = (0.5 * norm * angle.cos()) as f32;
                }
            }
        }
        Self(tables)
    }
}

/// The transform onto `across` x `down` points, if they are powers of two up
/// to 8 and at most one step apart.
pub(super) fn choose(across: usize, down: usize) -> Option<Idct> {
    Some(match (across, down) {
        (1, 1) => idct::<1, 1>,
        (2, 1) => idct::<2, 1>,
        (1, 2) => idct::<1, 2>,
        (2, 2) => idct::<2, 2>,
        (4, 2) => idct::<4, 2>,
        (2, 4) => idct::<2, 4>,
        (4, 4) => idct::<4, 4>,
        (8, 4) => idct::<8, 4>,
        (4, 8) => idct::<4, 8>,
        (8, 8) => idct::<8, 8>,
        _ => return None,
    })
}

fn idct<const X: usize, const Y: usize>(
    block: &[f32; 64],
    Cosines(tables): &Cosines,
    out: &mut [u8],
    stride: usize,
) {
    let (horizontal, vertical) = (&tables[X.ilog2() as usize], &tables[Y.ilog2() as usize]);
    // Down the columns: [Y, X]. 128 is the level shift of A.3.1.
    let mut columns = [[0.0; X]; Y];
    for v in 0..Y {
        for y in 0..Y {
            for u in 0..X {
                columns[y][u] += vertical[v][y] * block[8 * v + u];
            }
        }
    }
    for (y, row) in columns.iter().enumerate() {
        let mut pixels = [128.5; X];
        for (u, coefficient) in row.iter().enumerate() {
            for x in 0..X {
                pixels[x] += coefficient * horizontal[u][x];
            }
        }
        for (to, pixel) in out[y * stride..][..X].iter_mut().zip(pixels) {
            *to = pixel as u8;
        }
    }
}
