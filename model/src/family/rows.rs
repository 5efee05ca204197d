//! The rows of the table. A series is one line for networks that differ in their
//! depth: the name of a depth gives the block and the layers.

use super::{
    AntiAliasing, Architecture, Attention, Block, DepthOf, Merge, Norm, Order, Shortcut, Squeeze,
    Stem, StemPool, StrideOn,
};
use Block::{Basic, Bottleneck};

/// The depths: their block and the number of blocks in each stage.
#[rustfmt::skip]
const DEPTHS: &[(&str, Block, &[usize])] = &[
    ("10", Basic, &[1, 1, 1, 1]),
    ("14", Bottleneck, &[1, 1, 1, 1]),
    ("18", Basic, &[2, 2, 2, 2]),
    ("26", Bottleneck, &[2, 2, 2, 2]),
    ("34", Basic, &[3, 4, 6, 3]),
    ("50", Bottleneck, &[3, 4, 6, 3]),
    ("101", Bottleneck, &[3, 4, 23, 3]),
    ("152", Bottleneck, &[3, 8, 36, 3]),
    ("200", Bottleneck, &[3, 24, 36, 3]),
    ("201", Bottleneck, &[3, 24, 36, 4]),
    ("269", Bottleneck, &[3, 30, 48, 8]),
    ("270", Bottleneck, &[4, 29, 53, 4]),
    ("350", Bottleneck, &[4, 36, 72, 4]),
    ("420", Bottleneck, &[4, 44, 87, 4]),
    ("light", Bottleneck, &[1, 1, 11, 3]),
    // CIFAR (He et al. 2015): three stages
    ("20", Basic, &[3; 3]),
    ("32", Basic, &[5; 3]),
    ("44", Basic, &[7; 3]),
    ("56", Basic, &[9; 3]),
    ("110", Basic, &[18; 3]),
    ("1202", Basic, &[200; 3]),
    ("164", Bottleneck, &[18; 3]),
    ("1001", Bottleneck, &[111; 3]),
];

/// "FLOPs" as the paper states them (He et al. 2015).
const PUBLISHED: &[(&str, f64)] = &[
    ("resnet18", 1.8e9),
    ("resnet34", 3.6e9),
    ("resnet50", 3.8e9),
    ("resnet101", 7.6e9),
    ("resnet152", 11.3e9),
    ("resnet50_v1", 3.8e9),
    ("resnet101_v1", 7.6e9),
    ("resnet152_v1", 11.3e9),
];

const IMAGENET: &[usize] = &[64, 128, 256, 512];
const CIFAR: &[usize] = &[16, 32, 64];

