//! Pseudo-random weights that depend only on a tensor's name and shape: any
//! supported network can be run, timed and tested without a checkpoint file.
//!
//! The generator is `SplitMix64` (Steele, Lea and Flood 2014), seeded with the
//! FNV-1a hash of the name. The values are scaled so that activations stay
//! near 1.

/// `n` values in [-1, 1) that depend only on `name` and the index.
fn uniform(name: &str, n: usize) -> impl Iterator<Item = f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (1..=n as u64).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 24 bits: exact in f32
        (z >> 40) as f32 / (1_u32 << 24) as f32 * 2.0 - 1.0
    })
}

/// The values of tensor `name` in row-major order. The name selects the
/// distribution: parameters of a norm are near their neutral values, weights of
/// a convolution or a linear layer are scaled by the square root of the fan-in
/// (He et al. 2015b).
#[must_use]
pub fn tensor(name: &str, shape: &[usize]) -> Vec<f32> {
    let u = uniform(name, shape.iter().product());
    if name == "input" {
        u.collect()
    } else if name.ends_with("running_mean") || name.ends_with("bias") {
        u.map(|u| 0.1 * u).collect()
    } else if name.ends_with("running_var") {
        u.map(|u| 1.0 + 0.5 * u.abs()).collect()
    } else if shape.len() == 1 {
        u.map(|u| 0.6 + 0.2 * u).collect()
    } else {
        let fan_in: usize = shape.iter().skip(1).product();
        let scale = (6.0 / fan_in as f64).sqrt() as f32;
        u.map(|u| u * scale).collect()
    }
}
