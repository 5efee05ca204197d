//! Rows to columns: resizing and chroma's upsampling both go along lines that
//! lie in memory one after another, whichever way they run in the photo.

/// Lines that are turned over at once.
const LINES: usize = 8;

/// Bytes of each of them: four squares, side by side in one vector.
pub(super) const LENGTH: usize = 4 * LINES;

/// Turns `lines` of `length` bytes over: `to[i * to_stride + line]` is
/// `from[line * from_stride + i]`. Whole tiles of 8 lines and `LENGTH` bytes
/// are read and written, and the buffers must have room for them.
#[inline(always)]
pub(super) fn transpose(
    from: &[u8],
    from_stride: usize,
    [lines, length]: [usize; 2],
    to: &mut [u8],
    to_stride: usize,
) {
    for line in (0..lines).step_by(LINES) {
        for at in (0..length).step_by(LENGTH) {
            let from = &from[line * from_stride + at..][..(LINES - 1) * from_stride + LENGTH];
            let to = &mut to[at * to_stride + line..][..(LENGTH - 1) * to_stride + LINES];
            let mut tile = [[0; 4]; LINES];
            for (y, row) in tile.iter_mut().enumerate() {
                let eights = from[y * from_stride..][..LENGTH].as_chunks().0;
                for (square, &eight) in row.iter_mut().zip(eights) {
                    *square = u64::from_le_bytes(eight);
                }
            }
            turn(&mut tile);
            for square in 0..4 {
                for (x, row) in tile.iter().enumerate() {
                    let column = (LINES * square + x) * to_stride;
                    to[column..][..LINES].copy_from_slice(&row[square].to_le_bytes());
                }
            }
        }
    }
}

/// Turns squares of 8 x 8 bytes over: swaps the two quarters off the diagonal,
/// then those within each quarter, and so on (Warren, Hacker's Delight, 7-3).
#[inline(always)]
fn turn(tile: &mut [[u64; 4]; LINES]) {
    for (far, low) in [
        (4, 0x0000_0000_ffff_ffff),
        (2, 0x0000_ffff_0000_ffff),
        (1, 0x00ff_00ff_00ff_00ff),
    ] {
        let shift = 8 * far;
        for y in (0..LINES).filter(|y| y & far == 0) {
            for square in 0..4 {
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
