//! Conversion to RGB: of Y'CbCr bit-exact with libjpeg, of CMYK with Pillow.

use std::array::from_fn;

/// How the components of a JPEG are converted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Color {
    /// Grey and RGB: not at all.
    Unchanged,
    /// Y'CbCr to RGB.
    YCbCr,
    /// CMYK to RGB. Samples are stored inverted, as Adobe does.
    Cmyk,
    /// Y'CbCr and K to RGB.
    Ycck,
}

/// Converts `N` pixels by the equations of ITU-T T.871, 7, in libjpeg's 16-bit
/// fixed point, where each sum is rounded once.
///
/// The integer parts of the factors (1.402, -0.714, 1.772) are handled
/// separately, so that red and blue need only 16-bit arithmetic.
#[inline(always)]
pub(crate) fn ycbcr_to_rgb<const N: usize>(
    y: &[u8; N],
    cb: &[u8; N],
    cr: &[u8; N],
) -> [[u8; N]; 3] {
    let y = |i: usize| i16::from(y[i]);
    let cb = |i: usize| i16::from(cb[i]) - 128;
    let cr = |i: usize| i16::from(cr[i]) - 128;
    // factor * value / 2^16, rounded to nearest: twice the product, then halved
    let fraction = |value: i16, factor: i16| {
        let twice = (i32::from(2 * value) * i32::from(factor)) >> 16;
        (twice as i16 + 1) >> 1
    };
    let clamp = |value: i16| value.clamp(0, 255) as u8;
    let green = |i: usize| {
        let sum = -22_554 * i32::from(cb(i)) + 18_734 * i32::from(cr(i));
        ((sum + (1 << 15)) >> 16) as i16 - cr(i)
    };
    [
        from_fn(|i| clamp(y(i) + cr(i) + fraction(cr(i), 26_345))),
        from_fn(|i| clamp(y(i) + green(i))),
        from_fn(|i| clamp(y(i) + 2 * cb(i) + fraction(cb(i), -14_942))),
    ]
}

/// Converts CMYK to RGB as Pillow does: the product of the inverted ink and the
/// inverted black, divided by 255 and rounded. `inks` and `black` are stored
/// inverted.
#[inline(always)]
pub(crate) fn cmyk_to_rgb<const N: usize>(inks: [&[u8; N]; 3], black: &[u8; N]) -> [[u8; N]; 3] {
    inks.map(|ink| {
        from_fn(|i| {
            let white = u16::from(black[i]);
            let product = u16::from(255 - ink[i]) * white + 128;
            (white - ((product + (product >> 8)) >> 8)) as u8
        })
    })
}

/// Converts Y'CbCr and K to RGB. libjpeg inverts the RGB values, which gives CMY.
#[inline(always)]
pub(crate) fn ycck_to_rgb<const N: usize>(
    [y, cb, cr]: [&[u8; N]; 3],
    black: &[u8; N],
) -> [[u8; N]; 3] {
    let inks = ycbcr_to_rgb(y, cb, cr).map(|channel| channel.map(|value| 255 - value));
    let [cyan, magenta, yellow] = &inks;
    cmyk_to_rgb([cyan, magenta, yellow], black)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_equal_those_of_libjpeg() {
        for cb in 0..=255u8 {
            for cr in 0..=255u8 {
                let y = cb.wrapping_mul(31).wrapping_add(cr.wrapping_mul(57));
                let rgb = ycbcr_to_rgb(&[y; 64], &[cb; 64], &[cr; 64]).map(|channel| channel[0]);
                // the tables that jdcolor.c builds
                let luma = (i32::from(y) << 16) + (1 << 15);
                let [cb, cr] = [cb, cr].map(|chroma| i32::from(chroma) - 128);
                let expected = [
                    luma + 91_881 * cr,
                    luma - 22_554 * cb - 46_802 * cr,
                    luma + 116_130 * cb,
                ];
                let clamp = |value: i32| (value >> 16).clamp(0, 255) as u8;
                assert_eq!(rgb, expected.map(clamp), "{y} {cb} {cr}");
            }
        }
    }
}
