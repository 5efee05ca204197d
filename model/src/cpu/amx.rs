//! Intel's tile registers: a block of 2 x 2 tiles, 32 pixels times 32 output
//! channels, whose sums stay in registers while bf16 or int8 words stream by.
//! `detect` says whether the processor has them, `instructions` spells them.

mod detect;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod emulator;
mod instructions;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests;

use std::marker::PhantomData;

pub(crate) use detect::available;
pub(crate) use instructions::{Bf16, Int8, Product};

/// Rows of a tile: pixels, or the words of a step.
pub(crate) const ROWS: usize = 16;

/// Bytes of a tile's row: 32 bf16 or 64 int8 channels of a pixel, or one word
/// of 16 output channels, or 16 sums.
pub(crate) const ROW: usize = 64;

/// The registers of a block. The sums of pixel tile `p` and channel tile `v`
/// are in `2 * p + v`, whatever the block's size.
const PIXELS_0: u8 = 4;
const PIXELS_1: u8 = 5;
const WEIGHTS_0: u8 = 6;
const WEIGHTS_1: u8 = 7;

/// The tiles of the current thread, all 16 rows of 64 bytes, until dropped.
///
/// Dropping gives them back, so that the kernel need not save 8 KiB at each
/// switch of threads; it is not `Send`, since they are the thread's.
pub(crate) struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// Configures the tiles, which are then zero.
    ///
    /// # Safety
    /// [`available`] said yes (or a test emulates the instructions), and the
    /// thread has no other `Tiles`, whose registers these would be.
    #[inline]
    pub(crate) unsafe fn configure() -> Self {
        // SAFETY: the caller's contract.
        unsafe { instructions::configure() };
        Self(PhantomData)
    }

    /// A block of `PT` pixel tiles times `VT` channel tiles (each 1 or 2). Its
    /// sums are whatever the last one left: zero them first.
    #[inline(always)]
    pub(crate) fn block<D: Product, const PT: usize, const VT: usize>(
        &mut self,
    ) -> Block<'_, D, PT, VT> {
        const { assert!(PT >= 1 && PT <= 2 && VT >= 1 && VT <= 2) };
        Block(PhantomData)
    }
}

impl Drop for Tiles {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: whoever configured the tiles vouched for the instructions.
        unsafe { instructions::release() };
    }
}

/// The sums of `PT * 16` pixels times `VT * 16` output channels, in registers.
/// All strides are in bytes, and no address needs an alignment, though rows
/// that cross no cache line load faster.
///
/// On Sapphire Rapids a product takes 16 cycles, a load about 8, and a sum is
/// ready after about 52 (Intel's numbers, not measured here): the four products
/// of 2 x 2 hide each other's wait and their four loads. A block of 1 x 2 or
/// 2 x 1 would wait a third of its time, one of 1 x 1 two thirds, so the small
/// ones are for edges.
pub(crate) struct Block<'t, D, const PT: usize, const VT: usize>(PhantomData<(&'t mut Tiles, D)>);

