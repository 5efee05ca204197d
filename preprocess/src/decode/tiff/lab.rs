//! CIE L*a*b* (TIFF 6.0, section 23) to sRGB, as ICC profiles convert it: the white
//! of both is that of D50.

/// Entries of the table of the transfer function, less one.
const STEPS: usize = 1 << 14;

/// Converts pixels.
pub(super) struct Lab {
    /// The code of 0 in a* and b*, before which there are negative values.
    zero: u8,
    /// The 8-bit sample for each linear value from 0 to 1.
    transfer: Vec<u8>,
}

impl Lab {
    /// With a* and b* as signed numbers (photometric 8).
    pub(super) fn cie() -> Self {
        Self::new(0)
    }

    /// With a* and b* as in ICC profiles (photometric 9).
    pub(super) fn icc() -> Self {
        Self::new(128)
    }

    fn new(zero: u8) -> Self {
        Self {
            zero,
            transfer: (0..=STEPS).map(srgb).collect(),
        }
    }

    pub(super) fn to_rgb(&self, [lightness, a, b]: [u8; 3]) -> [u8; 3] {
        let signed = |code: u8| f32::from(code.wrapping_sub(self.zero) as i8);
        let y = (f32::from(lightness) * (100.0 / 255.0) + 16.0) / 116.0;
        let x = 0.9642 * linear(y + signed(a) / 500.0);
        let z = 0.8249 * linear(y - signed(b) / 200.0);
        let y = linear(y);
        // The primaries of sRGB, adapted to D50 as Bradford.
        let red = 3.133_856 * x - 1.616_867 * y - 0.490_615 * z;
        let green = -0.978_768 * x + 1.916_142 * y + 0.033_454 * z;
        let blue = 0.071_945 * x - 0.228_991 * y + 1.405_243 * z;
        [red, green, blue].map(|value| {
            let step = value.clamp(0.0, 1.0) * STEPS as f32 + 0.5;
            self.transfer[step as usize]
        })
    }
}

/// The inverse of the function f of CIE 15.
fn linear(value: f32) -> f32 {
    const KNEE: f32 = 6.0 / 29.0;
    if value > KNEE {
        value * value * value
    } else {
        3.0 * KNEE * KNEE * (value - 4.0 / 29.0)
    }
}

/// The transfer function of sRGB (IEC 61966-2-1), to 8 bits.
fn srgb(step: usize) -> u8 {
    let value = step as f64 / STEPS as f64;
    let encoded = if value <= 0.003_130_8 {
        12.92 * value
    } else {
        1.055 * value.powf(1.0 / 2.4) - 0.055
    };
    (255.0 * encoded + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_littlecms() {
        for (pixel, rgb) in [
            // The samples as LittleCMS 2.19 converts them, through a table.
            ([0, 0, 0], [1, 0, 1]),
            ([255, 0, 0], [254, 255, 254]),
            ([128, 0, 0], [119, 119, 119]),
            ([100, 40, 216], [129, 65, 159]),
            ([200, 236, 60], [183, 203, 72]),
            ([140, 60, 50], [230, 75, 48]),
            ([160, 216, 10], [57, 170, 132_u8]),
        ] {
            let [l, a, b] = pixel;
            let found = Lab::cie().to_rgb(pixel);
            let differences = found.iter().zip(rgb).map(|(a, b)| a.abs_diff(b));
            assert!(
                differences.max() <= Some(1),
                "{pixel:?}: {found:?}, {rgb:?}"
            );
            let shifted = [l, a.wrapping_add(128), b.wrapping_add(128)];
            assert_eq!(Lab::icc().to_rgb(shifted), found);
        }
    }
}
