//! The packed weights of a convolution: reordered once, at load, into the panels
//! that the micro-kernel reads sequentially.

use half::bf16;

use super::conv_spec::{Activation, ConvSpec};
use super::element::{ConvAffines, Element};
use super::isa::SupportedIsa;
use super::memory::{AlignedBuffer, HugePages};
use super::narrow_groups::NarrowGroups;
use super::run::Run;
use super::weight_order::WeightOrder;

/// The weights of a convolution, to be packed.
#[derive(Clone, Copy)]
pub(crate) struct ConvWeights<'a> {
    /// `[cout, cin / groups, kernel.0, kernel.1]`
    pub(crate) values: &'a [f32],
    /// `[cout]`
    pub(crate) bias: &'a [f32],
    /// If the values are 8-bit integers times a step, the step of each output
    /// channel.
    pub(crate) steps: Option<&'a [f32]>,
}

/// Weights in panels `[groups][cout / panel][K][panel]`. A panel is 1, 2 or 4
/// vectors of output channels; K counts the words of a window in the order of its
/// runs. For products of matrices, K goes in pairs: `[K / 2][panel][2]`. Groups
/// narrower than a vector are merged into one group that fills it: K counts the words of
/// one of them where a permutation selects them, else the words of all, with zeros outside
/// the diagonal blocks.
pub(crate) struct PackedConv {
    pub(crate) spec: ConvSpec,
    pub(crate) isa: SupportedIsa,
    /// Channels in a 32-bit word; identifies the element type.
    pub(crate) per_word: usize,
    /// Vectors in a panel.
    pub(crate) vectors: usize,
    /// Groups after merging.
    pub(crate) groups: usize,
    /// Input channels of a group.
    pub(crate) group_cin: usize,
    /// Output channels of a group.
    pub(crate) group_cout: usize,
    /// How their words get to the lanes, where they are not multiplied by zeros.
    pub(crate) narrow: Option<NarrowGroups>,
    /// Panels of a group; the last one may have fewer channels.
    pub(crate) panels: usize,
    /// The runs of input words of a window, in K order.
    pub(crate) runs: Vec<Run>,
    /// Words along K: the total length of the runs, each rounded up to whole
    /// groups of rows.
    pub(crate) k_words: usize,
    /// 2 if the weights are packed in pairs of rows, else 1.
    pub(crate) rows_in_group: usize,
    pub(crate) weights: AlignedBuffer,
    /// The weights in the Winograd domain; empty if they are not precomputed.
    pub(crate) transformed: AlignedBuffer,
    /// The bias, padded to whole panels: `[groups][panels][panel]`.
    pub(crate) bias: AlignedBuffer,
    /// Requantization factors from i32 sums to output units, padded like the
    /// bias; empty for float types.
    pub(crate) scale: AlignedBuffer,
    /// The i32 sums that 8-bit products start with, padded like the bias: 128 times
    /// the sum of the weights if the instruction has signed operands. Else empty.
    pub(crate) first_sums: AlignedBuffer,
    /// The requantization factor of the residual.
    pub(crate) residual_scale: f32,
    /// The lower bound imposed by the activation; minus infinity if the conversion
    /// to u8 clamps at that bound anyway.
    pub(crate) floor: f32,
    /// The quantization parameters that the weights were packed for.
    pub(crate) affines: ConvAffines,
}

