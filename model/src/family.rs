//! The parts of an architecture of the ResNet family. A row names the parts that
//! it combines; `build` turns it into a graph. The rows are in `rows`.

mod rows;

use std::sync::LazyLock;

use Block::{Basic, Bottleneck};

/// The convolutions before the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 7x7 stride 2 (He et al. 2015).
    Conv7,
    /// Three 3x3, the first with stride 2, of half, half and all of the stem's
    /// channels (ResNet-C, He et al. 2018).
    Deep,
    /// The same with 3/8, half and all of the channels (timm's `t`).
    Tiered,
    /// 3x3 stride 1, for CIFAR.
    Conv3,
    /// As `Conv7`, under the names of `SENet`'s networks (`layer0`).
    Senet7,
    /// As `Deep`, under the names of `SENet`'s networks.
    SenetDeep,
}

/// What follows the convolutions of the stem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StemPool {
    /// Nothing, for CIFAR.
    None,
    /// 3x3 max-pool stride 2 (He et al. 2015). With anti-aliasing, its stride is
    /// that of the anti-aliasing.
    Max,
    /// The same, whose padding counts as zeros (`BiT`).
    MaxOverZeros,
    /// The same without padding, in ceiling mode (`SENet`, from Caffe).
    MaxUnpadded,
    /// 3x3 convolution stride 2 (ResNet-RS, Bello et al. 2021).
    Conv,
}

/// What reduces the size of a feature map after a 3x3 convolution, which then has
/// stride 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AntiAliasing {
    /// Nothing: the convolution has the stride.
    None,
    /// 2x2 average-pool stride 2 (timm's `aa`).
    Average,
    /// 3x3 binomial filter stride 2 (Zhang 2019).
    Blur,
}

/// The residual function of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3.
    Basic,
    /// 1x1 down, 3x3, 1x1 up.
    Bottleneck,
}

impl Block {
    /// Output channels divided by planes.
    #[must_use]
    pub fn expansion(self) -> usize {
        match self {
            Basic => 1,
            Bottleneck => 4,
        }
    }
}

/// Which convolution of a bottleneck has the stride of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrideOn {
    /// The first 1x1: the original (v1).
    Conv1,
    /// The 3x3: v1.5, as in torchvision and timm.
    Conv2,
}

/// The order of convolutions, norms and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// conv, norm, ReLU (2015).
    Post,
    /// norm, ReLU, conv (He et al. 2016, "identity mappings").
    Pre,
}

/// The normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Batch norm.
    Batch,
    /// Group norm over 32 groups (Wu and He 2018).
    Group,
}

/// The shortcut of a block that changes the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// 1x1 with the stride (option B).
    Projection,
    /// 2x2 stride 2 without padding where the stride is 2, else 1x1.
    Projection2x2,
    /// 3x3 stride 2 where the stride is 2, else 1x1 (`SENet`-154).
    Projection3x3,
    /// Every second pixel, zeros for the new channels (option A).
    ZeroPad,
    /// 2x2 average-pool, then 1x1 (ResNet-D, He et al. 2018).
    AvgPoolProjection,
}

/// How the residual function and the shortcut are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Their sum.
    Residual,
    /// No shortcut.
    Plain,
    /// A learned gate T between them, C = 1 - T (Srivastava et al. 2015).
    Highway,
}

/// Channel attention at the end of the residual function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// None.
    None,
    /// Squeeze-and-excitation (Hu et al. 2017).
    SqueezeExcite(Squeeze),
    /// ECA; the kernel size depends on the number of channels (Wang et al. 2020).
    EfficientChannel,
}

