//! Maps the names of tensors between the naming of each library and the
//! canonical naming, which is torchvision's. All other namings are defined here.
//!
//! A rule pairs a prefix of a name in the file with a prefix of the canonical
//! name. `{n}` matches a number that is counted from n: `stages.{0}.` and
//! `layer{1}.` both mean the first stage. The first matching rule applies, in
//! either direction; a name without a matching rule does not change.

mod pattern;
#[cfg(test)]
mod tests;

use self::pattern::{match_prefix, translate};

/// The prefix of a name in the file, and of the canonical name.
type Rule = (&'static str, &'static str);

/// The rules of one library or kind of network.
struct Dialect {
    /// Prefix of a name that only this dialect uses.
    marker: &'static str,
    rules: &'static [Rule],
}

/// Projection shortcuts that begin with pooling (ResNet-D). The pooling is at
/// index 0 and has no tensors.
const POOLED: Dialect = Dialect {
    marker: "layer{1}.{0}.downsample.2.",
    rules: &[
        ("layer{1}.{0}.downsample.1.", "layer{1}.{0}.downsample.0."),
        ("layer{1}.{0}.downsample.2.", "layer{1}.{0}.downsample.1."),
    ],
};

/// Shortcuts of pre-activation networks: a convolution without a norm.
const CONV_SHORTCUT: Dialect = Dialect {
    marker: "layer{1}.{0}.downsample.weight",
    rules: &[(
        "layer{1}.{0}.downsample.weight",
        "layer{1}.{0}.downsample.0.weight",
    )],
};

/// Shortcuts of the CIFAR networks of kuangliu's pytorch-cifar.
const SHORTCUT: Dialect = Dialect {
    marker: "layer{1}.{0}.shortcut.",
    rules: &[("layer{1}.{0}.shortcut.", "layer{1}.{0}.downsample.")],
};

/// `SENet`'s networks, in timm `legacy_*`. The names of the stem stay.
const SENET: Dialect = Dialect {
    marker: "layer{1}.{0}.se_module.",
    rules: &[
        ("layer{1}.{0}.se_module.", "layer{1}.{0}.se."),
        ("last_linear.", "fc."),
    ],
};

/// The classifier of the published CIFAR networks.
const LINEAR: Dialect = Dialect {
    marker: "linear.",
    rules: &[("linear.", "fc.")],
};

/// timm's `resnetv2_*`. The names of the deep stem have a digit; they come
/// before those of the plain stem.
const TIMM_V2: Dialect = Dialect {
    marker: "stages.{0}.blocks.{0}.",
    rules: &[
        ("stem.conv1.", "conv1.0."),
        ("stem.norm1.", "conv1.1."),
        ("stem.conv2.", "conv1.3."),
        ("stem.norm2.", "conv1.4."),
        ("stem.conv3.", "conv1.6."),
        ("stem.conv.", "conv1."),
        ("stages.{0}.blocks.{0}.conv{1}.", "layer{1}.{0}.conv{1}."),
        ("stages.{0}.blocks.{0}.norm{1}.", "layer{1}.{0}.bn{1}."),
        (
            "stages.{0}.blocks.{0}.downsample.conv.",
            "layer{1}.{0}.downsample.0.",
        ),
        (
            "stages.{0}.blocks.{0}.downsample.norm.",
            "layer{1}.{0}.downsample.1.",
        ),
        ("norm.", "bn."),
        ("head.fc.", "fc."),
    ],
};

/// transformers' `ResNetForImageClassification`.
const TRANSFORMERS: Dialect = Dialect {
    marker: "resnet.e",
    rules: &[
        ("resnet.embedder.embedder.convolution.", "conv1."),
        ("resnet.embedder.embedder.normalization.", "bn1."),
        (
            "resnet.encoder.stages.{0}.layers.{0}.layer.{0}.convolution.",
            "layer{1}.{0}.conv{1}.",
        ),
        (
            "resnet.encoder.stages.{0}.layers.{0}.layer.{0}.normalization.",
            "layer{1}.{0}.bn{1}.",
        ),
        (
            "resnet.encoder.stages.{0}.layers.{0}.shortcut.convolution.",
            "layer{1}.{0}.downsample.0.",
        ),
        (
            "resnet.encoder.stages.{0}.layers.{0}.shortcut.normalization.",
            "layer{1}.{0}.downsample.1.",
        ),
        ("classifier.1.", "fc."),
    ],
};

/// Classifiers beside a backbone, or in a sequence with a dropout. Two layers map
/// to one name, which is an error.
const HEAD: Dialect = Dialect {
    marker: "head.",
    rules: &[("head.fc.", "fc."), ("head.{0}.", "fc."), ("head.", "fc.")],
};
const CLASSIFIER: Dialect = Dialect {
    marker: "classifier.",
    rules: &[("classifier.{0}.", "fc."), ("classifier.", "fc.")],
};
const SEQUENCE: Dialect = Dialect {
    marker: "fc.{0}.",
    rules: &[("fc.{0}.", "fc.")],
};