impl PackedConv {
    /// Packs `weights` for feature maps of `E` and the vectors of `isa`. For u8
    /// feature maps, each output channel's weights are quantized symmetrically to
    /// i8, by their step if they have one, else by their largest magnitude.
    ///
    /// # Panics
    /// If the lengths of the slices do not match `spec`, or its groups do not
    /// divide the channels.
    #[must_use]
    pub(crate) fn new<E: Element>(
        spec: ConvSpec,
        weights: ConvWeights,
        activation: Activation,
        isa: SupportedIsa,
        affines: ConvAffines,
    ) -> Self {
        let ConvSpec { cin, cout, .. } = spec;
        let taps = spec.kernel.0 * spec.kernel.1;
        assert!(
            cin % spec.groups == 0 && cout % spec.groups == 0,
            "{spec:?}"
        );
        let expected = cout * (cin / spec.groups) * taps;
        assert_eq!(weights.values.len(), expected, "{spec:?}");
        assert_eq!(weights.bias.len(), cout, "{spec:?}");

        let tiled = isa.has_tiles() && E::PER_WORD > 1;
        let merged = merged_groups(&spec, isa.lanes(), E::PER_WORD, tiled);
        let groups = spec.groups / merged;
        let (group_cin, group_cout) = (cin / groups, cout / groups);
        let vectors = panel_vectors(group_cout, isa, tiled);
        let panel = vectors * isa.lanes();
        let panels = group_cout.div_ceil(panel);
        let mut packed = Self {
            spec,
            isa,
            per_word: E::PER_WORD,
            vectors,
            groups,
            group_cin,
            group_cout,
            narrow: None,
            panels,
            runs: Vec::new(),
            k_words: 0,
            rows_in_group: 1,
            weights: AlignedBuffer::zeros(0),
            transformed: AlignedBuffer::zeros(0),
            bias: AlignedBuffer::zeros(groups * panels * panel),
            scale: AlignedBuffer::zeros(0),
            first_sums: AlignedBuffer::zeros(0),
            residual_scale: 1.0,
            floor: activation.floor(),
            affines,
        };
        if merged > 1 && !tiled {
            packed.narrow = NarrowGroups::new(&spec, merged, isa, E::PER_WORD);
        }
        packed.rows_in_group = if packed.pairs() { 2 } else { 1 };
        let (runs, order) = packed.order();
        let rows = |run: &Run| run.len.next_multiple_of(packed.rows_in_group);
        packed.k_words = runs.iter().map(rows).sum();
        packed.runs = runs;
        let mut bias = weights.bias.to_vec();
        if E::PER_WORD == 4 {
            let (quantized, scales) = quantize(weights, &mut bias, affines);
            if isa.has_signed_int8() {
                packed.first_sums = packed.padded(&first_sums(&quantized, cout));
            }
            packed.weights = packed.pack::<E>(&quantized, &order);
            packed.scale = packed.padded(&scales);
            packed.residual_scale = affines.residual.scale / affines.output.scale;
            packed.floor += affines.output.zero_point;
            if packed.floor == 0.0 {
                // the conversion to u8 clamps at 0
                packed.floor = f32::NEG_INFINITY;
            }
        } else {
            packed.weights = packed.pack::<E>(weights.values, &order);
        }
        packed.bias = packed.padded(&bias);
        packed.precompute_transformed::<E>();
        packed
    }

