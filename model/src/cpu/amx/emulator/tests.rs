//! Tests of the emulator itself: small tile shapes, rounding and illegal
//! instructions. All but the exact rounding also hold on CPUs that have the
//! instructions.

use std::arch::asm;

use crate::cpu::amx::tests::{SplitMix, ensure_amx};
use crate::cpu::amx::{Bf16, Int8, Tiles, available};

/// Random words: more than the rows of a tile at any stride used here.
pub(super) fn memory(seed: u64) -> Vec<u32> {
    let mut random = SplitMix(seed);
    (0..4096).map(|_| random.next() as u32).collect()
}

/// A product of 3 x 2 by 2 x 5 words; everything else must be unchanged.
#[test]
fn small_tile_shapes_leave_other_memory_unchanged() {
    ensure_amx();
    let mut config = [0_u8; 64];
    config[0] = 1;
    for (t, (rows, row)) in [(3, 20), (3, 8), (2, 20), (16, 64)].into_iter().enumerate() {
        config[16 + 2 * t] = row;
        config[48 + t] = rows;
    }
    let memory = memory(3);
    let mut stored = [[0xDEAD_BEEF_u32; 16]; 16];
    // SAFETY: the buffers hold a full tile each.
    unsafe {
        asm!("ldtilecfg [{config}]",
            "tileloadd tmm0, [{from} + {row}*1]",
            "tileloadd tmm1, [{from} + {row}*1]",
            "tileloadd tmm2, [{from} + {row}*1]",
            "tdpbusd tmm0, tmm1, tmm2",
            "tilestored [{to} + {row}*1], tmm0",
            "tilerelease",
            config = in(reg) config.as_ptr(), from = in(reg) memory.as_ptr(),
            to = in(reg) stored.as_mut_ptr(), row = in(reg) 64_usize);
    }
    for (m, row) in stored.iter().enumerate() {
        for (n, &word) in row.iter().enumerate() {
            let expected = if m < 3 && n < 5 {
                (0..2).fold(memory[m * 16 + n], |sum, k| {
                    let dot = super::tiles::dot(memory[m * 16 + k], memory[k * 16 + n]);
                    sum.wrapping_add(dot as u32)
                })
            } else {
                0xDEAD_BEEF
            };
            assert_eq!(word, expected, "{m}, {n}");
        }
    }
}

/// The sum of one pixel and one output channel over up to 16 words of bf16.
fn one_bf16(start: f32, pixels: &[(u16, u16)], weights: &[(u16, u16)]) -> f32 {
    let word = |&(even, odd): &(u16, u16)| u32::from(even) | u32::from(odd) << 16;
    let (mut a, mut b, mut c) = ([[0_u32; 16]; 16], [[0_u32; 16]; 16], [[0.0_f32; 16]; 16]);
    for (k, (x, w)) in pixels.iter().zip(weights).enumerate() {
        a[0][k] = word(x);
        b[k][0] = word(w);
    }
    c[0][0] = start;
    // SAFETY: each array is a tile.
    unsafe {
        let mut tiles = Tiles::configure();
        let mut block = tiles.block::<Bf16, 1, 1>();
        block.load(&[c.as_ptr().cast()], 64);
        block.multiply(&[a.as_ptr().cast()], &[64], &[b.as_ptr().cast()], 64, 1);
        block.store(&[c.as_mut_ptr().cast()], 64);
    }
    c[0][0]
}

const ONE: u16 = 0x3F80;
const TINY: u16 = 0x3300; // 2^-25: lost when added to 1
const SMALLEST: u16 = 0x0080; // 2^-126, the smallest normal number
const DENORMAL: u16 = 0x0040;
const HALF: u16 = 0x3F00;

