//! What a convolution reads and writes, and what becomes of its sums: bias,
//! residual, activation and rounding, whichever way they were multiplied.

use std::ops::Range;

use super::element::Element;
use super::follow::Follow;
use super::map::{Map, Shared, View, ViewMut};
use super::micro::{PIXELS, WIDEST};
use super::pack::PackedConv;
use super::simd::Simd;

/// Most pixels of a task: their offsets lie on its stack.
pub(crate) const TASK_PIXELS: usize = 64 * PIXELS;

/// What is added to a convolution's sums before its activation.
#[derive(Clone, Copy)]
pub(crate) enum Residual<'a, E> {
    /// Nothing.
    None,
    /// A map of the output's size.
    Add(View<'a, E>),
    /// What the output holds already.
    InPlace,
}

/// Where a convolution's results go.
pub(crate) enum Output<'a, E> {
    /// A map of the input's numbers.
    Same(ViewMut<'a, E>),
    /// A map of floats: the logits.
    Floats(ViewMut<'a, f32>),
}

/// The map that results are written to.
#[derive(Clone, Copy)]
pub(crate) struct Target<E> {
    pub(crate) start: Shared<E>,
    /// The same address, where it holds floats whatever the input's numbers.
    pub(crate) floats: Option<Shared>,
    pub(crate) map: Map,
}

impl<E: Element> Target<E> {
    pub(crate) fn new(output: &mut Output<E>) -> Self {
        match output {
            Output::Same(view) => Self {
                start: view.shared(),
                floats: None,
                map: *view.map(),
            },
            Output::Floats(view) => Self {
                start: Shared::new(view.shared().start().cast()),
                floats: Some(view.shared()),
                map: *view.map(),
            },
        }
    }
}

/// What a convolution reads and writes.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a, E> {
    pub(crate) conv: &'a PackedConv,
    pub(crate) input: View<'a, E>,
    /// The residual.
    pub(crate) add: Option<(Shared<E>, Map)>,
    pub(crate) output: Target<E>,
    /// What pools the output.
    pub(crate) follow: Option<&'a Follow<'a, E>>,
    /// As many words as the convolution asked for.
    pub(crate) workspace: Shared,
}

impl<E: Element> Operands<'_, E> {
    /// Where pixel (`y`, `x`) of image `n` lies in the residual (0 without one)
    /// and in the output.
    pub(crate) fn at(&self, n: usize, y: usize, x: usize) -> (usize, usize) {
        let (y, x) = (y as isize, x as isize);
        let add = self.add.map_or(0, |(_, map)| map.at(n, y, x));
        (add, self.output.map.at(n, y, x))
    }

    /// Some pixels of the batch are done, of some panels.
    pub(crate) fn done(&self, pixels: &Range<usize>, panels: Range<usize>) {
        if let Some(follow) = self.follow {
            for panel in panels {
                follow.pixels(pixels.clone(), panel, &self.outputs(panel).channels());
            }
        }
    }

    /// The output channels of a panel.
    pub(crate) fn outputs(&self, panel: usize) -> Outputs {
        let conv = self.conv;
        let width = conv.panel();
        let (group, within) = (panel / conv.panels, panel % conv.panels);
        Outputs {
            bias: conv.bias.as_ptr().wrapping_add(panel * width),
            scale: conv.scale.as_ptr().wrapping_add(panel * width),
            channel: group * conv.group_cout + within * width,
            valid: width.min(conv.group_cout - within * width),
        }
    }

    /// A pixel's result from a panel's sums as they were multiplied, whose
    /// first is that of the panel's first channel.
    ///
    /// # Safety
    /// `place` is where [`Operands::at`] says, no other task has this pixel
    /// and this panel, and the panel has `V` vectors; `S`'s instructions exist.
    #[inline(always)]
    pub(crate) unsafe fn result<S: Simd, const V: usize>(
        &self,
        mut sums: [S; V],
        outputs: &Outputs,
        place: (usize, usize),
    ) {
        // SAFETY: the caller's.
        unsafe {
            outputs.floats::<E, S, V>(&mut sums);
            self.finish(sums, place, (outputs.channel, outputs.valid));
        }
    }

    /// A pixel's result from the floats of a panel's sums, the bias among
    /// them: residual, activation, rounding. `channel` is the panel's first,
    /// `valid` of them exist.
    ///
    /// # Safety
    /// `add` and `out` are where [`Operands::at`] says, and no other task has
    /// this pixel and this panel; `S`'s instructions exist.
    #[inline(always)]
    pub(crate) unsafe fn finish<S: Simd, const V: usize>(
        &self,
        mut sums: [S; V],
        (add, out): (usize, usize),
        (channel, valid): (usize, usize),
    ) {
        // SAFETY: the caller's; a panel that is cut short goes through a
        // buffer that is as wide as the widest.
        unsafe {
            if let Some((start, _)) = self.add {
                let mut from = start.start().cast_const().add(add + channel);
                let mut buffer = [0f32; WIDEST];
                if valid < V * S::LANES {
                    std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr().cast(), valid);
                    from = buffer.as_ptr().cast();
                }
                self.add(&mut sums, from);
            }
            self.activate(&mut sums);
            match self.output.floats {
                Some(floats) => {
                    let out = floats.start().add(out + channel);
                    self.put::<f32, S, V>(sums, out, valid);
                }
                None => {
                    let out = self.output.start.start().add(out + channel);
                    self.put::<E, S, V>(sums, out, valid);
                }
            }
        }
    }

    /// A pixel's residual, added.
    #[inline(always)]
    unsafe fn add<S: Simd, const V: usize>(&self, sums: &mut [S; V], from: *const E) {
        for v in 0..V {
            // SAFETY: the caller's.
            sums[v] = unsafe { E::add(sums[v], from.add(v * S::LANES), self.conv.residual) };
        }
    }

    /// Raises results to the activation's floor.
    #[inline(always)]
    unsafe fn activate<S: Simd, const V: usize>(&self, sums: &mut [S; V]) {
        for sum in sums {
            // SAFETY: the caller's.
            *sum = unsafe { S::splat(self.conv.floor).max(*sum) };
        }
    }

    /// Stores the first `valid` of a panel's results.
    #[inline(always)]
    unsafe fn put<O: Element, S: Simd, const V: usize>(
        &self,
        sums: [S; V],
        out: *mut O,
        valid: usize,
    ) {
        // SAFETY: the caller's `out` has room for `valid` numbers, the buffer
        // for all of a panel's.
        unsafe {
            if valid == V * S::LANES {
                O::put_all(sums, out);
            } else {
                let mut buffer = [0f32; WIDEST];
                let to: *mut O = buffer.as_mut_ptr().cast();
                O::put_all(sums, to);
                std::ptr::copy_nonoverlapping(to.cast_const(), out, valid);
            }
        }
    }

    /// The results of a whole tile, without leaving registers: all residuals
    /// are read before the first result is written, so that none waits to
    /// learn whether it was.
    ///
    /// # Safety
    /// As [`Operands::result`]'s, of each pixel; all the panel's channels
    /// exist, and the output is not floats.
    #[inline(always)]
    pub(crate) unsafe fn whole<S: Simd, const P: usize, const V: usize>(
        &self,
        sums: &mut [[S; V]; P],
        outputs: &Outputs,
        places: (&[usize], &[usize]),
    ) {
        // written out: a loop would take the sums from memory
        macro_rules! each {
            ($p:ident, $work:expr) => {
                each!($p, $work, 0 1 2 3 4 5)
            };
            ($p:ident, $work:expr, $($i:literal)*) => {
                $( if $i < P { const $p: usize = $i; $work; } )*
            };
        }
        // SAFETY: the caller's.
        unsafe {
            each!(I, outputs.floats::<E, S, V>(&mut sums[I]));
            if let Some((start, _)) = self.add {
                let start = start.start().cast_const().add(outputs.channel);
                each!(I, self.add(&mut sums[I], start.add(places.0[I])));
            }
            if self.conv.floor > f32::NEG_INFINITY {
                each!(I, self.activate(&mut sums[I]));
            }
            let start = self.output.start.start().add(outputs.channel);
            each!(I, E::put_all(sums[I], start.add(places.1[I])));
        }
    }
}