/// The parameters of squeeze-and-excitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Squeeze {
    /// Channels divided by the channels between its two layers.
    pub reduction: usize,
    /// The channels between its two layers are rounded to a multiple of this.
    pub multiple: usize,
    /// Whether a ReLU is applied before it.
    pub after_relu: bool,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Architecture {
    /// Its name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// The layers before the first stage.
    pub stem: Stem,
    /// Channels after the stem.
    pub stem_planes: usize,
    /// What follows the convolutions of the stem.
    pub stem_pool: StemPool,
    /// What replaces strides.
    pub anti_aliasing: AntiAliasing,
    /// The residual function.
    pub block: Block,
    /// Blocks in each stage.
    pub layers: &'static [usize],
    /// Planes of each stage: the width of a basic block; a bottleneck multiplies
    /// them by its expansion.
    pub planes: &'static [usize],
    /// Groups of the bottleneck's 3x3 (`ResNeXt`, Xie et al. 2016).
    pub groups: usize,
    /// Inner width of a bottleneck divided by its planes (wide and `ResNeXt`).
    pub widening: usize,
    /// Inner width of a bottleneck divided by the width of its first 1x1 (2 in
    /// `SENet`-154).
    pub narrowing: usize,
    /// Which convolution of a bottleneck is strided.
    pub stride_on: StrideOn,
    /// The order of norms and convolutions.
    pub order: Order,
    /// Which norm.
    pub norm: Norm,
    /// Whether the weights of convolutions are standardised (`BiT`, Kolesnikov et
    /// al. 2020).
    pub standardised: bool,
    /// The shortcut where the shape changes.
    pub shortcut: Shortcut,
    /// How residual and shortcut are combined.
    pub merge: Merge,
    /// Channel attention.
    pub attention: Attention,
    /// Side of the input in its paper, in pixels.
    pub input: usize,
    /// Number of classes in its paper.
    pub classes: usize,
    /// Multiply-adds of one image as its paper states them ("FLOPs").
    pub published_flops: Option<f64>,
    /// Which layers its paper counts as its depth.
    pub depth_of: DepthOf,
}

/// Which layers a paper counts as the depth of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepthOf {
    /// Layers with weights on the main path, the classifier included, and no
    /// projections (He et al. 2015).
    MainPath,
    /// Convolutions, the projections of the stages included, and no classifier
    /// (Zagoruyko and Komodakis 2016).
    Convolutions,
}

impl Architecture {
    /// The number of layers as the paper of the architecture counts them.
    #[must_use]
    pub fn depth(&self) -> usize {
        let per_block = match self.block {
            Basic => 2,
            Bottleneck => 3,
        };
        let stem = match self.stem {
            Stem::Deep | Stem::Tiered | Stem::SenetDeep => 3,
            Stem::Conv7 | Stem::Conv3 | Stem::Senet7 => 1,
        };
        let others = match self.depth_of {
            DepthOf::MainPath => 1,
            DepthOf::Convolutions => self.layers.len(),
        };
        stem + self.layers.iter().sum::<usize>() * per_block + others
    }
}

/// All architectures.
pub static FAMILY: LazyLock<Vec<Architecture>> = LazyLock::new(rows::all);

/// The row called `name`, by its name or an alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Architecture> {
    FAMILY
        .iter()
        .find(|row| row.name == name || row.aliases.contains(&name))
}

/// The three names closest to `name`, by Levenshtein distance.
#[must_use]
pub fn nearest(name: &str) -> Vec<&'static str> {
    let name = name.to_lowercase();
    let mut names: Vec<(usize, &str)> = FAMILY
        .iter()
        .map(|row| (strsim::levenshtein(&name, row.name), row.name))
        .collect();
    names.sort();
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_a_misspelt_name_finds_its_row() {
        let mut names: Vec<_> = FAMILY
            .iter()
            .flat_map(|row| row.aliases.iter().chain([&row.name]))
            .collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(nearest("ResNet-50")[0], "resnet50");
        assert_eq!(nearest("wideresnet50_2")[0], "wide_resnet50_2");
    }

    #[test]
    fn depths_are_those_of_the_papers() {
        for (name, depth) in [
            ("resnet18", 18),
            ("resnet152", 152),
            ("cifar_resnet1202", 1202),
            ("cifar_preact1001", 1001),
            ("resnet200", 200),
            ("wrn_16_4", 16),
            ("wrn_28_10", 28),
        ] {
            assert_eq!(find(name).unwrap().depth(), depth, "{name}");
        }
    }
}