#[test]
fn denormals_are_flushed_to_zero() {
    ensure_amx();
    assert_eq!(
        one_bf16(0.0, &[(DENORMAL, 0)], &[(ONE, 0)]),
        0.0,
        "denormal pixel"
    );
    assert_eq!(
        one_bf16(0.0, &[(0, ONE)], &[(0, DENORMAL)]),
        0.0,
        "denormal weight"
    );
    assert_eq!(one_bf16(1e-40, &[(0, 0)], &[(0, 0)]), 0.0, "denormal sum");
    assert_eq!(
        one_bf16(0.0, &[(SMALLEST, 0)], &[(HALF, 0)]),
        0.0,
        "denormal product"
    );
    assert_eq!(
        one_bf16(0.0, &[(SMALLEST, 0)], &[(ONE, 0)]),
        f32::MIN_POSITIVE
    );
}

/// Even and odd channels are accumulated separately and only then added to the
/// tile's sum.
#[test]
fn bf16_sums_round_in_the_documented_order() {
    if available() {
        return; // the emulator follows the manual; hardware may use another order
    }
    ensure_amx();
    let one = f32::from_bits(u32::from(ONE) << 16);
    // Added to each other first, 4 x 2^-25 are 2^-23, which survives the
    // addition to 1.
    let survives = one + f32::EPSILON;
    assert_eq!(
        one_bf16(one, &[(TINY, TINY); 2], &[(ONE, ONE); 2]),
        survives
    );
    // In the even sum, which contains a 1, they are lost; in the odd sum they
    // are not.
    let first = |even| [(if even { ONE } else { 0 }, if even { 0 } else { ONE })];
    let tiny = [(TINY, 0); 4];
    assert_eq!(
        one_bf16(0.0, &[&first(true)[..], &tiny].concat(), &[(ONE, ONE); 5]),
        one
    );
    assert_eq!(
        one_bf16(0.0, &[&first(false)[..], &tiny].concat(), &[(ONE, ONE); 5]),
        survives
    );
}

#[test]
fn int8_sums_wrap_and_only_weights_are_signed() {
    ensure_amx();
    let (a, b) = ([[0xFFFF_FFFF_u32; 16]; 16], [[0x7F7F_7F7F_u32; 16]; 16]);
    for (b, product) in [(b, 255 * 127), (a, -255)] {
        let mut c = [[i32::MAX - 5; 16]; 16];
        // SAFETY: each array is a tile.
        unsafe {
            let mut tiles = Tiles::configure();
            let mut block = tiles.block::<Int8, 1, 1>();
            block.load(&[c.as_ptr().cast()], 64);
            block.multiply(&[a.as_ptr().cast()], &[64], &[b.as_ptr().cast()], 64, 1);
            block.store(&[c.as_mut_ptr().cast()], 64);
        }
        assert_eq!(c, [[(i32::MAX - 5).wrapping_add(64 * product); 16]; 16]);
    }
}

/// Runs `body` in a child process and returns the signal that ended it, or 0.
fn child_signal(body: unsafe fn()) -> i32 {
    // SAFETY: the child calls only async-signal-safe functions and then exits.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            libc::close(2);
            body();
            libc::_exit(0);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        if libc::WIFSIGNALED(status) {
            libc::WTERMSIG(status)
        } else {
            0
        }
    }
}

/// Bodies for [`child_signal`].
mod bodies {
    use super::*;

    pub(super) unsafe fn configured() {
        // SAFETY: the child's only tiles.
        unsafe {
            let _tiles = Tiles::configure();
            asm!("tilezero tmm0", "tdpbf16ps tmm0, tmm1, tmm2");
        }
    }

    pub(super) unsafe fn never_configured() {
        // SAFETY: the instruction raises SIGILL.
        unsafe { asm!("tilerelease", "tilezero tmm0") }
    }

    pub(super) unsafe fn released() {
        // SAFETY: the child's only tiles; the instruction raises SIGILL.
        unsafe {
            drop(Tiles::configure());
            asm!("tilezero tmm0");
        }
    }