/// The output channels of a panel.
#[derive(Clone, Copy)]
pub(crate) struct Outputs {
    bias: *const f32,
    scale: *const f32,
    /// The first.
    channel: usize,
    /// How many exist.
    pub(crate) valid: usize,
}

impl Outputs {
    /// Those that exist.
    pub(crate) fn channels(&self) -> Range<usize> {
        self.channel..self.channel + self.valid
    }

    /// Sums as they were multiplied, as floats with their bias.
    #[inline(always)]
    unsafe fn floats<E: Element, S: Simd, const V: usize>(&self, sums: &mut [S; V]) {
        for v in 0..V {
            let at = v * S::LANES;
            let (scale, bias) = (self.scale, self.bias);
            // SAFETY: bias and scale (which is empty, and not read, for floats)
            // are padded to whole panels.
            sums[v] = unsafe { E::result(sums[v], scale.wrapping_add(at), bias.wrapping_add(at)) };
        }
    }
}

/// Where each pixel of a task lies in the three maps.
pub(crate) struct Offsets {
    /// The corner of its window.
    pub(crate) input: [usize; TASK_PIXELS],
    add: [usize; TASK_PIXELS],
    output: [usize; TASK_PIXELS],
}

impl Offsets {
    /// Those of the output pixels `pixels`.
    #[inline(always)]
    pub(crate) fn new<E: Element>(operands: &Operands<E>, pixels: Range<usize>) -> Self {
        let mut offsets = Offsets {
            input: [0; TASK_PIXELS],
            add: [0; TASK_PIXELS],
            output: [0; TASK_PIXELS],
        };
        let (spec, map) = (&operands.conv.spec, &operands.output.map);
        let (stride, padding) = (spec.stride, spec.padding as isize);
        let (mut x, rows) = (pixels.start % map.width, pixels.start / map.width);
        let (mut y, mut n) = (rows % map.height, rows / map.height);
        for i in 0..pixels.len() {
            let corner = |at: usize| (at * stride) as isize - padding;
            offsets.input[i] = operands.input.map().at(n, corner(y), corner(x));
            (offsets.add[i], offsets.output[i]) = operands.at(n, y, x);
            x += 1;
            if x == map.width {
                (x, y) = (0, y + 1);
                if y == map.height {
                    (y, n) = (0, n + 1);
                }
            }
        }
        offsets
    }

    /// Where the `pixel`th lies in the residual and in the output.
    #[inline(always)]
    pub(crate) fn place(&self, pixel: usize) -> (usize, usize) {
        (self.add[pixel], self.output[pixel])
    }

    /// The same of all from the `pixel`th on.
    #[inline(always)]
    pub(crate) fn places(&self, pixel: usize) -> (&[usize], &[usize]) {
        (&self.add[pixel..], &self.output[pixel..])
    }
}
