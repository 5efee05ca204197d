//! Colormaps of heat maps: 256 colours from low to high values.
//!
//! Each map is given by every fifteenth colour of its published table; the others
//! are interpolated and differ from the table by at most 6 levels of 255. viridis
//! and inferno: van der Walt and Smith 2015,
//! <https://github.com/BIDS/colormap/blob/master/colormaps.py>, CC0. turbo:
//! Mikhailov 2019,
//! <https://gist.github.com/mikhailov-work/ee72ba4191942acecc03fe6da94fc73f>,
//! Apache-2.0.

use std::fmt;
use std::str::FromStr;

/// A table of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colormap {
    /// Dark blue, green, yellow.
    Viridis,
    /// Black, red, yellow.
    #[default]
    Inferno,
    /// Dark blue, green, dark red.
    Turbo,
}

/// Entries of a table from one given colour to the next.
const STEP: usize = 15;

/// RGB of every [`STEP`]th entry.
type Colours = [[u8; 3]; 18];

#[rustfmt::skip]
const VIRIDIS: Colours = [
    [68, 1, 84], [72, 23, 105], [71, 42, 122], [67, 61, 132], [61, 78, 138], [53, 94, 141],
    [46, 109, 142], [41, 123, 142], [35, 137, 142], [31, 151, 139], [33, 165, 133], [46, 179, 124],
    [70, 192, 111], [101, 203, 94], [137, 213, 72], [176, 221, 47], [216, 226, 25], [253, 231, 37],
];

#[rustfmt::skip]
const INFERNO: Colours = [
    [0, 0, 4], [10, 7, 34], [30, 12, 69], [56, 9, 98], [81, 14, 108], [105, 22, 110],
    [128, 31, 108], [152, 39, 102], [176, 49, 91], [198, 61, 77], [217, 77, 61], [233, 97, 43],
    [244, 121, 24], [250, 148, 7], [252, 176, 20], [248, 205, 55], [242, 234, 105], [252, 255, 164],
];

#[rustfmt::skip]
const TURBO: Colours = [
    [48, 18, 59], [63, 62, 156], [70, 102, 221], [69, 140, 253], [47, 178, 244], [26, 212, 208],
    [34, 235, 170], [82, 250, 122], [139, 255, 75], [183, 247, 53], [219, 226, 54], [245, 197, 58],
    [254, 161, 48], [249, 117, 29], [232, 75, 12], [206, 45, 4], [169, 22, 1], [122, 4, 3],
];

impl Colormap {
    const ALL: [Self; 3] = [Self::Viridis, Self::Inferno, Self::Turbo];

    /// `viridis`, `inferno` or `turbo`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viridis => "viridis",
            Self::Inferno => "inferno",
            Self::Turbo => "turbo",
        }
    }

    /// Its RGB colours, from low to high.
    #[must_use]
    pub fn table(self) -> [[u8; 3]; 256] {
        let colours = match self {
            Self::Viridis => VIRIDIS,
            Self::Inferno => INFERNO,
            Self::Turbo => TURBO,
        };
        std::array::from_fn(|at| {
            let (first, share) = (at / STEP, at % STEP);
            let second = colours[(first + 1).min(colours.len() - 1)];
            std::array::from_fn(|channel| {
                let between = usize::from(colours[first][channel]) * (STEP - share)
                    + usize::from(second[channel]) * share;
                ((between + STEP / 2) / STEP) as u8
            })
        })
    }
}

impl FromStr for Colormap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|map| map.name() == text);
        named.ok_or_else(|| {
            format!(
                "`{}` is not viridis, inferno or turbo",
                text.escape_default()
            )
        })
    }
}

impl fmt::Display for Colormap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Colours of matplotlib 3.11 at 0, 64, 128, 192 and 255.
    const EXPECTED: [(Colormap, [[u8; 3]; 5]); 3] = [
        (
            Colormap::Viridis,
            [
                [68, 1, 84],
                [59, 82, 139],
                [33, 145, 140],
                [94, 201, 98],
                [253, 231, 37],
            ],
        ),
        (
            Colormap::Inferno,
            [
                [0, 0, 4],
                [87, 16, 110],
                [188, 55, 84],
                [249, 142, 9],
                [252, 255, 164],
            ],
        ),
        (
            Colormap::Turbo,
            [
                [48, 18, 59],
                [40, 188, 235],
                [164, 252, 60],
                [251, 126, 33],
                [122, 4, 3],
            ],
        ),
    ];

    #[test]
    fn colours_are_close_to_the_published_tables() {
        for (colormap, expected) in EXPECTED {
            let table = colormap.table();
            for (at, expected) in [0, 64, 128, 192, 255].into_iter().zip(expected) {
                for channel in 0..3 {
                    let (found, expected) = (table[at][channel], expected[channel]);
                    let difference = found.abs_diff(expected);
                    assert!(
                        difference <= 6,
                        "{colormap} at {at}: {found}, expected {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_name_is_parsed_and_others_are_refused() {
        for colormap in Colormap::ALL {
            assert_eq!(colormap.name().parse(), Ok(colormap));
        }
        assert!("jet".parse::<Colormap>().unwrap_err().contains("turbo"));
    }
}