    pub(super) unsafe fn same_tile_twice() {
        // SAFETY: the child's only tiles; the instruction raises SIGILL.
        unsafe {
            let _tiles = Tiles::configure();
            // tdpbusd tmm0, tmm1, tmm1, which assemblers reject
            asm!(".byte 0xC4, 0xE2, 0x71, 0x5E, 0xC1");
        }
    }

    pub(super) unsafe fn other_illegal_instruction() {
        // SAFETY: the instruction raises SIGILL.
        unsafe { asm!("ud2") }
    }
}

#[test]
fn illegal_instructions_still_raise_sigill() {
    ensure_amx();
    assert_eq!(child_signal(bodies::configured), 0);
    assert_eq!(child_signal(bodies::never_configured), libc::SIGILL);
    assert_eq!(child_signal(bodies::released), libc::SIGILL);
    assert_eq!(child_signal(bodies::same_tile_twice), libc::SIGILL);
    assert_eq!(
        child_signal(bodies::other_illegal_instruction),
        libc::SIGILL
    );
}

/// `vpdpbusd` with register and memory operands, 128 and 256 bits, low and high
/// register numbers. The bits above the result are zero.
#[test]
fn vpdpbusd_matches_its_definition() {
    if !is_x86_feature_detected!("avx2") {
        return;
    }
    super::install();
    let memory = memory(4);
    let (c, x, y) = (&memory[..8], &memory[8..16], &memory[16..24]);
    let expected: Vec<u32> = (0..8)
        .map(|i| c[i].wrapping_add(super::tiles::dot(x[i], y[i]) as u32))
        .collect();
    macro_rules! product {
        ($($code:literal),+) => {{
            let mut to = [0_u32; 8];
            // SAFETY: the CPU has AVX2, and each pointer is valid for 32 bytes.
            unsafe {
                asm!("vmovdqu ymm3, [{c}]", "vmovdqu ymm14, [{x}]", "vmovdqu ymm5, [{y}]",
                    $($code,)+ "vmovdqu [{to}], ymm3",
                    c = in(reg) c.as_ptr(), x = in(reg) x.as_ptr(), y = in(reg) y.as_ptr(),
                    to = in(reg) to.as_mut_ptr(),
                    out("ymm3") _, out("ymm14") _, out("ymm5") _, out("ymm12") _);
            }
            to
        }};
    }
    assert_eq!(product!("{{vex}} vpdpbusd ymm3, ymm14, ymm5")[..], expected);
    assert_eq!(
        product!("{{vex}} vpdpbusd ymm3, ymm14, [{y}]")[..],
        expected
    );
    let swapped = product!(
        "vmovdqa ymm12, ymm3",
        "vmovdqa ymm3, ymm14",
        "{{vex}} vpdpbusd ymm12, ymm3, ymm5",
        "vmovdqa ymm3, ymm12"
    );
    assert_eq!(swapped[..], expected);
    let short = product!("{{vex}} vpdpbusd xmm3, xmm14, xmm5");
    assert_eq!((&short[..4], &short[4..]), (&expected[..4], &[0; 4][..]));
    let of_zeros = product!("vzeroall", "{{vex}} vpdpbusd ymm3, ymm14, [{y}]");
    assert_eq!(of_zeros, [0; 8]);
}

#[test]
fn vpdpbusd_clears_the_upper_half_of_zmm() {
    if !is_x86_feature_detected!("avx512f") {
        return;
    }
    super::install();
    let mut to = [1_u32; 16];
    // SAFETY: the CPU has AVX-512, and the pointer is valid for 64 bytes.
    unsafe {
        asm!("vmovdqu32 zmm3, [{to}]", "vpxor xmm14, xmm14, xmm14",
            "{{vex}} vpdpbusd ymm3, ymm14, ymm14", "vmovdqu32 [{to}], zmm3",
            to = in(reg) to.as_mut_ptr(), out("zmm3") _, out("zmm14") _);
    }
    assert_eq!((&to[..8], &to[8..]), (&[1; 8][..], &[0; 8][..]));
}
