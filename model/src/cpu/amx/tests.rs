//! Compares AMX blocks of every size with a simple loop in f64. AMX is emulated if
//! the CPU does not have it. Memory that must not be read contains NaN or large
//! values. Memory that must not be written contains a poison value.

use proptest::prelude::*;

use super::*;

/// The value of memory that must not be written.
const POISON: u32 = 0x7FC0_BEEF;

/// The SplitMix64 pseudo-random generator.
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}

/// Installs the emulator if the CPU has no AMX.
pub(super) fn ensure_amx() {
    if !available() {
        emulator::install();
    }
}

/// Reference arithmetic on words in f64; sums are given as bits.
trait TestWords: DotProduct {
    /// The relative error of one rounding; 0 for int8, which is exact.
    const EPSILON: f64;
    /// Fills operands with random values.
    fn fill(random: &mut SplitMix, bytes: &mut [u8]);
    /// The contents of memory that must not be read.
    const STRAY: [u8; 4];
    /// The products of the channels of two words.
    fn products(pixels: [u8; 4], weights: [u8; 4]) -> Vec<f64>;
    /// A random initial sum.
    fn partial(random: &mut SplitMix) -> u32;
    /// The value of a sum.
    fn sum(bits: u32) -> f64;
}

fn bf16(bytes: &[u8]) -> f64 {
    f32::from_bits(u32::from_le_bytes([0, 0, bytes[0], bytes[1]])).into()
}

