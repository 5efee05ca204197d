//! Deterministic weights from a tensor's name: any network of the family can
//! run, be timed and be checked without a file.
//!
//! The stream is `SplitMix64` (Steele, Lea and Flood 2014) seeded with the
//! name's FNV-1a hash; the scaling keeps activations near unit size.

/// `n` numbers in [-1, 1), a function of `name` and the index alone.
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

/// The values of tensor `name`, row-major, by what its name says it is: a
/// norm's statistics and scale stay near their neutral values, a convolution
/// or matrix is scaled by the square root of its fan-in (He et al. 2015b).
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
