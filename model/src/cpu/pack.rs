//! A convolution's weights, packed once at load in the order the micro-kernel
//! reads them.

use super::floats::Floats;
use super::micro::Run;
use super::simd::Level;

/// What a convolution computes; strides and paddings are square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Input channels.
    pub cin: usize,
    /// Output channels.
    pub cout: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Pixels from a window to the next.
    pub stride: usize,
    /// Pixels of zeros on each side.
    pub padding: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
}

impl ConvSpec {
    /// A fully connected layer: a 1x1 convolution of 1x1 maps.
    #[must_use]
    pub fn linear(cin: usize, cout: usize) -> Self {
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
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
}

/// Floats of a packed panel that stay in L1 (16 KiB of 32) while the pixels
/// of a task pass; longer kernels are cut, with partial sums in the output.
const BLOCK: usize = 4096;

/// Weights in panels `[groups][cout / panel][k][panel]`, `k` counting the
/// floats of a window in the order they lie in memory. Groups narrower than a
/// vector are merged into one that covers it, with zeros off the diagonal.
pub struct PackedConv {
    pub(crate) spec: ConvSpec,
    pub(crate) activation: Activation,
    pub(crate) level: Level,
    /// Vectors in a panel.
    pub(crate) vectors: usize,
    /// Groups after merging, and their channels.
    pub(crate) groups: usize,
    pub(crate) group_cin: usize,
    pub(crate) group_cout: usize,
    /// Panels of a group; the last may have fewer channels than the others.
    pub(crate) panels: usize,
    /// The window's floats, in order.
    pub(crate) runs: Vec<Run>,
    /// Where the blocks begin in `runs`, with the floats before; ends with
    /// the end of all.
    pub(crate) blocks: Vec<(usize, usize)>,
    pub(crate) weights: Floats,
    /// Padded to whole panels: `[groups][panels][panel]`.
    pub(crate) bias: Floats,
}

impl PackedConv {
    /// Packs `weights` `[cout, cin / groups, kernel.0, kernel.1]` and `bias`
    /// `[cout]` for the vectors of `level`.
    ///
    /// # Panics
    /// When the slices' lengths are not those of `spec`, or channels do not
    /// divide into its groups.
    #[must_use]
    pub fn new(
        spec: ConvSpec,
        weights: &[f32],
        bias: &[f32],
        activation: Activation,
        level: Level,
    ) -> Self {
        let ConvSpec { cin, cout, .. } = spec;
        let taps = spec.kernel.0 * spec.kernel.1;
        assert!(
            cin % spec.groups == 0 && cout % spec.groups == 0,
            "{spec:?}"
        );
        assert_eq!(weights.len(), cout * (cin / spec.groups) * taps, "{spec:?}");
        assert_eq!(bias.len(), cout, "{spec:?}");

        let merged = merged_groups(&spec, level.lanes());
        let groups = spec.groups / merged;
        let (group_cin, group_cout) = (cin / groups, cout / groups);
        let vectors = panel_vectors(group_cout, level);
        let panel = vectors * level.lanes();
        let panels = group_cout.div_ceil(panel);
        let (runs, blocks) = window(&spec, groups, BLOCK / panel);

        let mut packed = Self {
            spec,
            activation,
            level,
            vectors,
            groups,
            group_cin,
            group_cout,
            panels,
            runs,
            blocks,
            weights: Floats::zeros(0),
            bias: Floats::zeros(groups * panels * panel),
        };
        packed.weights = packed.pack(weights);
        for (o, &b) in bias.iter().enumerate() {
            packed.bias[o / group_cout * panels * panel + o % group_cout] = b;
        }
        packed
    }

    /// Memory of the packed weights, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.len())
    }

    /// What it computes.
    #[must_use]
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// Channels of a panel.
    pub(crate) fn panel(&self) -> usize {
        self.vectors * self.level.lanes()
    }

    /// Floats of a window.
    pub(crate) fn window(&self) -> usize {
        self.spec.kernel.0 * self.spec.kernel.1 * self.group_cin
    }

    fn pack(&self, weights: &[f32]) -> Floats {
        let (kh, kw) = self.spec.kernel;
        let per_group = self.spec.cin / self.spec.groups;
        let cout_per_group = self.spec.cout / self.spec.groups;
        let panel = self.panel();
        let mut packed = Floats::zeros(self.groups * self.panels * self.window() * panel);
        for o in 0..self.spec.cout {
            let (group, within) = (o / self.group_cout, o % self.group_cout);
            let start = (group * self.panels + within / panel) * self.window() * panel;
            // Where this channel's inputs begin inside its merged group.
            let first = o / cout_per_group * per_group - group * self.group_cin;
            for c in 0..per_group {
                for tap in 0..kh * kw {
                    let k = tap * self.group_cin + first + c;
                    packed[start + k * panel + within % panel] =
                        weights[(o * per_group + c) * kh * kw + tap];
                }
            }
        }
        packed
    }
}

/// How many groups to treat as one, so that its outputs fill a vector.
fn merged_groups(spec: &ConvSpec, lanes: usize) -> usize {
    let cout = spec.cout / spec.groups;
    let mut merged = 1;
    while merged * cout < lanes && spec.groups.is_multiple_of(2 * merged) {
        merged *= 2;
    }
    merged
}

/// Vectors in a panel: as many as the registers hold, no more than there are
/// channels for.
fn panel_vectors(cout: usize, level: Level) -> usize {
    let lanes = level.lanes();
    let most = if lanes == 16 { 4 } else { 2 };
    match cout.div_ceil(lanes) {
        1 => 1,
        2 => 2,
        _ => most,
    }
}

/// The runs of a window and where its blocks of about `block` floats begin.
/// Ungrouped, a row of the kernel is one run: its pixels are neighbours.
fn window(spec: &ConvSpec, groups: usize, block: usize) -> (Vec<Run>, Vec<(usize, usize)>) {
    let (kh, kw) = spec.kernel;
    let cin = spec.cin / groups;
    let (columns, len) = if groups == 1 {
        (1, kw * cin)
    } else {
        (kw, cin)
    };
    let total = kh * kw * cin;
    // Even blocks: a short last one would pay the partial sums for little.
    let block = total.div_ceil(total.div_ceil(block));
    let (mut runs, mut blocks, mut k) = (Vec::new(), vec![(0, 0)], 0);
    for row in 0..kh {
        for column in 0..columns {
            let mut start = 0;
            while start < len {
                let room = blocks.len() * block - k;
                let take = room.min(len - start);
                runs.push(Run {
                    row,
                    start: column * spec.cin + start,
                    len: take,
                });
                start += take;
                k += take;
                if k == blocks.len() * block && k < total {
                    blocks.push((runs.len(), k));
                }
            }
        }
    }
    blocks.push((runs.len(), total));
    (runs, blocks)
}