/// ResNet-18, from which every other row is derived.
const RESNET: Architecture = Architecture {
    name: "resnet18",
    aliases: &[],
    stem: Stem::Conv7,
    stem_planes: 64,
    stem_pool: StemPool::Max,
    anti_aliasing: AntiAliasing::None,
    block: Basic,
    layers: &[2, 2, 2, 2],
    planes: IMAGENET,
    groups: 1,
    widening: 1,
    narrowing: 1,
    stride_on: StrideOn::Conv2,
    order: Order::Post,
    norm: Norm::Batch,
    standardised: false,
    shortcut: Shortcut::Projection,
    merge: Merge::Residual,
    attention: Attention::None,
    input: 224,
    classes: 1000,
    published_flops: None,
    depth_of: DepthOf::MainPath,
};
const V1: Architecture = Architecture {
    stride_on: StrideOn::Conv1,
    ..RESNET
};
/// Deeper stem (C).
const RESNET_C: Architecture = Architecture {
    stem: Stem::Deep,
    ..RESNET
};
/// Deeper and wider stem (S).
const RESNET_S: Architecture = Architecture {
    stem_planes: 128,
    ..RESNET_C
};
/// Deeper stem, average-pooled shortcut (D).
const RESNET_D: Architecture = Architecture {
    shortcut: Shortcut::AvgPoolProjection,
    ..RESNET_C
};
/// The same with a tiered stem (T).
const RESNET_T: Architecture = Architecture {
    stem: Stem::Tiered,
    ..RESNET_D
};
const RESNET_RS: Architecture = Architecture {
    stem_pool: StemPool::Conv,
    ..squeezed(RS_SQUEEZE, RESNET_D)
};
/// `SENet`'s networks as their authors published them, in Caffe.
const SENET: Architecture = Architecture {
    stem: Stem::Senet7,
    stem_pool: StemPool::MaxUnpadded,
    ..squeezed(SENET_SQUEEZE, RESNET)
};
const SENET154: Architecture = Architecture {
    stem: Stem::Deep,
    stem_planes: 128,
    groups: 64,
    widening: 4,
    narrowing: 2,
    shortcut: Shortcut::Projection3x3,
    ..squeezed(SQUEEZE, RESNET)
};
const PREACT: Architecture = Architecture {
    order: Order::Pre,
    ..RESNET
};
const PREACT_D: Architecture = Architecture {
    order: Order::Pre,
    ..RESNET_D
};
const BIT: Architecture = Architecture {
    norm: Norm::Group,
    standardised: true,
    stem_pool: StemPool::MaxOverZeros,
    ..PREACT
};
/// The stem of the CIFAR networks, the stages of the `ImageNet` networks.
const CIFAR_STEM: Architecture = Architecture {
    stem: Stem::Conv3,
    stem_pool: StemPool::None,
    input: 32,
    classes: 10,
    ..RESNET
};
const CIFAR_RESNET: Architecture = Architecture {
    stem_planes: 16,
    planes: CIFAR,
    shortcut: Shortcut::ZeroPad,
    ..CIFAR_STEM
};
const CIFAR_PREACT: Architecture = Architecture {
    order: Order::Pre,
    shortcut: Shortcut::Projection,
    ..CIFAR_RESNET
};
const WIDE: Architecture = Architecture {
    layers: &[2; 3],
    depth_of: DepthOf::Convolutions,
    ..CIFAR_PREACT
};

/// timm's squeeze-and-excitation.
const SQUEEZE: Squeeze = Squeeze {
    reduction: 16,
    multiple: 8,
    after_relu: false,
};
const RS_SQUEEZE: Squeeze = Squeeze {
    reduction: 4,
    ..SQUEEZE
};
const SENET_SQUEEZE: Squeeze = Squeeze {
    multiple: 1,
    ..SQUEEZE
};
/// As in the basic block of `SENet`'s networks.
const SENET_BASIC_SQUEEZE: Squeeze = Squeeze {
    after_relu: true,
    ..SENET_SQUEEZE
};

const fn squeezed(squeeze: Squeeze, row: Architecture) -> Architecture {
    Architecture {
        attention: Attention::SqueezeExcite(squeeze),
        ..row
    }
}

const fn se(row: Architecture) -> Architecture {
    squeezed(SQUEEZE, row)
}

const fn eca(row: Architecture) -> Architecture {
    Architecture {
        attention: Attention::EfficientChannel,
        ..row
    }
}

const fn average(row: Architecture) -> Architecture {
    Architecture {
        anti_aliasing: AntiAliasing::Average,
        ..row
    }
}

const fn blur(row: Architecture) -> Architecture {
    Architecture {
        anti_aliasing: AntiAliasing::Blur,
        ..row
    }
}

/// `ResNeXt` (Xie et al. 2016) with `groups` groups, each of `width` channels in the
/// first stage.
const fn next(groups: usize, width: usize, row: Architecture) -> Architecture {
    Architecture {
        groups,
        widening: groups * width / 64,
        ..row
    }
}

const fn wide(widening: usize, row: Architecture) -> Architecture {
    Architecture { widening, ..row }
}

const fn grouped(row: Architecture) -> Architecture {
    Architecture {
        norm: Norm::Group,
        ..row
    }
}

const fn merged(merge: Merge, row: Architecture) -> Architecture {
    Architecture {
        merge,
        shortcut: Shortcut::Projection,
        ..row
    }
}

/// All widths are `factor` times those of `row`, which are given as `planes`.
const fn scaled(factor: usize, planes: &'static [usize], row: Architecture) -> Architecture {
    Architecture {
        stem_planes: 64 * factor,
        planes,
        ..row
    }
}

const fn planes(planes: &'static [usize], row: Architecture) -> Architecture {
    Architecture { planes, ..row }
}

