//! Compares every kernel with a simple loop in f64, on sizes that are not multiples
//! of a vector, for every element type and instruction set. Poison values in the
//! buffers show elements that are not written. Guards around the buffers show
//! writes out of bounds.

mod batch;
mod blur;
mod conv;
mod group_norm;
mod narrow_groups;
mod network;
mod pack;
mod steps;

use half::bf16;

use super::*;

const GUARD: usize = 64;

/// An element type under test.
trait TestElement: Element + PartialEq + std::fmt::Debug {
    /// The initial value of an interior.
    const POISON: Self;
    /// The value of the guards around a feature map.
    const CANARY: Self;
    /// The rounding error for values up to 1: half the distance between
    /// adjacent representable values.
    fn rounding(affine: Affine) -> f64;
}

impl TestElement for f32 {
    const POISON: Self = f32::NAN;
    const CANARY: Self = -12345.0;
    fn rounding(_: Affine) -> f64 {
        0.0
    }
}

impl TestElement for bf16 {
    const POISON: Self = bf16::NAN;
    const CANARY: Self = bf16::from_bits(0xC640);
    fn rounding(_: Affine) -> f64 {
        1.0 / 256.0
    }
}

impl TestElement for u8 {
    const POISON: Self = 0xA5;
    const CANARY: Self = 0x5A;
    fn rounding(affine: Affine) -> f64 {
        f64::from(affine.scale) * 0.501
    }
}

/// Every instruction set of this CPU, and for bf16 and u8 those that can be
/// emulated.
fn isas<E: TestElement>() -> Vec<SupportedIsa> {
    #[allow(unused_mut)]
    let mut isas = SupportedIsa::all();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if E::PER_WORD > 1 {
        isas.extend(SupportedIsa::emulated());
    }
    isas
}

/// Reproducible pseudo-random floats in -1..1.
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

/// `values` rounded to element type `E`.
fn rounded<E: TestElement>(values: &[f32], affine: Affine) -> Vec<f32> {
    let round = |&x: &f32| E::from_f32(x, affine).to_f32(affine);
    values.iter().map(round).collect()
}

/// Quantization parameters that cover all `values`.
fn covering(values: &[f64]) -> Affine {
    let low = values.iter().fold(0.0f64, |m, &x| m.min(x));
    let high = values.iter().fold(0.0f64, |m, &x| m.max(x));
    Affine::covering(low as f32, high as f32)
}

/// A feature map in a guarded buffer, with a zero border. Its interior is
/// `values`, or poison if there are none.
struct Buffer<E> {
    data: Vec<E>,
    map: FeatureMap,
    affine: Affine,
}

impl<E: TestElement> Buffer<E> {
    fn new(map: FeatureMap, affine: Affine, values: Option<&[f32]>) -> Self {
        let mut data = vec![E::CANARY; map.len() + 2 * GUARD];
        data[GUARD..GUARD + map.len()].fill(E::from_f32(0.0, affine));
        let mut buffer = Self { data, map, affine };
        for (i, at) in buffer.interior().into_iter().enumerate() {
            buffer.data[at] = values.map_or(E::POISON, |v| E::from_f32(v[i], affine));
        }
        buffer
    }

    /// The offsets of the interior's elements, in the order n, y, x, c.
    fn interior(&self) -> Vec<usize> {
        let m = self.map;
        let (rows, columns) = (m.height + 2 * m.border, m.width + 2 * m.border);
        let mut offsets = Vec::new();
        for n in 0..m.n {
            for y in m.border..m.border + m.height {
                for x in m.border..m.border + m.width {
                    let pixel = (n * rows + y) * columns + x;
                    offsets.extend((0..m.channels).map(|c| GUARD + pixel * m.channels + c));
                }
            }
        }
        offsets
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

    /// Asserts that nothing outside the interior was written.
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

    /// Asserts that the interior equals `expected` to within the rounding of
    /// its type plus `tolerance`, relative to the largest value.
    fn assert_close(&self, expected: &[f64], tolerance: f64, what: &str) {
        let got = self.values();
        assert_eq!(got.len(), expected.len());
        let largest = expected.iter().fold(1.0f64, |m, x| m.max(x.abs()));
        // u8 has a constant step, that of floats grows with the value
        let unit = if E::PER_WORD == 4 { 1.0 } else { largest };
        let most = tolerance * largest + E::rounding(self.affine) * unit;
        for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
            let error = (f64::from(g) - e).abs();
            assert!(error <= most, "{what}: value {i} is {g}, not {e}");
        }
    }
}
