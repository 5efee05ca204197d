//! A convolution's weights, packed once at load in the order the micro-kernel
//! reads them.

use super::element::{Element, Meanings};
use super::floats::{Floats, Slab};
use super::level::Level;
use super::micro::Run;
use super::order::Order;

/// What a convolution computes; strides and paddings are square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvSpec {
    /// Input channels.
    pub(crate) cin: usize,
    /// Output channels.
    pub(crate) cout: usize,
    /// Rows and columns of the kernel.
    pub(crate) kernel: (usize, usize),
    /// Pixels from a window to the next.
    pub(crate) stride: usize,
    /// Pixels of zeros on each side.
    pub(crate) padding: usize,
    /// Groups of channels that do not mix.
    pub(crate) groups: usize,
}

impl ConvSpec {
    /// A fully connected layer: a 1x1 convolution of 1x1 maps.
    #[must_use]
    pub(crate) fn linear(cin: usize, cout: usize) -> Self {
        Self {
            cin,
            cout,
            kernel: (1, 1),
            stride: 1,
            padding: 0,
            groups: 1,
        }
    }
}

/// What is applied to every output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
}

/// Weights in panels `[groups][cout / panel][k][panel]`, `k` counting the
/// words of a window in the order of its runs. Groups narrower than a
/// vector are merged into one that covers it, with zeros off the diagonal.
pub(crate) struct PackedConv {
    pub(crate) spec: ConvSpec,
    pub(crate) level: Level,
    /// Channels in a word: which numbers the weights are.
    pub(crate) per_word: usize,
    /// Vectors in a panel.
    pub(crate) vectors: usize,
    /// Groups after merging.
    pub(crate) groups: usize,
    /// Channels of a pixel that a group reads, and channels that it makes.
    pub(crate) group_cin: usize,
    pub(crate) group_cout: usize,
    /// Panels of a group; the last may have fewer channels than the others.
    pub(crate) panels: usize,
    /// The window's words, in order.
    pub(crate) runs: Vec<Run>,
    /// How many they are.
    pub(crate) window: usize,
    pub(crate) weights: Floats,
    /// The same for Winograd's way; empty where none are kept.
    pub(crate) transformed: Floats,
    /// Padded to whole panels: `[groups][panels][panel]`.
    pub(crate) bias: Floats,
    /// What a unit of the integer sums is worth in units of the output, padded
    /// likewise; empty for floats.
    pub(crate) scale: Floats,
    /// The same of a residual's bytes.
    pub(crate) residual: f32,
    /// What the activation raises lower results to, unless rounding does.
    pub(crate) floor: f32,
    /// What it was packed for.
    pub(crate) meanings: Meanings,
}

impl PackedConv {
    /// Packs `weights` `[cout, cin / groups, kernel.0, kernel.1]` and `bias`
    /// `[cout]` for maps of `E` and the vectors of `level`. Of bytes, each
    /// output channel's weights are quantised by their largest.
    ///
    /// # Panics
    /// When the slices' lengths are not those of `spec`, or channels do not
    /// divide into its groups.
    #[must_use]
    pub(crate) fn new<E: Element>(
        spec: ConvSpec,
        (weights, bias): (&[f32], &[f32]),
        activation: Activation,
        level: Level,
        meanings: Meanings,
    ) -> Self {
        let ConvSpec { cin, cout, .. } = spec;
        let taps = spec.kernel.0 * spec.kernel.1;
        assert!(
            cin % spec.groups == 0 && cout % spec.groups == 0,
            "{spec:?}"
        );
        assert_eq!(weights.len(), cout * (cin / spec.groups) * taps, "{spec:?}");
        assert_eq!(bias.len(), cout, "{spec:?}");

        let tiled = level.has_tiles() && E::PER_WORD > 1;
        let merged = merged_groups(&spec, level.lanes(), E::PER_WORD, tiled);
        let groups = spec.groups / merged;
        let (group_cin, group_cout) = (cin / groups, cout / groups);
        let vectors = panel_vectors(group_cout, level, tiled);
        let panel = vectors * level.lanes();
        let panels = group_cout.div_ceil(panel);
        let (runs, order) = if tiled {
            Order::of_tiles(&spec, groups, E::PER_WORD)
        } else {
            Order::of_vectors(&spec, groups, E::PER_WORD)
        };

        let window = runs.iter().map(|run| run.len).sum();
        let mut packed = Self {
            spec,
            level,
            per_word: E::PER_WORD,
            vectors,
            groups,
            group_cin,
            group_cout,
            panels,
            runs,
            window,
            weights: Floats::zeros(0),
            transformed: Floats::zeros(0),
            bias: Floats::zeros(groups * panels * panel),
            scale: Floats::zeros(0),
            residual: 1.0,
            floor: match activation {
                Activation::None => f32::NEG_INFINITY,
                Activation::Relu => 0.0,
            },
            meanings,
        };
        let mut bias = bias.to_vec();
        if E::PER_WORD == 4 {
            let (quantised, scales) = quantise(weights, &mut bias, meanings);
            packed.weights = packed.pack::<E>(&quantised, &order);
            packed.scale = packed.padded(&scales);
            packed.residual = meanings.residual.scale / meanings.output.scale;
            packed.floor += meanings.output.zero;
            if packed.floor == 0.0 {
                // as bytes are clamped
                packed.floor = f32::NEG_INFINITY;
            }
        } else {
            packed.weights = packed.pack::<E>(weights, &order);
        }
        packed.bias = packed.padded(&bias);
        packed.keep_transformed::<E>();
        packed
    }