    /// Memory of the packed weights, in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        let weights = self.weights.len() + self.transformed.len();
        4 * (weights + self.bias.len() + self.scale.len() + self.first_sums.len())
    }

    /// Moves the weights into memory allocated from `pages`.
    pub(crate) fn move_weights_to(&mut self, pages: &mut HugePages) {
        self.weights = pages.copy_of(&self.weights);
        self.transformed = pages.copy_of(&self.transformed);
    }

    /// Output channels of a panel.
    pub(crate) fn panel(&self) -> usize {
        self.vectors * self.isa.lanes()
    }

    /// Whether AMX tiles compute this convolution.
    pub(crate) fn tiled(&self) -> bool {
        self.isa.has_tiles() && self.per_word > 1
    }

    /// Whether products of matrices multiply the weights, which are then packed
    /// in pairs of rows. A Winograd convolution reads them row by row. If a run is a
    /// single word, half of each matrix would be zeros.
    fn pairs(&self) -> bool {
        let (runs, _) = self.order();
        self.isa.has_pairs(self.per_word) && !self.winograd_applies() && runs[0].len > 1
    }

    /// The runs of a window and the order of the weights along K.
    fn order(&self) -> (Vec<Run>, WeightOrder) {
        let (spec, per_word) = (&self.spec, self.per_word);
        let groups = match self.narrow {
            Some(_) => spec.groups,
            None => self.groups,
        };
        match self.tiled() {
            true => WeightOrder::of_tiles(spec, groups, per_word),
            false => WeightOrder::of_vectors(spec, groups, per_word, self.rows_in_group),
        }
    }

    /// Words of a pixel's channels, if they fill whole words.
    pub(crate) fn words(&self) -> usize {
        self.group_cin / self.per_word
    }

    /// Pads `[cout]` to `[groups][panels][panel]`.
    fn padded(&self, values: &[f32]) -> AlignedBuffer {
        let row = self.panels * self.panel();
        let mut padded = AlignedBuffer::zeros(self.groups * row);
        for (o, &x) in values.iter().enumerate() {
            padded[o / self.group_cout * row + o % self.group_cout] = x;
        }
        padded
    }

    fn pack<E: Element>(&self, weights: &[f32], order: &WeightOrder) -> AlignedBuffer {
        let length = self.groups * self.panels * self.k_words * self.panel();
        let mut packed = AlignedBuffer::zeros(length);
        let elements = packed.elements_mut::<E>();
        let rows = weights.chunks_exact(weights.len() / self.spec.cout);
        for (o, row) in rows.enumerate() {
            for (at, &weight) in self.positions(o, order).zip(row) {
                elements[at] = E::from_weight(weight);
            }
        }
        packed
    }

    /// The positions of the weights `[cin / groups, kh, kw]` of output channel `o`
    /// among the packed elements.
    fn positions(&self, o: usize, order: &WeightOrder) -> impl Iterator<Item = usize> {
        let (kh, kw) = self.spec.kernel;
        let per_group = self.spec.cin / self.spec.groups;
        let cout_per_group = self.spec.cout / self.spec.groups;
        let (panel, per_word, rows) = (self.panel(), self.per_word, self.rows_in_group);
        let (group, within) = (o / self.group_cout, o % self.group_cout);
        let start = (group * self.panels + within / panel) * self.k_words * panel;
        // the first input channel of the original group, within what K counts
        let first = match self.narrow {
            Some(_) => 0,
            None => o / cout_per_group * per_group - group * self.group_cin,
        };
        (0..per_group * kh * kw).map(move |i| {
            let (c, tap) = (i / (kh * kw), i % (kh * kw));
            let k = order.index(tap / kw, tap % kw, first + c);
            let word = k / per_word;
            let at = start + word / rows * rows * panel + within % panel * rows + word % rows;
            at * per_word + k % per_word
        })
    }

    /// The weights `[cin / groups, kh, kw]` and the bias of output channel `o`, as
    /// the kernels multiply them: rounded to the element type, and dequantized.
    pub(crate) fn unpacked(&self, o: usize) -> (Vec<f32>, f32) {
        match self.per_word {
            1 => self.unpack::<f32>(o),
            2 => self.unpack::<bf16>(o),
            _ => self.unpack::<u8>(o),
        }
    }

    fn unpack<E: Element>(&self, o: usize) -> (Vec<f32>, f32) {
        let (_, order) = self.order();
        let elements = self.weights.elements::<E>();
        let positions = self.positions(o, &order);
        let mut weights: Vec<f32> = positions.map(|at| elements[at].to_weight()).collect();
        let row = self.panels * self.panel();
        let at = o / self.group_cout * row + o % self.group_cout;
        let bias = self.bias[at];
        match self.scale.get(at) {
            Some(&scale) => {
                let bias = dequantize(&mut weights, scale, bias, self.affines);
                (weights, bias)
            }
            None => (weights, bias),
        }
    }
}

