//! The ResNet family as a table: one row for each architecture. A row names the
//! parts that it combines; `build` turns it into a graph.

use Attention::{EfficientChannel, SqueezeExcite};
use Block::{Basic, Bottleneck};

/// The layers before the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 7x7 stride 2, then 3x3 max-pool stride 2 (He et al. 2015).
    Conv7,
    /// The same with zero padding of the pool, as in `BiT`.
    Conv7ZeroPool,
    /// Three 3x3, the first with stride 2, then the pool (ResNet-C, He et al. 2018).
    Deep,
    /// 3x3 stride 1, without a pool, for CIFAR.
    Conv3,
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

/// The normalisation, and how it treats the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Batch norm.
    Batch,
    /// Group norm over 32 groups with standardised weights (`BiT`, Kolesnikov et al. 2020).
    Group,
}

/// The shortcut of a block that changes the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// 1x1 with the stride (option B).
    Projection,
    /// 2x2 stride 2 without padding where the stride is 2, else 1x1.
    Projection2x2,
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
    /// Squeeze-and-excitation, reduction 16 (Hu et al. 2017).
    SqueezeExcite,
    /// ECA; the kernel size depends on the number of channels (Wang et al. 2020).
    EfficientChannel,
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
    /// Which convolution of a bottleneck is strided.
    pub stride_on: StrideOn,
    /// The order of norms and convolutions.
    pub order: Order,
    /// Which norm.
    pub norm: Norm,
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
        let stem = if self.stem == Stem::Deep { 3 } else { 1 };
        let others = match self.depth_of {
            DepthOf::MainPath => 1,
            DepthOf::Convolutions => self.layers.len(),
        };
        stem + self.layers.iter().sum::<usize>() * per_block + others
    }
}

const IMAGENET: &[usize] = &[64, 128, 256, 512];
const CIFAR: &[usize] = &[16, 32, 64];

/// ResNet-18, from which every other row is derived.
const RESNET: Architecture = Architecture {
    name: "resnet18",
    aliases: &[],
    stem: Stem::Conv7,
    stem_planes: 64,
    block: Basic,
    layers: &[2, 2, 2, 2],
    planes: IMAGENET,
    groups: 1,
    widening: 1,
    stride_on: StrideOn::Conv2,
    order: Order::Post,
    norm: Norm::Batch,
    shortcut: Shortcut::Projection,
    merge: Merge::Residual,
    attention: Attention::None,
    input: 224,
    classes: 1000,
    published_flops: None,
    depth_of: DepthOf::MainPath,
};
const RESNET50: Architecture = Architecture {
    block: Bottleneck,
    layers: &[3, 4, 6, 3],
    ..RESNET
};
const V1: Architecture = Architecture {
    stride_on: StrideOn::Conv1,
    ..RESNET50
};
const RESNET_D: Architecture = Architecture {
    stem: Stem::Deep,
    shortcut: Shortcut::AvgPoolProjection,
    ..RESNET50
};
const PREACT: Architecture = Architecture {
    order: Order::Pre,
    ..RESNET
};
const PREACT50: Architecture = Architecture {
    order: Order::Pre,
    ..RESNET50
};
const BIT: Architecture = Architecture {
    norm: Norm::Group,
    stem: Stem::Conv7ZeroPool,
    ..PREACT50
};
const CIFAR_RESNET: Architecture = Architecture {
    stem: Stem::Conv3,
    stem_planes: 16,
    planes: CIFAR,
    shortcut: Shortcut::ZeroPad,
    input: 32,
    classes: 10,
    ..RESNET
};
const CIFAR_PREACT: Architecture = Architecture {
    order: Order::Pre,
    shortcut: Shortcut::Projection,
    ..CIFAR_RESNET
};
const CIFAR_PREACT_BOTTLENECK: Architecture = Architecture {
    block: Bottleneck,
    ..CIFAR_PREACT
};
const WIDE: Architecture = Architecture {
    depth_of: DepthOf::Convolutions,
    ..CIFAR_PREACT
};
const HIGHWAY: Architecture = Architecture {
    merge: Merge::Highway,
    shortcut: Shortcut::Projection,
    ..RESNET
};
const CIFAR_HIGHWAY: Architecture = Architecture {
    merge: Merge::Highway,
    shortcut: Shortcut::Projection,
    ..CIFAR_RESNET
};
const PLAIN: Architecture = Architecture {
    merge: Merge::Plain,
    ..RESNET
};
const CIFAR_PLAIN: Architecture = Architecture {
    merge: Merge::Plain,
    ..CIFAR_RESNET
};