    /// Memory of the packed weights, in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        let weights = self.weights.len() + self.transformed.len();
        4 * (weights + self.bias.len() + self.scale.len())
    }

    /// Moves the weights into a slab.
    pub(crate) fn settle(&mut self, slab: &mut Slab) {
        self.weights = slab.hold(&self.weights);
        self.transformed = slab.hold(&self.transformed);
    }

    /// Channels of a panel.
    pub(crate) fn panel(&self) -> usize {
        self.vectors * self.level.lanes()
    }

    /// Whether it is multiplied on tiles.
    pub(crate) fn tiled(&self) -> bool {
        self.level.has_tiles() && self.per_word > 1
    }

    /// Words of a pixel's channels, where they are whole.
    pub(crate) fn words(&self) -> usize {
        self.group_cin / self.per_word
    }

    /// `[cout]` as `[groups][panels][panel]`.
    fn padded(&self, values: &[f32]) -> Floats {
        let row = self.panels * self.panel();
        let mut padded = Floats::zeros(self.groups * row);
        for (o, &x) in values.iter().enumerate() {
            padded[o / self.group_cout * row + o % self.group_cout] = x;
        }
        padded
    }

    fn pack<E: Element>(&self, weights: &[f32], order: &Order) -> Floats {
        let (kh, kw) = self.spec.kernel;
        let per_group = self.spec.cin / self.spec.groups;
        let cout_per_group = self.spec.cout / self.spec.groups;
        let (window, panel) = (self.window, self.panel());
        let mut packed = Floats::zeros(self.groups * self.panels * window * panel);
        let numbers = packed.numbers_mut::<E>();
        for o in 0..self.spec.cout {
            let (group, within) = (o / self.group_cout, o % self.group_cout);
            let start = (group * self.panels + within / panel) * window * panel;
            // Where this channel's inputs begin inside its merged group.
            let first = o / cout_per_group * per_group - group * self.group_cin;
            for c in 0..per_group {
                for tap in 0..kh * kw {
                    let k = order.number(tap / kw, tap % kw, first + c);
                    let at = start + k / E::PER_WORD * panel + within % panel;
                    numbers[at * E::PER_WORD + k % E::PER_WORD] =
                        E::weight(weights[(o * per_group + c) * kh * kw + tap]);
                }
            }
        }
        packed
    }
}

/// Each output channel's weights as whole numbers up to 127, and what a unit
/// of its sums is worth in units of the output. All zeros go into the bias:
///
/// ```text
/// y = (sum of w (q - zero) scale + bias + (r - zero') scale') / scale" + zero"
///   = (sum of w q) (scale / scale") + r (scale' / scale")
///     + (bias - scale zero (sum of w) - scale' zero') / scale" + zero"
/// ```
fn quantise(values: &[f32], bias: &mut [f32], meanings: Meanings) -> (Vec<f32>, Vec<f32>) {
    let Meanings {
        input,
        residual,
        output,
    } = meanings;
    let (integers, steps) = weights::quantise(values, bias.len());
    let quantised: Vec<f32> = integers.into_iter().map(f32::from).collect();
    let rows = quantised.chunks_exact(values.len() / bias.len());
    let mut scales = Vec::with_capacity(bias.len());
    for ((row, step), bias) in rows.zip(steps).zip(bias) {
        let sum: f64 = row.iter().map(|&w| f64::from(w)).sum();
        let scale = step * input.scale;
        let zeros = sum * f64::from(scale) * f64::from(input.zero)
            + f64::from(residual.scale) * f64::from(residual.zero);
        let centred = (f64::from(*bias) - zeros) / f64::from(output.scale);
        *bias = (centred + f64::from(output.zero)) as f32;
        scales.push(scale / output.scale);
    }
    (quantised, scales)
}

/// How many groups to treat as one, so that its outputs fill a vector (two in
/// tiles, whose steps are deeper than a vector's words) and both its sides fill
/// words.
fn merged_groups(spec: &ConvSpec, lanes: usize, per_word: usize, tiled: bool) -> usize {
    let (cin, cout) = (spec.cin / spec.groups, spec.cout / spec.groups);
    let full = if tiled { 2 * lanes } else { lanes };
    let mut merged = 1;
    while merged * cout < full && spec.groups.is_multiple_of(2 * merged) {
        merged *= 2;
    }
    let whole = |channels: usize| (merged * channels).is_multiple_of(per_word);
    if whole(cin) && whole(cout) {
        merged
    } else {
        spec.groups
    }
}

/// Vectors in a panel: as many as the registers (or tiles) hold, no more than
/// there are channels for.
fn panel_vectors(cout: usize, level: Level, tiled: bool) -> usize {
    let lanes = level.lanes();
    let most = if lanes == 16 && !tiled { 4 } else { 2 };
    match cout.div_ceil(lanes) {
        1 => 1,
        2 => 2,
        _ => most,
    }
}