/// Quantizes each output channel's weights to whole numbers in -128..=127 and
/// returns them with the requantization factor of each channel's sums. All zero
/// points are folded into the bias:
///
/// ```text
/// y = (sum of w (q - zero) scale + bias + (r - zero') scale') / scale" + zero"
///   = (sum of w q) (scale / scale") + r (scale' / scale")
///     + (bias - scale zero (sum of w) - scale' zero') / scale" + zero"
/// ```
///
/// Here ' marks the residual's quantization parameters and " the output's.
fn quantize(weights: ConvWeights, bias: &mut [f32], affines: ConvAffines) -> (Vec<f32>, Vec<f32>) {
    let ConvAffines {
        input,
        residual,
        output,
    } = affines;
    let values = weights.values;
    let (integers, steps) = match weights.steps {
        Some(steps) => (weights::integers(values, steps), steps.to_vec()),
        None => weights::quantize(values, bias.len()),
    };
    let quantized: Vec<f32> = integers.into_iter().map(f32::from).collect();
    let rows = quantized.chunks_exact(values.len() / bias.len());
    let mut scales = Vec::with_capacity(bias.len());
    for ((row, step), bias) in rows.zip(steps).zip(bias) {
        let sum: f64 = row.iter().map(|&w| f64::from(w)).sum();
        let scale = step * input.scale;
        let zero_points = sum * f64::from(scale) * f64::from(input.zero_point)
            + f64::from(residual.scale) * f64::from(residual.zero_point);
        let centred = (f64::from(*bias) - zero_points) / f64::from(output.scale);
        *bias = (centred + f64::from(output.zero_point)) as f32;
        scales.push(scale / output.scale);
    }
    (quantized, scales)
}

/// 128 times the sum of each output channel's weights, as the bits of an i32.
fn first_sums(quantized: &[f32], cout: usize) -> Vec<f32> {
    let rows = quantized.chunks_exact(quantized.len() / cout);
    let sum = |row: &[f32]| row.iter().map(|&w| 128 * w as i32).sum::<i32>();
    rows.map(|row| f32::from_bits(sum(row) as u32)).collect()
}

/// The inverse of [`quantize`] for one output channel: turns whole numbers into
/// weights in place and returns the bias.
fn dequantize(weights: &mut [f32], scale: f32, bias: f32, affines: ConvAffines) -> f32 {
    let ConvAffines {
        input,
        residual,
        output,
    } = affines;
    let scale = f64::from(scale) * f64::from(output.scale);
    let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let step = scale / f64::from(input.scale);
    weights
        .iter_mut()
        .for_each(|w| *w = (f64::from(*w) * step) as f32);
    let zero_points = sum * scale * f64::from(input.zero_point)
        + f64::from(residual.scale) * f64::from(residual.zero_point);
    let centred = f64::from(bias) - f64::from(output.zero_point);
    (centred * f64::from(output.scale) + zero_points) as f32
}

/// How many groups to merge into one, so that its output channels fill a vector
/// (two vectors for AMX, whose steps along K are deeper) and its input and output
/// channels fill whole words.
fn merged_groups(spec: &ConvSpec, lanes: usize, per_word: usize, tiled: bool) -> usize {
    let (cin, cout) = (spec.cin / spec.groups, spec.cout / spec.groups);
    let full = if tiled { 2 * lanes } else { lanes };
    let mut merged = 1;
    while merged * cout < full && spec.groups.is_multiple_of(2 * merged) {
        merged *= 2;
    }
    let fills_words = |channels: usize| (merged * channels).is_multiple_of(per_word);
    if fills_words(cin) && fills_words(cout) {
        merged
    } else {
        spec.groups
    }
}

/// Vectors in a panel: as many as the registers (or tiles) allow, but no more
/// than the output channels need.
fn panel_vectors(cout: usize, isa: SupportedIsa, tiled: bool) -> usize {
    let lanes = isa.lanes();
    let most = if lanes == 16 && !tiled { 4 } else { 2 };
    match cout.div_ceil(lanes) {
        1 => 1,
        2 => 2,
        _ => most,
    }
}
