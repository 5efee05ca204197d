//! A Rust interface to Intel AMX. A block of 2 x 2 tiles multiplies 32 pixels by 32
//! output channels. Its sums stay in tile registers while the operands are loaded
//! in steps of bf16 or int8 words. `detect` checks for AMX; `instructions` contains
//! the inline assembly.

#[cfg(target_arch = "x86_64")]
mod detect;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod emulator;
mod instructions;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests;

use std::marker::PhantomData;

#[cfg(target_arch = "x86_64")]
pub(crate) use detect::available;
pub(crate) use instructions::{Bf16, DotProduct, Int8};

/// Rows of a tile: pixels, or the words of a step.
pub(crate) const ROWS: usize = 16;

/// Bytes of a tile's row: 32 bf16 or 64 int8 channels of a pixel, one word of
/// 16 output channels, or 16 sums.
pub(crate) const ROW_BYTES: usize = 64;

/// The tile registers of a block's operands. The sums of pixel tile `p` and
/// channel tile `v` are in register `2 * p + v` in blocks of every size.
const PIXELS_0: u8 = 4;
const PIXELS_1: u8 = 5;
const WEIGHTS_0: u8 = 6;
const WEIGHTS_1: u8 = 7;

/// The configured tile registers of the current thread, each 16 rows of 64
/// bytes, released on drop.
///
/// While they are configured, the operating system saves 8 KiB at each context
/// switch. Not `Send`, because the registers belong to the thread.
pub(crate) struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// Configures the tile registers, which sets them to zero.
    ///
    /// # Safety
    /// [`available`] returned true (or a test emulates the instructions), and
    /// the thread has no other `Tiles`, because both would use the same registers.
    #[inline]
    pub(crate) unsafe fn configure() -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { instructions::configure() };
        Self(PhantomData)
    }

    /// A block of `PT` pixel tiles times `VT` channel tiles (each 1 or 2). Its
    /// sums are undefined until [`Block::zero`].
    #[inline(always)]
    pub(crate) fn block<D: DotProduct, const PT: usize, const VT: usize>(
        &mut self,
    ) -> Block<'_, D, PT, VT> {
        const { assert!(PT >= 1 && PT <= 2 && VT >= 1 && VT <= 2) };
        Block(PhantomData)
    }
}

impl Drop for Tiles {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `configure` was called, so the instructions exist.
        unsafe { instructions::release() };
    }
}

/// The sums of `PT * 16` pixels times `VT * 16` output channels, in tile
/// registers. All strides are in bytes. No alignment is required, but rows that
/// do not cross cache lines load faster.
///
/// On Sapphire Rapids a product takes 16 cycles, a load about 8, and a sum is
/// ready after about 52 cycles (Intel's figures, not measured here). The four
/// products of a 2 x 2 block are independent, so their latencies and their four
/// loads overlap. A block of 1 x 2 or 2 x 1 would stall a third of the time, and a
/// block of 1 x 1 two thirds. So the small blocks are for edges only.
pub(crate) struct Block<'t, D, const PT: usize, const VT: usize>(PhantomData<(&'t mut Tiles, D)>);

impl<D: DotProduct, const PT: usize, const VT: usize> Block<'_, D, PT, VT> {
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

    /// Loads the sums in the layout of [`Self::store`].
    #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
    #[inline(always)]
    pub(crate) unsafe fn load(&mut self, from: &[*const D::Sum; PT], stride: usize) {
        // SAFETY: the caller guarantees that every address is valid.
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

    /// Stores the sums: for each pixel tile 16 pixels, `stride` bytes apart, of
    /// `VT * 16` output channels. The registers keep their values.
    ///
    /// # Safety
    /// The `VT * 64` bytes of every pixel must be writable.
    #[inline(always)]
    pub(crate) unsafe fn store(&self, to: &[*mut D::Sum; PT], stride: usize) {
        // SAFETY: the caller guarantees that every address is valid.
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
    /// Channels that pad the last step must be zero in the weights and finite
    /// in the pixels.
    ///
    /// # Safety
    /// The 16 pixels of each tile must be readable for `steps * 64` bytes, and
    /// the `steps * 16` words of each channel tile for 64 bytes.
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
            // SAFETY: the caller guarantees that every address is valid.
            unsafe {
                // Software pipelining: each product starts as soon as its two
                // operands are loaded and overlaps with the next load. At most
                // two loads precede a product.
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
            // After the last step the pointers may be outside the buffers.
            for from in &mut pixels {
                *from = from.wrapping_add(ROW_BYTES);
            }
            for from in &mut weights {
                *from = from.wrapping_add(ROWS * weight_stride);
            }
        }
    }
}

/// The address of channel tile `v` in a pixel's sums.
#[inline(always)]
fn channels<T>(sums: *const T, v: usize) -> *const u8 {
    sums.cast::<u8>().wrapping_add(v * ROW_BYTES)
}
