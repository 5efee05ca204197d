//! The products of 8-bit integers and of bf16, and the rounding to bf16. Rust has
//! no stable intrinsics for them yet (rust-lang/rust issues 117223 and 117224, and
//! none for bf16), so they are inline assembly. Registers of any element type are
//! passed as floats.
//!
//! The word `b` is word 0 of its register and is multiplied by every word of `a`. The
//! bf16 sums are rounded to odd and subnormal values become zero; every CPU does so.

use std::arch::aarch64::{float32x4_t, uint16x8_t};
use std::arch::asm;

/// An instruction that adds products to a register.
macro_rules! product {
    ($(#[$doc:meta])* $name:ident, $feature:literal, $instruction:literal) => {
        $(#[$doc])*
        #[inline]
        #[target_feature(enable = $feature)]
        pub(super) fn $name(mut sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            // SAFETY: computes on registers only; the CPU has the instruction.
            unsafe {
                asm!($instruction, sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags));
            }
            sum
        }
    };
}

product!(
    /// i32 sums of i8 weights `a` times the word `b` of i8.
    sdot,
    "neon,dotprod",
    "sdot {sum:v}.4s, {a:v}.16b, {b:v}.4b[0]"
);
product!(
    /// i32 sums of i8 weights `a` times the word `b` of u8.
    sudot,
    "neon,i8mm",
    "sudot {sum:v}.4s, {a:v}.16b, {b:v}.4b[0]"
);
product!(
    /// f32 sums of bf16 weights `a` times the word `b` of bf16.
    bfdot,
    "neon,bf16",
    "bfdot {sum:v}.4s, {a:v}.8h, {b:v}.2h[0]"
);
product!(
    /// 2 rows of 8 u8 times 2 columns of 8 i8: a 2x2 matrix of i32 sums.
    usmmla,
    "neon,i8mm",
    "usmmla {sum:v}.4s, {a:v}.16b, {b:v}.16b"
);
product!(
    /// 2 rows of 4 bf16 times 2 columns of 4 bf16: a 2x2 matrix of f32 sums.
    bfmmla,
    "neon,bf16",
    "bfmmla {sum:v}.4s, {a:v}.8h, {b:v}.8h"
);

/// Rounds floats to bf16, to nearest even.
#[inline]
#[target_feature(enable = "neon,bf16")]
pub(super) fn bfcvt([low, high]: [float32x4_t; 2]) -> uint16x8_t {
    let halves;
    // SAFETY: computes on registers only; the CPU has the instructions.
    unsafe {
        asm!("bfcvtn {halves:v}.4h, {low:v}.4s", "bfcvtn2 {halves:v}.8h, {high:v}.4s",
            halves = out(vreg) halves, low = in(vreg) low, high = in(vreg) high,
            options(pure, nomem, nostack, preserves_flags));
    }
    halves
}