/// All architectures.
#[rustfmt::skip]
pub static FAMILY: &[Architecture] = &[
    // He et al. 2015, stride on the 3x3 (v1.5)
    Architecture { published_flops: Some(1.8e9), ..RESNET },
    Architecture { name: "resnet34", layers: &[3, 4, 6, 3], published_flops: Some(3.6e9), ..RESNET },
    Architecture { name: "resnet50", published_flops: Some(3.8e9), ..RESNET50 },
    Architecture { name: "resnet101", layers: &[3, 4, 23, 3], published_flops: Some(7.6e9), ..RESNET50 },
    Architecture { name: "resnet152", layers: &[3, 8, 36, 3], published_flops: Some(11.3e9), ..RESNET50 },
    Architecture { name: "resnet200", layers: &[3, 24, 36, 3], ..RESNET50 },
    // the original, stride on the first 1x1 (v1)
    Architecture { name: "resnet50_v1", published_flops: Some(3.8e9), ..V1 },
    Architecture { name: "resnet101_v1", layers: &[3, 4, 23, 3], published_flops: Some(7.6e9), ..V1 },
    Architecture { name: "resnet152_v1", layers: &[3, 8, 36, 3], published_flops: Some(11.3e9), ..V1 },
    Architecture { name: "resnet200_v1", layers: &[3, 24, 36, 3], ..V1 },
    Architecture { name: "resnet50_thin", planes: &[32, 64, 128, 256], ..V1 },
    // with a 2x2 projection
    Architecture { name: "resnet18_2x2", aliases: &["resnet18-2x2"], shortcut: Shortcut::Projection2x2, ..RESNET },
    // deeper stem (C), average-pooled shortcut (D), attention
    Architecture { name: "resnet50c", stem: Stem::Deep, ..RESNET50 },
    Architecture { name: "resnet26d", layers: &[2, 2, 2, 2], ..RESNET_D },
    Architecture { name: "resnet50d", ..RESNET_D },
    Architecture { name: "resnet101d", layers: &[3, 4, 23, 3], ..RESNET_D },
    Architecture { name: "seresnet50", attention: SqueezeExcite, ..RESNET50 },
    Architecture { name: "ecaresnet50d", attention: EfficientChannel, ..RESNET_D },
    Architecture { name: "ecaresnet101d", layers: &[3, 4, 23, 3], attention: EfficientChannel, ..RESNET_D },
    // wide (Zagoruyko and Komodakis 2016) and ResNeXt (Xie et al. 2016)
    Architecture { name: "wide_resnet50_2", widening: 2, ..RESNET50 },
    Architecture { name: "wide_resnet101_2", layers: &[3, 4, 23, 3], widening: 2, ..RESNET50 },
    Architecture { name: "resnext50_32x4d", groups: 32, widening: 2, ..RESNET50 },
    Architecture { name: "resnext101_32x8d", layers: &[3, 4, 23, 3], groups: 32, widening: 4, ..RESNET50 },
    // pre-activation (He et al. 2016)
    Architecture { name: "resnetv2_18", aliases: &["preact_resnet18"], ..PREACT },
    Architecture { name: "resnetv2_34", aliases: &["preact_resnet34"], layers: &[3, 4, 6, 3], ..PREACT },
    Architecture { name: "resnetv2_50", aliases: &["preact_resnet50"], ..PREACT50 },
    Architecture { name: "resnetv2_101", aliases: &["preact_resnet101"], layers: &[3, 4, 23, 3], ..PREACT50 },
    Architecture { name: "resnetv2_152", aliases: &["preact_resnet152"], layers: &[3, 8, 36, 3], ..PREACT50 },
    Architecture { name: "resnetv2_200", aliases: &["preact_resnet200"], layers: &[3, 24, 36, 3], ..PREACT50 },
    Architecture { name: "resnetv2_50d", stem: Stem::Deep, shortcut: Shortcut::AvgPoolProjection, ..PREACT50 },
    Architecture { name: "resnetv2_50x1_bit", ..BIT },
    Architecture { name: "resnetv2_101x1_bit", layers: &[3, 4, 23, 3], ..BIT },
    // highway and plain
    Architecture { name: "highway18", ..HIGHWAY },
    Architecture { name: "plain18", ..PLAIN },
    Architecture { name: "plain34", layers: &[3, 4, 6, 3], ..PLAIN },
    // CIFAR
    Architecture { name: "cifar_resnet20", layers: &[3; 3], ..CIFAR_RESNET },
    Architecture { name: "cifar_resnet32", layers: &[5; 3], ..CIFAR_RESNET },
    Architecture { name: "cifar_resnet44", layers: &[7; 3], ..CIFAR_RESNET },
    Architecture { name: "cifar_resnet56", layers: &[9; 3], ..CIFAR_RESNET },
    Architecture { name: "cifar_resnet110", layers: &[18; 3], ..CIFAR_RESNET },
    Architecture { name: "cifar_resnet1202", layers: &[200; 3], ..CIFAR_RESNET },
    Architecture { name: "cifar_preact110", layers: &[18; 3], ..CIFAR_PREACT },
    Architecture { name: "cifar_preact164", layers: &[18; 3], ..CIFAR_PREACT_BOTTLENECK },
    Architecture { name: "cifar_preact1001", layers: &[111; 3], ..CIFAR_PREACT_BOTTLENECK },
    Architecture { name: "wrn_16_4", aliases: &["wrn-16-4"], layers: &[2; 3], planes: &[64, 128, 256], ..WIDE },
    Architecture { name: "wrn_28_10", aliases: &["wrn-28-10"], layers: &[4; 3], planes: &[160, 320, 640], ..WIDE },
    Architecture { name: "cifar_highway20", layers: &[3; 3], ..CIFAR_HIGHWAY },
    Architecture { name: "cifar_plain20", layers: &[3; 3], ..CIFAR_PLAIN },
    Architecture { name: "cifar_plain56", layers: &[9; 3], ..CIFAR_PLAIN },
];

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