/// A random float in -1..1.
fn float(random: &mut SplitMix) -> f32 {
    (random.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

impl TestWords for Bf16 {
    const EPSILON: f64 = f32::EPSILON as f64;
    const STRAY: [u8; 4] = [0xC1, 0x7F, 0xC1, 0x7F];

    fn fill(random: &mut SplitMix, bytes: &mut [u8]) {
        for channel in bytes.chunks_exact_mut(2) {
            channel.copy_from_slice(&float(random).to_le_bytes()[2..]);
        }
    }

    fn products(pixels: [u8; 4], weights: [u8; 4]) -> Vec<f64> {
        let halves = pixels.chunks_exact(2).zip(weights.chunks_exact(2));
        halves.map(|(x, w)| bf16(x) * bf16(w)).collect()
    }

    fn partial(random: &mut SplitMix) -> u32 {
        (float(random) * 8.0).to_bits()
    }

    fn sum(bits: u32) -> f64 {
        f32::from_bits(bits).into()
    }
}

impl TestWords for Int8 {
    const EPSILON: f64 = 0.0;
    const STRAY: [u8; 4] = [0xFF, 0x7F, 0x7F, 0xFF];

    fn fill(random: &mut SplitMix, bytes: &mut [u8]) {
        bytes.fill_with(|| random.next() as u8);
    }

    fn products(pixels: [u8; 4], weights: [u8; 4]) -> Vec<f64> {
        let bytes = pixels.into_iter().zip(weights);
        bytes
            .map(|(x, w)| f64::from(x) * f64::from(w as i8))
            .collect()
    }

    fn partial(random: &mut SplitMix) -> u32 {
        (random.next() as i32 >> 8) as u32
    }

    fn sum(bits: u32) -> f64 {
        (bits as i32).into()
    }
}

/// Rows of `len` bytes at a constant stride, from an unaligned address.
struct Rows {
    bytes: Vec<u8>,
    stride: usize,
}

impl Rows {
    fn new<D: TestWords>(random: &mut SplitMix, rows: usize, len: usize, gap: usize) -> Self {
        let stride = len + gap;
        let mut bytes = D::STRAY.repeat((stride * (rows + 1)).div_ceil(4));
        for row in 0..rows {
            let start = row * stride + 4;
            D::fill(random, &mut bytes[start..start + len]);
        }
        Self { bytes, stride }
    }

    fn pointer(&self) -> *const u8 {
        self.bytes[4..].as_ptr()
    }

    fn word(&self, row: usize, word: usize) -> [u8; 4] {
        let start = row * self.stride + word * 4 + 4;
        std::array::from_fn(|i| self.bytes[start + i])
    }
}

/// A test case: the steps of each run of products, and the bytes between rows.
#[derive(Clone, Debug)]
struct Shape {
    runs: Vec<usize>,
    pixel_gap: usize,
    weight_gap: usize,
    sum_gap: usize,
    partial: bool,
    seed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let gap = || (0_usize..40).prop_map(|words| words * 4);
    let runs = prop::collection::vec(0_usize..5, 1..4);
    (runs, gap(), gap(), gap(), any::<bool>(), any::<u64>()).prop_map(
        |(runs, pixel_gap, weight_gap, sum_gap, partial, seed)| Shape {
            runs,
            pixel_gap,
            weight_gap,
            sum_gap,
            partial,
            seed,
        },
    )
}

/// Computes one block from several runs, each with separate buffers, and
/// compares it with the reference.
fn check<D: TestWords, const PT: usize, const VT: usize>(
    shape: &Shape,
) -> Result<(), TestCaseError> {
    ensure_amx();
    let mut random = SplitMix(shape.seed);
    let stride = VT * ROW_BYTES + shape.sum_gap;
    let mut sums: [Vec<u32>; PT] = std::array::from_fn(|_| vec![POISON; stride * 18 / 4]);
    let offset = |p: usize, v: usize| (p + 1) * stride / 4 + v;
    if shape.partial {
        for sums in &mut sums {
            for (p, v) in (0..ROWS).flat_map(|p| (0..VT * 16).map(move |v| (p, v))) {
                sums[offset(p, v)] = D::partial(&mut random);
            }
        }
    }
    let before = sums.clone();
    let args: Vec<(usize, [Rows; PT], [Rows; VT])> = shape
        .runs
        .iter()
        .map(|&steps| {
            let mut gap = shape.pixel_gap;
            let pixels = std::array::from_fn(|_| {
                gap += 4;
                Rows::new::<D>(&mut random, ROWS, steps * ROW_BYTES, gap)
            });
            let weights = std::array::from_fn(|_| {
                Rows::new::<D>(&mut random, steps * ROWS, ROW_BYTES, shape.weight_gap)
            });
            (steps, pixels, weights)
        })
        .collect();

    let to = sums
        .each_mut()
        .map(|sums| sums[offset(0, 0)..].as_mut_ptr().cast::<D::Sum>());
    // SAFETY: the buffers hold the rows; each thread uses one block at a time.
    unsafe {
        let mut tiles = Tiles::configure();
        let mut block = tiles.block::<D, PT, VT>();
        // Without partial sums this loads the poison value, which `zero` must
        // overwrite.
        block.load(&to.map(<*mut _>::cast_const), stride);
        if !shape.partial {
            block.zero();
        }
        for (steps, pixels, weights) in &args {
            let from = pixels.each_ref().map(Rows::pointer);
            let by = pixels.each_ref().map(|rows| rows.stride);
            let (with, row) = (weights.each_ref().map(Rows::pointer), weights[0].stride);
            block.multiply(&from, &by, &with, row, *steps);
        }
        block.store(&to, stride);
    }

    for p in 0..PT * ROWS {
        let (tile, row) = (p / ROWS, p % ROWS);
        for v in 0..VT * 16 {
            let old = before[tile][offset(row, v)];
            let mut exact = if shape.partial { D::sum(old) } else { 0.0 };
            let (mut magnitude, mut terms) = (exact.abs(), 1.0);
            for (steps, pixels, weights) in &args {
                for k in 0..steps * ROWS {
                    let (x, w) = (pixels[tile].word(row, k), weights[v / 16].word(k, v % 16));
                    let products = D::products(x, w);
                    prop_assert_eq!(products.len(), D::CHANNELS);
                    for product in products {
                        exact += product;
                        magnitude += product.abs();
                        terms += 1.0;
                    }
                }
            }
            let got = D::sum(sums[tile][offset(row, v)]);
            let tolerance = D::EPSILON * magnitude * terms;
            prop_assert!(
                (got - exact).abs() <= tolerance,
                "pixel {p}, channel {v}: {got}, expected {exact}"
            );
        }
    }
    for (sums, before) in sums.iter_mut().zip(&before) {
        for (p, v) in (0..ROWS).flat_map(|p| (0..VT * 16).map(move |v| (p, v))) {
            sums[offset(p, v)] = before[offset(p, v)];
        }
        prop_assert!(sums == before, "a word outside the block was written");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn bf16_blocks_of_any_size_match_the_reference(shape in shapes()) {
        check::<Bf16, 2, 2>(&shape)?;
        check::<Bf16, 2, 1>(&shape)?;
        check::<Bf16, 1, 2>(&shape)?;
        check::<Bf16, 1, 1>(&shape)?;
    }

    #[test]
    fn int8_blocks_of_any_size_match_the_reference_exactly(shape in shapes()) {
        check::<Int8, 2, 2>(&shape)?;
        check::<Int8, 2, 1>(&shape)?;
        check::<Int8, 1, 2>(&shape)?;
        check::<Int8, 1, 1>(&shape)?;
    }
}

/// The layout of a convolution: both channel tiles in one 128-byte row of a
/// panel, and the pixels of two tiles consecutive.
#[test]
fn tiles_may_be_parts_of_one_buffer() {
    ensure_amx();
    let steps = 3;
    let mut random = SplitMix(7);
    let pixels = Rows::new::<Int8>(&mut random, 2 * ROWS, steps * ROW_BYTES, 0);
    let panel = Rows::new::<Int8>(&mut random, steps * ROWS, 2 * ROW_BYTES, 0);
    let mut sums = vec![[0_i32; 32]; 32];
    // SAFETY: the buffers hold the rows.
    unsafe {
        let mut tiles = Tiles::configure();
        let mut block = tiles.block::<Int8, 2, 2>();
        block.zero();
        let (from, with) = (pixels.pointer(), panel.pointer());
        let from = [from, from.add(ROWS * pixels.stride)];
        block.multiply(
            &from,
            &[pixels.stride; 2],
            &[with, with.add(ROW_BYTES)],
            panel.stride,
            steps,
        );
        let to: *mut i32 = sums.as_mut_ptr().cast();
        block.store(&[to, to.add(ROWS * 32)], 128);
    }
    for p in 0..32 {
        for v in 0..32 {
            let products =
                (0..steps * ROWS).flat_map(|k| Int8::products(pixels.word(p, k), panel.word(k, v)));
            assert_eq!(f64::from(sums[p][v]), products.sum::<f64>(), "{p}, {v}");
        }
    }
}

#[test]
fn tiles_are_separate_in_each_thread() {
    ensure_amx();
    std::thread::scope(|scope| {
        for id in 0..4_i32 {
            scope.spawn(move || {
                let expected = [[id; 16]; 16];
                for _ in 0..200 {
                    let mut stored = [[-1_i32; 16]; 16];
                    // SAFETY: both arrays are a tile.
                    unsafe {
                        let mut tiles = Tiles::configure();
                        let mut block = tiles.block::<Int8, 1, 1>();
                        block.load(&[expected.as_ptr().cast()], ROW_BYTES);
                        std::thread::yield_now();
                        block.store(&[stored.as_mut_ptr().cast()], ROW_BYTES);
                    }
                    assert_eq!(stored, expected);
                }
            });
        }
    });
}

/// The kernel lists the features that it supports, but may still deny the
/// permission.
#[test]
fn amx_is_available_only_if_the_kernel_lists_it() {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let listed = ["amx_tile", "amx_bf16", "amx_int8"]
        .iter()
        .all(|name| cpuinfo.split_whitespace().any(|word| word == *name));
    assert!(listed || !available());
    assert_eq!(available(), available());
}
