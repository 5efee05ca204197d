//! The order of the coefficients in a block.

/// The position in row order of the k-th coefficient in zigzag order (figure A.6).
/// As in libjpeg, the coefficients beyond the 64th go to the last position. Those
/// beyond an end of block go to position 64.
#[rustfmt::skip]
pub(crate) const ZIGZAG: [u8; 256] = {
    let coded = [
         0,  1,  8, 16,  9,  2,  3, 10,
        17, 24, 32, 25, 18, 11,  4,  5,
        12, 19, 26, 33, 40, 48, 41, 34,
        27, 20, 13,  6,  7, 14, 21, 28,
        35, 42, 49, 56, 57, 50, 43, 36,
        29, 22, 15, 23, 30, 37, 44, 51,
        58, 59, 52, 45, 38, 31, 39, 46,
        53, 60, 61, 54, 47, 55, 62, 63,
    ];
    let mut all = [64; 256];
    let mut k = 0;
    while k < 128 {
        all[k] = if k < 64 { coded[k] } else { 63 };
        k += 1;
    }
    all
};
