//! Transposition of bytes. Resizing and chroma upsampling process contiguous
//! lines, so columns are first transposed into rows.

/// Lines per tile.
const LINES: usize = 8;

/// Bytes per line of a tile: four squares of 8 x 8 bytes, one vector per line.
pub(crate) const TILE_LENGTH: usize = 4 * LINES;

/// Transposes `lines` of `length` bytes: `to[i * to_stride + line]` becomes
/// `from[line * from_stride + i]`. Whole tiles of 8 lines and `TILE_LENGTH`
/// bytes are read and written, so both buffers must be rounded up to them.
#[inline(always)]
pub(crate) fn transpose(
    from: &[u8],
    from_stride: usize,
    [lines, length]: [usize; 2],
    to: &mut [u8],
    to_stride: usize,
) {
    for line in (0..lines).step_by(LINES) {
        for at in (0..length).step_by(TILE_LENGTH) {
            let from = &from[line * from_stride + at..][..(LINES - 1) * from_stride + TILE_LENGTH];
            let to = &mut to[at * to_stride + line..][..(TILE_LENGTH - 1) * to_stride + LINES];
            let mut tile = [[0; 4]; LINES];
            for (y, row) in tile.iter_mut().enumerate() {
                let eights = from[y * from_stride..][..TILE_LENGTH].as_chunks().0;
                for (square, &eight) in row.iter_mut().zip(eights) {
                    *square = u64::from_le_bytes(eight);
                }
            }
            transpose_squares(&mut tile);
            for square in 0..4 {
                for (x, row) in tile.iter().enumerate() {
                    let column = (LINES * square + x) * to_stride;
                    to[column..][..LINES].copy_from_slice(&row[square].to_le_bytes());
                }
            }
        }
    }
}

/// Transposes squares of 8 x 8 bytes, each row of which is a number, little-endian: swaps the two off-diagonal quarters, then
/// does the same within each quarter, and so on (Warren, Hacker's Delight, 7-3).
#[inline(always)]
pub(crate) fn transpose_squares<const SQUARES: usize>(tile: &mut [[u64; SQUARES]; LINES]) {
    for (far, low) in [
        (4, 0x0000_0000_ffff_ffff),
        (2, 0x0000_ffff_0000_ffff),
        (1, 0x00ff_00ff_00ff_00ff),
    ] {
        let shift = 8 * far;
        for y in (0..LINES).filter(|y| y & far == 0) {
            for square in 0..SQUARES {
                let (near, other) = (tile[y][square], tile[y + far][square]);
                let swapped = ((near >> shift) ^ other) & low;
                tile[y][square] = near ^ (swapped << shift);
                tile[y + far][square] = other ^ swapped;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let from: Vec<u8> = (0..16 * 64).map(|i| (i * 7 % 251) as u8).collect();
        let mut to = vec![0; 64 * 16];
        transpose(&from, 64, [11, 37], &mut to, 16);
        for y in 0..11 {
            for x in 0..37 {
                assert_eq!(to[x * 16 + y], from[y * 64 + x], "{x}, {y}");
            }
        }
    }
}
