//! Compares the implementations of the inverse DCT with each other and with the
//! definition.

use std::f64::consts::PI;

#[cfg(target_arch = "x86_64")]
use crate::decode::jpeg::avx2::Avx2Idct;
use crate::decode::jpeg::idct::{Idct, PortableIdct};
use crate::support::simd::{Simd, SimdTarget};

fn idct(simd: Simd, block: &[i16; 64], quantization: &[i32; 64]) -> [u8; 64] {
    let mut out = [0; 64];
    // SAFETY: a `Simd` exists only for an instruction set that this CPU supports.
    unsafe {
        match simd.target() {
            SimdTarget::Portable => PortableIdct::idct(block, quantization, &mut out, 8),
            #[cfg(target_arch = "x86_64")]
            SimdTarget::Avx2 => Avx2Idct::idct(block, quantization, &mut out, 8),
        }
    }
    out
}

/// Pseudo-random coefficients up to `size`, smaller at high frequencies. The
/// generator (linear congruential, Knuth's MMIX) is seeded with a constant.
fn blocks(size: i64) -> impl Iterator<Item = [i16; 64]> {
    let mut state = 2026u64;
    std::iter::repeat_with(move || {
        let mut block = [0; 64];
        for (i, coefficient) in block.iter_mut().enumerate() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let random = (state >> 33) as i64 % (2 * size + 1) - size;
            *coefficient = (random / (1 + i as i64 / 8)) as i16;
        }
        block
    })
}

#[test]
fn all_instruction_sets_give_the_same_samples() {
    for size in [30, 1000, 32_767] {
        for block in blocks(size).take(200) {
            let quantization = std::array::from_fn(|i| 1 + i as i32 / 3);
            let portable = idct(Simd::all().next().unwrap(), &block, &quantization);
            for simd in Simd::all() {
                assert_eq!(idct(simd, &block, &quantization), portable, "{simd:?}");
            }
        }
    }
}

#[test]
fn samples_differ_from_the_definition_only_by_rounding() {
    // ITU-T T.81, A.3.3
    let cosine = |u: usize, x: usize| {
        let norm = if u == 0 { 0.5f64.sqrt() } else { 1.0 };
        norm / 2.0 * ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos()
    };
    for block in blocks(200).take(50) {
        let samples = idct(Simd::best(), &block, &[2; 64]);
        for (x, column) in samples.chunks_exact(8).enumerate() {
            for (y, &sample) in column.iter().enumerate() {
                let basis = |i: usize| cosine(i % 8, x) * cosine(i / 8, y);
                let sum: f64 = (0..64).map(|i| 2.0 * f64::from(block[i]) * basis(i)).sum();
                let expected = (sum + 128.0).clamp(0.0, 255.0);
                assert!(
                    (f64::from(sample) - expected).abs() < 0.6,
                    "{sample}, {expected}"
                );
            }
        }
    }
}
