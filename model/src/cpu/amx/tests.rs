//! Blocks of every size against a plain loop in f64, emulated where there is
//! no AMX. What must not be read is NaN or large, what must not be written is
//! poisoned.

use proptest::prelude::*;

use super::*;

/// A tile's sums in the output, and the poison between them.
const POISON: u32 = 0x7FC0_BEEF;

/// Reproducible numbers.
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

/// Has AMX, or pretends to.
pub(super) fn ready() {
    if !available() {
        emulator::install();
    }
}

/// A word's arithmetic in f64, and the sums as bits.
trait Words: Product {
    /// What one rounding may lose of a magnitude; int8 loses nothing.
    const EPSILON: f64;
    /// Fills what is read, and what is not.
    fn fill(random: &mut SplitMix, bytes: &mut [u8]);
    const STRAY: [u8; 4];
    /// The channels' products.
    fn products(pixels: [u8; 4], weights: [u8; 4]) -> Vec<f64>;
    fn partial(random: &mut SplitMix) -> u32;
    fn sum(bits: u32) -> f64;
}

fn bf16(bytes: &[u8]) -> f64 {
    f32::from_bits(u32::from_le_bytes([0, 0, bytes[0], bytes[1]])).into()
}

/// In -1..1.
fn float(random: &mut SplitMix) -> f32 {
    (random.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

impl Words for Bf16 {
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

impl Words for Int8 {
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

/// Rows of some bytes at a stride, from an odd address.
struct Rows {
    bytes: Vec<u8>,
    stride: usize,
}

impl Rows {
    fn new<D: Words>(random: &mut SplitMix, rows: usize, len: usize, gap: usize) -> Self {
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

/// Runs of 16-word steps and the bytes between rows.
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

/// One block, every run of its own buffers, against the loop.
fn check<D: Words, const PT: usize, const VT: usize>(shape: &Shape) -> Result<(), TestCaseError> {
    ready();
    let mut random = SplitMix(shape.seed);
    let stride = VT * ROW + shape.sum_gap;
    let mut sums: [Vec<u32>; PT] = std::array::from_fn(|_| vec![POISON; stride * 18 / 4]);
    let place = |p: usize, v: usize| (p + 1) * stride / 4 + v;
    if shape.partial {
        for sums in &mut sums {
            for (p, v) in (0..ROWS).flat_map(|p| (0..VT * 16).map(move |v| (p, v))) {
                sums[place(p, v)] = D::partial(&mut random);
            }
        }
    }
    let before = sums.clone();
    let operands: Vec<(usize, [Rows; PT], [Rows; VT])> = shape
        .runs
        .iter()
        .map(|&steps| {
            let mut gap = shape.pixel_gap;
            let pixels = std::array::from_fn(|_| {
                gap += 4;
                Rows::new::<D>(&mut random, ROWS, steps * ROW, gap)
            });
            let weights = std::array::from_fn(|_| {
                Rows::new::<D>(&mut random, steps * ROWS, ROW, shape.weight_gap)
            });
            (steps, pixels, weights)
        })
        .collect();

    let to = sums
        .each_mut()
        .map(|sums| sums[place(0, 0)..].as_mut_ptr().cast::<D::Sum>());
    // SAFETY: the buffers hold the rows; tests run one block a thread.
    unsafe {
        let mut tiles = Tiles::configure();
        let mut block = tiles.block::<D, PT, VT>();
        // The poison, when there are no partial sums: `zero` is to remove it.
        block.load(&to.map(<*mut _>::cast_const), stride);
        if !shape.partial {
            block.zero();
        }
        for (steps, pixels, weights) in &operands {
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
            let old = before[tile][place(row, v)];
            let mut exact = if shape.partial { D::sum(old) } else { 0.0 };
            let (mut magnitude, mut terms) = (exact.abs(), 1.0);
            for (steps, pixels, weights) in &operands {
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
            let got = D::sum(sums[tile][place(row, v)]);
            let may_lose = D::EPSILON * magnitude * terms;
            prop_assert!(
                (got - exact).abs() <= may_lose,
                "{p}, {v}: {got} for {exact}"
            );
        }
    }
    for (sums, before) in sums.iter_mut().zip(&before) {
        for (p, v) in (0..ROWS).flat_map(|p| (0..VT * 16).map(move |v| (p, v))) {
            sums[place(p, v)] = before[place(p, v)];
        }
        prop_assert!(sums == before, "a word outside the block was written");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_bf16_block_of_any_size_is_the_sum_of_its_products(shape in shapes()) {
        check::<Bf16, 2, 2>(&shape)?;
        check::<Bf16, 2, 1>(&shape)?;
        check::<Bf16, 1, 2>(&shape)?;
        check::<Bf16, 1, 1>(&shape)?;
    }

    #[test]
    fn an_int8_block_of_any_size_is_exactly_the_sum_of_its_products(shape in shapes()) {
        check::<Int8, 2, 2>(&shape)?;
        check::<Int8, 2, 1>(&shape)?;
        check::<Int8, 1, 2>(&shape)?;
        check::<Int8, 1, 1>(&shape)?;
    }
}

/// A convolution's panel: both channel tiles in one row of 128 bytes, and the
/// pixels of two tiles one behind the other.
#[test]
fn tiles_may_share_rows() {
    ready();
    let steps = 3;
    let mut random = SplitMix(7);
    let pixels = Rows::new::<Int8>(&mut random, 2 * ROWS, steps * ROW, 0);
    let panel = Rows::new::<Int8>(&mut random, steps * ROWS, 2 * ROW, 0);
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
            &[with, with.add(ROW)],
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
fn every_thread_has_its_own_tiles() {
    ready();
    std::thread::scope(|scope| {
        for id in 0..4_i32 {
            scope.spawn(move || {
                let own = [[id; 16]; 16];
                for _ in 0..200 {
                    let mut seen = [[-1_i32; 16]; 16];
                    // SAFETY: both arrays are a tile.
                    unsafe {
                        let mut tiles = Tiles::configure();
                        let mut block = tiles.block::<Int8, 1, 1>();
                        block.load(&[own.as_ptr().cast()], ROW);
                        std::thread::yield_now();
                        block.store(&[seen.as_mut_ptr().cast()], ROW);
                    }
                    assert_eq!(seen, own);
                }
            });
        }
    });
}

/// The kernel lists what it saves; it may still refuse to grant it.
#[test]
fn available_only_where_the_kernel_lists_it() {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let listed = ["amx_tile", "amx_bf16", "amx_int8"]
        .iter()
        .all(|name| processor.split_whitespace().any(|word| word == *name));
    assert!(listed || !available());
    assert_eq!(available(), available());
}