/// The classifier of networks that PyTorch has quantized: the weights and the bias
/// are items of one tuple, before PyTorch 1.5 tensors.
const PACKED: Dialect = Dialect {
    marker: "fc._packed_params.",
    rules: &[
        ("fc._packed_params._packed_params.0", "fc.weight"),
        ("fc._packed_params._packed_params.1", "fc.bias"),
        ("fc._packed_params.", "fc."),
    ],
};

/// The first one with a rule for a name applies.
const DIALECTS: [Dialect; 11] = [
    POOLED,
    CONV_SHORTCUT,
    SHORTCUT,
    SENET,
    LINEAR,
    TIMM_V2,
    TRANSFORMERS,
    HEAD,
    CLASSIFIER,
    SEQUENCE,
    PACKED,
];

/// Prefixes that training frameworks add to every name, and the length beyond
/// which no further prefix is removed.
const PREFIXES: [&str; 10] = [
    "module.",
    "model.",
    "state_dict.",
    "_orig_mod.",
    "timm_model.",
    "net.",
    "network.",
    "backbone.",
    "resnet.conv1.",
    "resnet.layer1.",
];
const MAX_PREFIX_BYTES: usize = 64;

/// How the names of the network's own modules begin. A file may have tensors of one
/// of them only.
const LAYERS: [&str; 13] = [
    "conv",
    "bn",
    "layer",
    "fc",
    "maxpool",
    "norm",
    "stem",
    "stages",
    "head",
    "classifier",
    "linear",
    "last_linear",
    "resnet.",
];

/// Modules beside the network that training scripts save with it.
const OF_TRAINING: [&str; 4] = ["criterion.", "loss.", "loss_fn.", "loss_function."];

/// The first part of all names, with its dot, if it is no layer: the attribute of a
/// module that wraps the network.
fn common<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let part = |name: &'a str| name.split_inclusive('.').next();
    let Some(first) = names.next().and_then(part) else {
        return String::new();
    };
    let is_layer = LAYERS.iter().any(|layer| first.starts_with(layer)) || !first.ends_with('.');
    if is_layer || names.any(|name| part(name) != Some(first)) {
        return String::new();
    }
    first.to_owned()
}

/// The naming of the tensors in one file.
#[derive(Clone, Default)]
pub(crate) struct Naming {
    prefix: String,
    rules: Vec<Rule>,
    pooled_shortcut: Option<bool>,
}

impl Naming {
    /// Detects the naming of a file from the names of all its tensors.
    pub(crate) fn detect<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mut prefix = common(names.clone());
        while let Some(next) = PREFIXES.iter().find(|next| {
            let wrapped = |name: &str| {
                name.strip_prefix(&prefix)
                    .is_some_and(|name| name.starts_with(**next))
            };
            prefix.len() < MAX_PREFIX_BYTES && names.clone().any(wrapped)
        }) {
            // of the last two, only the first part is a prefix
            prefix += next.split_inclusive('.').next().unwrap_or(next);
        }
        let has = |marker| {
            let bare = |name: &'a str| name.strip_prefix(&prefix).unwrap_or(name);
            names
                .clone()
                .any(|name| match_prefix(bare(name), marker).is_some())
        };
        let rules = DIALECTS
            .iter()
            .filter(|dialect| has(dialect.marker))
            .flat_map(|dialect| dialect.rules);
        let rules = rules.copied().collect();
        let pooled_shortcut = if has(POOLED.marker) {
            Some(true)
        } else if has("layer{1}.{0}.downsample.0.") || has(TRANSFORMERS.marker) {
            Some(false)
        } else {
            None
        };
        Self {
            prefix,
            rules,
            pooled_shortcut,
        }
    }

    /// Whether projection shortcuts begin with pooling; `None` where the names do
    /// not show it.
    pub(crate) fn pooled_shortcut(&self) -> Option<bool> {
        self.pooled_shortcut
    }

    /// Whether the tensor called `name` belongs to the loss, which is beside the
    /// network.
    pub(crate) fn is_of_training(&self, name: &str) -> bool {
        !self.prefix.is_empty() && OF_TRAINING.iter().any(|part| name.starts_with(part))
    }

    /// The canonical name of the tensor called `name` in the file.
    pub(crate) fn canonical(&self, name: &str) -> String {
        let name = name.strip_prefix(&self.prefix).unwrap_or(name);
        let mut renamed = self
            .rules
            .iter()
            .filter_map(|(from, to)| translate(name, from, to));
        renamed.next().unwrap_or_else(|| name.to_owned())
    }

    /// The name in the file of the tensor `canonical`, whether it exists or not.
    pub(crate) fn in_file(&self, canonical: &str) -> String {
        let mut renamed = self
            .rules
            .iter()
            .filter_map(|(to, from)| translate(canonical, from, to));
        let name = renamed.next().unwrap_or_else(|| canonical.to_owned());
        format!("{}{name}", self.prefix)
    }
}