impl<D: Product, const PT: usize, const VT: usize> Block<'_, D, PT, VT> {
    /// Sets the sums to zero.
    #[inline(always)]
    pub(crate) fn zero(&mut self) {
        // SAFETY: the block borrows configured tiles.
        unsafe {
            instructions::zero::<0>();
            if VT == 2 {
                instructions::zero::<1>();
            }
            if PT == 2 {
                instructions::zero::<2>();
                if VT == 2 {
                    instructions::zero::<3>();
                }
            }
        }
    }

    /// Loads the sums as [`Self::store`] leaves them.
    ///
    /// # Safety
    /// Every pixel's `VT * 64` bytes must be readable.
    #[cfg(test)]
    #[inline(always)]
    pub(crate) unsafe fn load(&mut self, from: &[*const D::Sum; PT], stride: usize) {
        // SAFETY: the caller's contract bounds every address.
        unsafe {
            instructions::load::<0>(channels(from[0], 0), stride);
            if VT == 2 {
                instructions::load::<1>(channels(from[0], 1), stride);
            }
            if PT == 2 {
                instructions::load::<2>(channels(from[PT - 1], 0), stride);
                if VT == 2 {
                    instructions::load::<3>(channels(from[PT - 1], 1), stride);
                }
            }
        }
    }

    /// Stores the sums, of each pixel tile 16 pixels, `stride` bytes apart, of
    /// `VT * 16` output channels. The registers keep them.
    ///
    /// # Safety
    /// Every pixel's `VT * 64` bytes must be writable.
    #[inline(always)]
    pub(crate) unsafe fn store(&self, to: &[*mut D::Sum; PT], stride: usize) {
        // SAFETY: the caller's contract bounds every address.
        unsafe {
            instructions::store::<0>(channels(to[0], 0).cast_mut(), stride);
            if VT == 2 {
                instructions::store::<1>(channels(to[0], 1).cast_mut(), stride);
            }
            if PT == 2 {
                instructions::store::<2>(channels(to[PT - 1], 0).cast_mut(), stride);
                if VT == 2 {
                    instructions::store::<3>(channels(to[PT - 1], 1).cast_mut(), stride);
                }
            }
        }
    }

    /// Adds the products of a run of channels to the sums. A word is 2 bf16 or
    /// 4 int8 channels, a step 16 words:
    ///
    /// ```text
    /// for k in 0..steps * 16 { for p in 0..PT * 16 { for v in 0..VT * 16 { for c in 0..word {
    ///     sums[p][v] += pixels[p / 16][p % 16 * pixel_strides[p / 16] + k * 4][c]
    ///         * weights[v / 16][k * weight_stride + v % 16 * 4][c]   // byte offsets
    /// }}}}
    /// ```
    ///
    /// Channels that fill no step must be zero in the weights, and finite in
    /// the pixels.
    ///
    /// # Safety
    /// The 16 pixels of each tile must be readable for `steps * 64` bytes, the
    /// `steps * 16` words of each channel tile for 64.
    #[inline(always)]
    pub(crate) unsafe fn multiply(
        &mut self,
        pixels: &[*const u8; PT],
        pixel_strides: &[usize; PT],
        weights: &[*const u8; VT],
        weight_stride: usize,
        steps: usize,
    ) {
        let (mut pixels, mut weights) = (*pixels, *weights);
        for _ in 0..steps {
            // SAFETY: the caller's contract bounds every address.
            unsafe {
                // Each product starts when the two loads it needs are there,
                // and covers the next load: at most two loads ever precede one.
                instructions::load::<PIXELS_0>(pixels[0], pixel_strides[0]);
                instructions::load::<WEIGHTS_0>(weights[0], weight_stride);
                D::multiply_add::<0, PIXELS_0, WEIGHTS_0>();
                if VT == 2 {
                    instructions::load::<WEIGHTS_1>(weights[VT - 1], weight_stride);
                    D::multiply_add::<1, PIXELS_0, WEIGHTS_1>();
                }
                if PT == 2 {
                    instructions::load::<PIXELS_1>(pixels[PT - 1], pixel_strides[PT - 1]);
                    D::multiply_add::<2, PIXELS_1, WEIGHTS_0>();
                    if VT == 2 {
                        D::multiply_add::<3, PIXELS_1, WEIGHTS_1>();
                    }
                }
            }
            // The last step's addresses may lie outside the buffers.
            for from in &mut pixels {
                *from = from.wrapping_add(ROW);
            }
            for from in &mut weights {
                *from = from.wrapping_add(ROWS * weight_stride);
            }
        }
    }
}

/// Where the sums of channel tile `v` lie.
#[inline(always)]
fn channels<T>(sums: *const T, v: usize) -> *const u8 {
    sums.cast::<u8>().wrapping_add(v * ROW)
}
