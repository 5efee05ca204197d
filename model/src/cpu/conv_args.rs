//! The inputs and outputs of a convolution, as raw pointers and offsets that its
//! parallel tasks share.

use std::ops::Range;

use super::element::Element;
use super::feature_map::{FeatureMap, SendPtr, View, ViewMut};
use super::micro::PIXELS;
use super::pack::PackedConv;
use super::pool_epilogue::PoolTracker;

/// The most pixels of a task; bounds the offset tables on its stack.
pub(crate) const TASK_PIXELS: usize = 64 * PIXELS;

/// What is added to a convolution's sums before the activation.
#[derive(Clone, Copy)]
pub(crate) enum Residual<'a, E> {
    /// Nothing.
    None,
    /// A feature map of the output's size.
    Add(View<'a, E>),
    /// The current contents of the output.
    InPlace,
}

/// Where a convolution writes its results.
pub(crate) enum Output<'a, E> {
    /// A feature map of the input's element type.
    Same(ViewMut<'a, E>),
    /// A feature map of f32: the logits.
    Floats(ViewMut<'a, f32>),
}

/// The output of a convolution, writable by several tasks at once.
#[derive(Clone, Copy)]
pub(crate) struct OutputTarget<E> {
    pub(crate) start: SendPtr<E>,
    /// The same address if the output is f32 whatever the input's element type.
    pub(crate) floats: Option<SendPtr>,
    pub(crate) map: FeatureMap,
}

impl<E: Element> OutputTarget<E> {
    pub(crate) fn new(output: &mut Output<E>) -> Self {
        match output {
            Output::Same(view) => Self {
                start: view.shared(),
                floats: None,
                map: *view.map(),
            },
            Output::Floats(view) => Self {
                start: SendPtr::new(view.shared().get().cast()),
                floats: Some(view.shared()),
                map: *view.map(),
            },
        }
    }
}

/// What a convolution reads and writes.
#[derive(Clone, Copy)]
pub(crate) struct ConvArgs<'a, E> {
    pub(crate) conv: &'a PackedConv,
    pub(crate) input: View<'a, E>,
    pub(crate) residual: Option<(SendPtr<E>, FeatureMap)>,
    pub(crate) output: OutputTarget<E>,
    /// Pools the output in the same parallel loop.
    pub(crate) pool: Option<&'a PoolTracker<'a, E>>,
    /// [`PackedConv::workspace`] words.
    pub(crate) workspace: SendPtr,
}

impl<E: Element> ConvArgs<'_, E> {
    /// The offsets of pixel (`y`, `x`) of image `n` in the residual (0 without
    /// one) and in the output.
    pub(crate) fn offsets(&self, n: usize, y: usize, x: usize) -> (usize, usize) {
        let (y, x) = (y as isize, x as isize);
        let residual = self.residual.map_or(0, |(_, map)| map.offset(n, y, x));
        (residual, self.output.map.offset(n, y, x))
    }

    /// Reports to the pooling epilogue that `pixels` of the batch are written in
    /// the channels of `panels`.
    pub(crate) fn notify_pool(&self, pixels: &Range<usize>, panels: Range<usize>) {
        if let Some(pool) = self.pool {
            for panel in panels {
                pool.pixels_written(pixels.clone(), panel, &self.channels(panel).range());
            }
        }
    }

    /// The output channels of a panel.
    pub(crate) fn channels(&self, panel: usize) -> PanelChannels {
        let conv = self.conv;
        let width = conv.panel();
        let (group, within) = (panel / conv.panels, panel % conv.panels);
        PanelChannels {
            bias: conv.bias.as_ptr().wrapping_add(panel * width),
            scale: conv.scale.as_ptr().wrapping_add(panel * width),
            first_sums: conv.first_sums.as_ptr().wrapping_add(panel * width),
            first: group * conv.group_cout + within * width,
            valid: width.min(conv.group_cout - within * width),
        }
    }
}

/// The output channels of a panel.
#[derive(Clone, Copy)]
pub(crate) struct PanelChannels {
    pub(crate) bias: *const f32,
    pub(crate) scale: *const f32,
    pub(crate) first_sums: *const f32,
    /// The first channel.
    pub(crate) first: usize,
    /// The number of channels; the rest of the panel is padding.
    pub(crate) valid: usize,
}

impl PanelChannels {
    /// The panel's channels, without its padding.
    pub(crate) fn range(&self) -> Range<usize> {
        self.first..self.first + self.valid
    }
}

/// The offsets of a task's output pixels in the input, the residual and the
/// output.
pub(crate) struct PixelOffsets {
    /// The top left corner of the pixel's window.
    pub(crate) input: [usize; TASK_PIXELS],
    residual: [usize; TASK_PIXELS],
    output: [usize; TASK_PIXELS],
}

impl PixelOffsets {
    /// The offsets of the output pixels `pixels`, counted through the batch.
    #[inline(always)]
    pub(crate) fn new<E: Element>(args: &ConvArgs<E>, pixels: Range<usize>) -> Self {
        let mut offsets = PixelOffsets {
            input: [0; TASK_PIXELS],
            residual: [0; TASK_PIXELS],
            output: [0; TASK_PIXELS],
        };
        let (spec, map) = (&args.conv.spec, &args.output.map);
        let (stride, padding) = (spec.stride, spec.padding as isize);
        let (mut x, rows) = (pixels.start % map.width, pixels.start / map.width);
        let (mut y, mut n) = (rows % map.height, rows / map.height);
        for i in 0..pixels.len() {
            let corner = |at: usize| (at * stride) as isize - padding;
            offsets.input[i] = args.input.map().offset(n, corner(y), corner(x));
            (offsets.residual[i], offsets.output[i]) = args.offsets(n, y, x);
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

    /// The offsets of the task's `pixel`-th pixel in the residual and the output.
    #[inline(always)]
    pub(crate) fn stores(&self, pixel: usize) -> (usize, usize) {
        (self.residual[pixel], self.output[pixel])
    }

    /// The same offsets for that pixel and all that follow it.
    #[inline(always)]
    pub(crate) fn stores_from(&self, pixel: usize) -> (&[usize], &[usize]) {
        (&self.residual[pixel..], &self.output[pixel..])
    }
}
