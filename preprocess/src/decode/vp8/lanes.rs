//! Arithmetic on 16 numbers of 16 bits at once. Each operation is a loop of its own,
//! which the compiler turns into one or two vector instructions.

use std::ops::{Add, BitAnd, BitOr, Not, Sub};

/// How many.
pub(super) const LANES: usize = 16;

/// The numbers; or a mask, whose bits are all set or all clear in each.
#[derive(Clone, Copy)]
pub(super) struct Lanes([i16; LANES]);

/// Computes each number. A closure would not be compiled for the instruction set of the
/// kernel that calls it.
macro_rules! each {
    ($i:ident => $value:expr) => {{
        let mut lanes = [0; LANES];
        for $i in 0..LANES {
            lanes[$i] = $value;
        }
        Lanes(lanes)
    }};
}

impl Lanes {
    #[inline(always)]
    pub(super) fn splat(value: i16) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    pub(super) fn widen(samples: &[u8; LANES]) -> Self {
        each!(i => i16::from(samples[i]))
    }

    /// As samples, limited to 0..=255.
    #[inline(always)]
    pub(super) fn narrow(self) -> [u8; LANES] {
        let mut samples = [0; LANES];
        for i in 0..LANES {
            samples[i] = self.0[i].clamp(0, 255) as u8;
        }
        samples
    }

    #[inline(always)]
    pub(super) fn clamp(self, least: i16, most: i16) -> Self {
        self.max(Self::splat(least)).min(Self::splat(most))
    }

    #[inline(always)]
    pub(super) fn max(self, other: Self) -> Self {
        each!(i => self.0[i].max(other.0[i]))
    }

    #[inline(always)]
    pub(super) fn min(self, other: Self) -> Self {
        each!(i => self.0[i].min(other.0[i]))
    }

    /// The distance of two numbers.
    #[inline(always)]
    pub(super) fn distance(self, other: Self) -> Self {
        self.max(other) - self.min(other)
    }

    #[inline(always)]
    pub(super) fn times(self, factor: i16) -> Self {
        each!(i => self.0[i].wrapping_mul(factor))
    }

    /// Divided by 2^`BITS`, rounded down.
    #[inline(always)]
    pub(super) fn shifted<const BITS: u32>(self) -> Self {
        each!(i => self.0[i] >> BITS)
    }

    /// A mask of the numbers that are larger than those of `other`.
    #[inline(always)]
    pub(super) fn exceeds(self, other: Self) -> Self {
        each!(i => -i16::from(self.0[i] > other.0[i]))
    }

    /// Whether all bits are clear.
    #[inline(always)]
    pub(super) fn is_zero(self) -> bool {
        let mut all = 0;
        for i in 0..LANES {
            all |= self.0[i];
        }
        all == 0
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        each!(i => self.0[i].wrapping_add(other.0[i]))
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        each!(i => self.0[i].wrapping_sub(other.0[i]))
    }
}

impl BitAnd for Lanes {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        each!(i => self.0[i] & other.0[i])
    }
}

impl BitOr for Lanes {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        each!(i => self.0[i] | other.0[i])
    }
}

impl Not for Lanes {
    type Output = Self;

    #[inline(always)]
    fn not(self) -> Self {
        each!(i => !self.0[i])
    }
}
