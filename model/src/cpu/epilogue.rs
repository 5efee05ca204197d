//! The epilogue of a convolution: requantization, bias, residual, activation and
//! the store. Direct, Winograd and AMX convolutions share it.

use super::conv_args::{ConvArgs, PanelChannels};
use super::element::Element;
use super::micro::WIDEST;
use super::simd::Simd;

impl<E: Element> ConvArgs<'_, E> {
    /// Finishes one pixel of a panel from the raw sums of the micro-kernel.
    ///
    /// # Safety
    /// `offsets` are those of [`ConvArgs::offsets`]. No other task writes this
    /// pixel of this panel. The panel has `V` vectors. The CPU supports `S`.
    #[inline(always)]
    pub(crate) unsafe fn store_sums<S: Simd, const V: usize>(
        &self,
        mut sums: [S; V],
        channels: &PanelChannels,
        offsets: (usize, usize),
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            channels.scale_and_bias::<E, S, V>(&mut sums);
            self.store_biased(sums, offsets, (channels.first, channels.valid));
        }
    }

    /// Finishes one pixel from f32 sums that include the bias: residual,
    /// activation, rounding. `channel` is the first output channel and `valid`
    /// the number of channels to store.
    ///
    /// # Safety
    /// As for [`ConvArgs::store_sums`].
    #[inline(always)]
    pub(crate) unsafe fn store_biased<S: Simd, const V: usize>(
        &self,
        mut sums: [S; V],
        (residual, out): (usize, usize),
        (channel, valid): (usize, usize),
    ) {
        // SAFETY: guaranteed by the caller; a panel with padding goes through a
        // buffer of the widest panel's size.
        unsafe {
            if let Some((start, _)) = self.residual {
                let mut from = start.get().cast_const().add(residual + channel);
                let mut buffer = [0f32; WIDEST];
                if valid < V * S::LANES {
                    std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr().cast(), valid);
                    from = buffer.as_ptr().cast();
                }
                self.add_residual(&mut sums, from);
            }
            self.activate(&mut sums);
            match self.output.floats {
                Some(floats) => {
                    let out = floats.get().add(out + channel);
                    self.store::<f32, S, V>(sums, out, valid);
                }
                None => {
                    let out = self.output.start.get().add(out + channel);
                    self.store::<E, S, V>(sums, out, valid);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn add_residual<S: Simd, const V: usize>(&self, sums: &mut [S; V], from: *const E) {
        let scale = self.conv.residual_scale;
        for v in 0..V {
            // SAFETY: guaranteed by the caller.
            sums[v] = unsafe { E::add_residual(sums[v], from.add(v * S::LANES), scale) };
        }
    }

    #[inline(always)]
    unsafe fn activate<S: Simd, const V: usize>(&self, sums: &mut [S; V]) {
        for sum in sums {
            // SAFETY: guaranteed by the caller.
            *sum = unsafe { S::splat(self.conv.floor).max(*sum) };
        }
    }

    /// Stores the first `valid` channels of a panel.
    #[inline(always)]
    unsafe fn store<O: Element, S: Simd, const V: usize>(
        &self,
        sums: [S; V],
        out: *mut O,
        valid: usize,
    ) {
        // SAFETY: the caller's `out` has room for `valid` elements, the buffer for
        // a whole panel.
        unsafe {
            if valid == V * S::LANES {
                O::store_results(sums, out);
            } else {
                let mut buffer = [0f32; WIDEST];
                let to: *mut O = buffer.as_mut_ptr().cast();
                O::store_results(sums, to);
                std::ptr::copy_nonoverlapping(to.cast_const(), out, valid);
            }
        }
    }

    /// Finishes a whole register tile without spilling it. All residuals are
    /// loaded before the first store, so that no load has to be checked against
    /// an earlier store.
    ///
    /// # Safety
    /// As for [`ConvArgs::store_sums`], for each pixel. The panel has no padding,
    /// and the output's element type is `E`.
    #[inline(always)]
    pub(crate) unsafe fn store_tile<S: Simd, const P: usize, const V: usize>(
        &self,
        sums: &mut [[S; V]; P],
        channels: &PanelChannels,
        offsets: (&[usize], &[usize]),
    ) {
        // Unrolled by a macro: a loop would spill the sums to memory.
        macro_rules! each {
            ($p:ident, $work:expr) => {
                each!($p, $work, 0 1 2 3 4 5)
            };
            ($p:ident, $work:expr, $($i:literal)*) => {
                $( if $i < P { const $p: usize = $i; $work; } )*
            };
        }
        // SAFETY: guaranteed by the caller.
        unsafe {
            each!(I, channels.scale_and_bias::<E, S, V>(&mut sums[I]));
            if let Some((start, _)) = self.residual {
                let start = start.get().cast_const().add(channels.first);
                each!(I, self.add_residual(&mut sums[I], start.add(offsets.0[I])));
            }
            if self.conv.floor > f32::NEG_INFINITY {
                each!(I, self.activate(&mut sums[I]));
            }
            let start = self.output.start.get().add(channels.first);
            each!(I, E::store_results(sums[I], start.add(offsets.1[I])));
        }
    }
}

impl PanelChannels {
    /// Converts raw sums to f32 (requantizing i32 sums) and adds the bias.
    #[inline(always)]
    unsafe fn scale_and_bias<E: Element, S: Simd, const V: usize>(&self, sums: &mut [S; V]) {
        for v in 0..V {
            let at = v * S::LANES;
            let (scale, bias) = (self.scale.wrapping_add(at), self.bias.wrapping_add(at));
            // SAFETY: bias and scale are padded to whole panels; for float types
            // scale is empty and not read.
            sums[v] = unsafe { E::scale_and_bias(sums[v], scale, bias) };
        }
    }
}
