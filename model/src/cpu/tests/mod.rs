//! Every kernel against a plain loop in f64, on sizes that fit no vector, in
//! every number type and instruction set, with buffers poisoned so that an
//! unwritten or a stray number shows.

mod conv;
mod network;
mod steps;

use half::bf16;

use super::*;

const GUARD: usize = 64;

/// A number type under test.
trait Number: Element + PartialEq + std::fmt::Debug {
    /// What an interior holds before it is written.
    const POISON: Self;
    /// What stands around a map.
    const CANARY: Self;
    /// Half the distance of neighbours, of numbers up to 1.
    fn rounding(affine: Affine) -> f64;
}

impl Number for f32 {
    const POISON: Self = f32::NAN;
    const CANARY: Self = -12345.0;
    fn rounding(_: Affine) -> f64 {
        0.0
    }
}

impl Number for bf16 {
    const POISON: Self = bf16::NAN;
    const CANARY: Self = bf16::from_bits(0xC640);
    fn rounding(_: Affine) -> f64 {
        1.0 / 256.0
    }
}

impl Number for u8 {
    const POISON: Self = 0xA5;
    const CANARY: Self = 0x5A;
    fn rounding(affine: Affine) -> f64 {
        f64::from(affine.scale) * 0.501
    }
}

/// Every instruction set of this processor, and for numbers that are words'
/// parts those that can be emulated.
fn levels<E: Number>() -> Vec<Level> {
    #[allow(unused_mut)]
    let mut levels = Level::all();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if E::PER_WORD > 1 {
        levels.extend(Level::emulated());
    }
    levels
}

/// Reproducible floats in -1..1.
fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The floats that numbers of type `E` hold after rounding.
fn rounded<E: Number>(values: &[f32], affine: Affine) -> Vec<f32> {
    let round = |&x: &f32| E::from_f32(x, affine).to_f32(affine);
    values.iter().map(round).collect()
}

/// The bytes that cover some values.
fn covering(values: &[f64]) -> Affine {
    let low = values.iter().fold(0.0f64, |m, &x| m.min(x));
    let high = values.iter().fold(0.0f64, |m, &x| m.max(x));
    Affine::covering(low as f32, high as f32)
}

/// A map in a guarded buffer: zero border, interior from `values` (poison when
/// there are none).
struct Buffer<E> {
    data: Vec<E>,
    map: Map,
    affine: Affine,
}

impl<E: Number> Buffer<E> {
    fn new(map: Map, affine: Affine, values: Option<&[f32]>) -> Self {
        let mut data = vec![E::CANARY; map.len() + 2 * GUARD];
        data[GUARD..GUARD + map.len()].fill(E::from_f32(0.0, affine));
        let mut buffer = Self { data, map, affine };
        for (i, at) in buffer.interior().into_iter().enumerate() {
            buffer.data[at] = values.map_or(E::POISON, |v| E::from_f32(v[i], affine));
        }
        buffer
    }

    /// Where the interior's numbers lie, in the order n, y, x, c.
    fn interior(&self) -> Vec<usize> {
        let m = self.map;
        let (rows, columns) = (m.height + 2 * m.border, m.width + 2 * m.border);
        let mut places = Vec::new();
        for n in 0..m.n {
            for y in m.border..m.border + m.height {
                for x in m.border..m.border + m.width {
                    let pixel = (n * rows + y) * columns + x;
                    places.extend((0..m.channels).map(|c| GUARD + pixel * m.channels + c));
                }
            }
        }
        places
    }

    fn values(&self) -> Vec<f32> {
        let value = |at: usize| self.data[at].to_f32(self.affine);
        self.interior().into_iter().map(value).collect()
    }

    fn view(&self) -> View<'_, E> {
        let data = &self.data[GUARD..GUARD + self.map.len()];
        View::new(data, self.map, self.affine)
    }

    fn view_mut(&mut self) -> ViewMut<'_, E> {
        let (map, end) = (self.map, GUARD + self.map.len());
        ViewMut::new(&mut self.data[GUARD..end], map, self.affine)
    }

    /// Everything outside the interior is as it was.
    fn assert_untouched(&self) {
        let interior: std::collections::HashSet<_> = self.interior().into_iter().collect();
        let zero = E::from_f32(0.0, self.affine);
        for (at, &x) in self.data.iter().enumerate() {
            let guard = at < GUARD || at >= GUARD + self.map.len();
            if guard {
                assert_eq!(x, E::CANARY, "guard at {at} of {:?}", self.map);
            } else if !interior.contains(&at) {
                assert_eq!(x, zero, "border at {at} of {:?}", self.map);
            }
        }
    }

    /// The interior holds what is expected, to a rounding of its type and
    /// `tolerance`, of the largest.
    fn assert_close(&self, expected: &[f64], tolerance: f64, what: &str) {
        let got = self.values();
        assert_eq!(got.len(), expected.len());
        let largest = expected.iter().fold(1.0f64, |m, x| m.max(x.abs()));
        // bytes have one distance, floats one that grows
        let unit = if E::PER_WORD == 4 { 1.0 } else { largest };
        let most = tolerance * largest + E::rounding(self.affine) * unit;
        for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
            let error = (f64::from(g) - e).abs();
            assert!(error <= most, "{what}: value {i} is {g}, not {e}");
        }
    }
}