/// Networks that differ in their depth.
struct Series {
    /// `{}` stands for the depth.
    name: &'static str,
    /// Other names.
    aliases: &'static [&'static str],
    depths: &'static [&'static str],
    /// A row of any depth.
    row: Architecture,
}

const fn series(name: &'static str, depths: &'static [&'static str], row: Architecture) -> Series {
    Series {
        name,
        aliases: &[],
        depths,
        row,
    }
}

const fn aliased(aliases: &'static [&'static str], series: Series) -> Series {
    Series { aliases, ..series }
}

/// All series. Of several rows with the same tensors, the first is meant where a
/// checkpoint does not name one.
#[rustfmt::skip]
static SERIES: &[Series] = &[
    // He et al. 2015, stride on the 3x3 (v1.5); on the first 1x1 (v1)
    series("resnet{}", &["18", "26", "34", "50", "101", "152", "200"], RESNET),
    series("resnet{}_v1", &["50", "101", "152", "200"], V1),
    series("resnet{}_thin", &["50"], planes(&[32, 64, 128, 256], V1)),
    aliased(&["resnet{}-2x2"], series("resnet{}_2x2", &["18"], Architecture { shortcut: Shortcut::Projection2x2, ..RESNET })),
    series("resnet{}_gn", &["50"], grouped(RESNET)),
    // deeper stems (C, S), average-pooled shortcuts (D, T)
    series("resnet{}c", &["50", "101", "152"], RESNET_C),
    series("resnet{}s", &["50", "101", "152"], RESNET_S),
    series("resnet{}d", &["18", "26", "34", "50", "101", "152", "200"], RESNET_D),
    series("resnet{}t", &["10", "14", "26", "50"], RESNET_T),
    // squeeze-and-excitation (Hu et al. 2017) and ECA (Wang et al. 2020)
    series("seresnet{}", &["18", "34", "50", "101", "152"], se(RESNET)),
    series("seresnet{}d", &["152", "200", "269"], se(RESNET_D)),
    series("seresnet{}t", &["50"], se(RESNET_T)),
    series("ecaresnet{}d", &["50", "101", "200", "269"], eca(RESNET_D)),
    series("ecaresnet{}t", &["26", "50"], eca(RESNET_T)),
    series("ecaresnet{}", &["light"], eca(Architecture { shortcut: Shortcut::AvgPoolProjection, ..RESNET })),
    series("resnetrs{}", &["50", "101", "152", "200", "270", "350", "420"], RESNET_RS),
    // wide (Zagoruyko and Komodakis 2016) and ResNeXt (Xie et al. 2016)
    series("wide_resnet{}_2", &["50", "101"], wide(2, RESNET)),
    series("resnext{}_32x4d", &["50", "101"], next(32, 4, RESNET)),
    series("resnext{}_32x8d", &["101"], next(32, 8, RESNET)),
    series("resnext{}_32x16d", &["101"], next(32, 16, RESNET)),
    series("resnext{}_32x32d", &["101"], next(32, 32, RESNET)),
    series("resnext{}_32x48d", &["101"], next(32, 48, RESNET)),
    series("resnext{}_64x4d", &["101"], next(64, 4, RESNET)),
    series("resnext{}d_32x4d", &["50"], next(32, 4, RESNET_D)),
    series("seresnext{}_32x4d", &["50", "101"], se(next(32, 4, RESNET))),
    series("seresnext{}_32x8d", &["101"], se(next(32, 8, RESNET))),
    series("seresnext{}_64x4d", &["101"], se(next(64, 4, RESNET))),
    series("seresnext{}d_32x4d", &["26"], se(next(32, 4, RESNET_D))),
    series("seresnext{}d_32x8d", &["101"], se(next(32, 8, RESNET_D))),
    aliased(&["seresnext{}tn_32x4d"], series("seresnext{}t_32x4d", &["26"], se(next(32, 4, RESNET_T)))),
    series("ecaresnext{}t_32x4d", &["26", "50"], eca(next(32, 4, RESNET_T))),
    series("senet154", &["152"], SENET154),
    // SENet's networks as published
    series("legacy_seresnet{}", &["18", "34"], squeezed(SENET_BASIC_SQUEEZE, SENET)),
    series("legacy_seresnet{}", &["50", "101", "152"], Architecture { stride_on: StrideOn::Conv1, ..SENET }),
    series("legacy_seresnext{}_32x4d", &["26", "50", "101"], next(32, 4, SENET)),
    series("legacy_senet154", &["152"], Architecture { stem: Stem::SenetDeep, stem_pool: StemPool::MaxUnpadded, ..SENET154 }),
    // average and blur pools in place of strides (Zhang 2019)
    series("resnetaa{}", &["50"], average(RESNET)),
    series("resnetaa{}d", &["34", "50", "101"], average(RESNET_D)),
    series("seresnetaa{}d", &["50"], se(average(RESNET_D))),
    series("seresnextaa{}d_32x8d", &["101"], se(next(32, 8, average(RESNET_D)))),
    series("seresnextaa{}d_32x8d", &["201"], se(next(32, 8, average(Architecture { stem_planes: 128, ..RESNET_D })))),
    series("resnetblur{}", &["18", "50"], blur(RESNET)),
    series("resnetblur{}d", &["50", "101"], blur(RESNET_D)),
    // pre-activation (He et al. 2016)
    aliased(&["preact_resnet{}"], series("resnetv2_{}", &["18", "34", "50", "101", "152", "200"], PREACT)),
    series("resnetv2_{}d", &["18", "34", "50", "101", "152"], PREACT_D),
    series("resnetv2_{}t", &["50"], Architecture { stem: Stem::Tiered, ..PREACT_D }),
    series("resnetv2_{}d_gn", &["50"], grouped(PREACT_D)),
    series("resnetv2_{}x1_bit", &["50", "101"], BIT),
    series("resnetv2_{}x2_bit", &["152"], scaled(2, &[128, 256, 512, 1024], BIT)),
    series("resnetv2_{}x3_bit", &["50", "101"], scaled(3, &[192, 384, 768, 1536], BIT)),
    series("resnetv2_{}x4_bit", &["152"], scaled(4, &[256, 512, 1024, 2048], BIT)),
    // highway (Srivastava et al. 2015) and plain
    series("highway{}", &["18"], merged(Merge::Highway, RESNET)),
    series("plain{}", &["18", "34"], merged(Merge::Plain, RESNET)),
    // CIFAR
    series("cifar_resnet{}", &["20", "32", "44", "56", "110", "1202"], CIFAR_RESNET),
    series("cifar_preact{}", &["110", "164", "1001"], CIFAR_PREACT),
    aliased(&["wrn-16-4"], series("wrn_16_4", &[""], planes(&[64, 128, 256], WIDE))),
    aliased(&["wrn-28-10"], series("wrn_28_10", &[""], planes(&[160, 320, 640], Architecture { layers: &[4; 3], ..WIDE }))),
    series("cifar_highway{}", &["20"], merged(Merge::Highway, CIFAR_RESNET)),
    series("cifar_plain{}", &["20", "56"], merged(Merge::Plain, CIFAR_RESNET)),
    // CIFAR stem, ImageNet stages
    series("cifar_resnet{}", &["18", "34", "50", "101", "152"], CIFAR_STEM),
];

/// The rows of all series.
pub(super) fn all() -> Vec<Architecture> {
    let each = |series: &'static Series| series.depths.iter().map(|depth| row(series, depth));
    SERIES.iter().flat_map(each).collect()
}

/// The row of `series` with this depth. A name without a depth has its own layers.
fn row(series: &Series, depth: &str) -> Architecture {
    // the names live as long as the process
    let name = |pattern: &str| &*pattern.replace("{}", depth).leak();
    let aliases: Vec<&'static str> = series.aliases.iter().copied().map(name).collect();
    let name = name(series.name);
    let known = DEPTHS.iter().find(|(name, ..)| *name == depth);
    let (block, layers) = match known {
        Some(&(_, block, layers)) => (block, layers),
        None => (series.row.block, series.row.layers),
    };
    let published = PUBLISHED.iter().find(|(published, _)| *published == name);
    Architecture {
        name,
        aliases: aliases.leak(),
        block,
        layers,
        published_flops: published.map(|&(_, flops)| flops),
        ..series.row
    }
}
