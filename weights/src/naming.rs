//! Maps the names of tensors between the naming of each library and the
//! canonical naming, which is torchvision's. All other namings are defined here.
//!
//! A rule pairs a prefix of a name in the file with a prefix of the canonical
//! name. `{n}` matches a number that is counted from n: `stages.{0}.` and
//! `layer{1}.` both mean the first stage. The first matching rule applies, in
//! either direction; a name without a matching rule does not change.

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

const DIALECTS: [Dialect; 5] = [POOLED, CONV_SHORTCUT, LINEAR, TIMM_V2, TRANSFORMERS];

/// Prefixes that training frameworks add to every name, and the length beyond
/// which no further prefix is removed.
const PREFIXES: [&str; 3] = ["module.", "model.", "state_dict."];
const MAX_PREFIX_BYTES: usize = 64;

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
        let mut prefix = String::new();
        while let Some(next) = PREFIXES.iter().find(|next| {
            let wrapped = |name: &str| {
                name.strip_prefix(&prefix)
                    .is_some_and(|name| name.starts_with(**next))
            };
            prefix.len() < MAX_PREFIX_BYTES && names.clone().any(wrapped)
        }) {
            prefix += next;
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

/// Replaces the prefix `from` of a name by `to`. A `from` that does not end in a
/// dot must match the whole name.
fn translate(name: &str, from: &str, to: &str) -> Option<String> {
    let (numbers, rest) = match_prefix(name, from)?;
    if !rest.is_empty() && !from.ends_with('.') {
        return None;
    }
    let mut numbers = numbers.into_iter();
    let mut renamed = String::new();
    for (literal, base) in pieces(to) {
        renamed += literal;
        if let Some(base) = base {
            renamed += &numbers.next()?.checked_add(base)?.to_string();
        }
    }
    Some(renamed + rest)
}

/// Matches the beginning of `name` with `pattern`: the numbers, counted from
/// zero, and the rest of the name.
fn match_prefix<'a>(name: &'a str, pattern: &str) -> Option<(Vec<u32>, &'a str)> {
    let mut rest = name;
    let mut numbers = Vec::new();
    for (literal, base) in pieces(pattern) {
        rest = rest.strip_prefix(literal)?;
        if let Some(base) = base {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            // `01` would be written back as `1`.
            if number.len() > 1 && number.starts_with('0') {
                return None;
            }
            numbers.push(number.parse::<u32>().ok()?.checked_sub(base)?);
            rest = after;
        }
    }
    Some((numbers, rest))
}

/// The literals of a pattern, each with the base of the number that follows.
fn pieces(pattern: &str) -> impl Iterator<Item = (&str, Option<u32>)> {
    pattern.split('}').map(|piece| match piece.split_once('{') {
        Some((literal, base)) => (literal, base.parse().ok()),
        None => (piece, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(names: &[&str]) -> Naming {
        Naming::detect(names.iter().copied())
    }

    /// Detects the naming, and asserts that each name maps to its canonical name
    /// and back.
    fn assert_maps(pairs: &[(&str, &str)]) {
        let naming = Naming::detect(pairs.iter().map(|(name, _)| *name));
        for (name, canonical) in pairs {
            assert_eq!(naming.canonical(name), *canonical);
            assert_eq!(naming.in_file(canonical), *name);
        }
    }

    #[test]
    fn torchvision_names_are_canonical() {
        assert_maps(&[
            ("conv1.weight", "conv1.weight"),
            ("layer4.2.bn3.running_var", "layer4.2.bn3.running_var"),
            (
                "layer1.0.downsample.0.weight",
                "layer1.0.downsample.0.weight",
            ),
            (
                "layer1.0.downsample.1.running_mean",
                "layer1.0.downsample.1.running_mean",
            ),
            ("fc.bias", "fc.bias"),
        ]);
    }

    #[test]
    fn the_convolution_of_a_pooled_shortcut_has_another_index() {
        let pairs = [
            ("conv1.6.weight", "conv1.6.weight"),
            (
                "layer2.0.downsample.1.weight",
                "layer2.0.downsample.0.weight",
            ),
            ("layer2.0.downsample.2.bias", "layer2.0.downsample.1.bias"),
        ];
        assert_maps(&pairs);
        assert_eq!(naming(&[pairs[2].0]).pooled_shortcut(), Some(true));
        assert_eq!(
            naming(&["layer2.0.downsample.0.weight"]).pooled_shortcut(),
            Some(false)
        );
        assert_eq!(naming(&["layer2.0.conv1.weight"]).pooled_shortcut(), None);
    }

    #[test]
    fn names_of_transformers_count_from_zero() {
        let stage = "resnet.encoder.stages.3.layers.0";
        assert_maps(&[
            (
                "resnet.embedder.embedder.convolution.weight",
                "conv1.weight",
            ),
            ("resnet.embedder.embedder.normalization.bias", "bn1.bias"),
            (
                &format!("{stage}.layer.0.convolution.weight"),
                "layer4.0.conv1.weight",
            ),
            (
                &format!("{stage}.layer.2.normalization.bias"),
                "layer4.0.bn3.bias",
            ),
            (
                &format!("{stage}.shortcut.convolution.weight"),
                "layer4.0.downsample.0.weight",
            ),
            (
                &format!("{stage}.shortcut.normalization.weight"),
                "layer4.0.downsample.1.weight",
            ),
            ("classifier.1.weight", "fc.weight"),
        ]);
    }

    #[test]
    fn names_of_timm_v2_with_a_plain_and_a_deep_stem() {
        assert_maps(&[
            ("stem.conv.weight", "conv1.weight"),
            ("stages.0.blocks.10.norm1.weight", "layer1.10.bn1.weight"),
            ("stages.3.blocks.0.conv3.weight", "layer4.0.conv3.weight"),
            (
                "stages.3.blocks.0.downsample.conv.weight",
                "layer4.0.downsample.0.weight",
            ),
            ("norm.bias", "bn.bias"),
            ("head.fc.weight", "fc.weight"),
        ]);
        assert_maps(&[
            ("stem.conv1.weight", "conv1.0.weight"),
            ("stem.norm1.weight", "conv1.1.weight"),
            ("stem.conv2.weight", "conv1.3.weight"),
            ("stem.norm2.running_mean", "conv1.4.running_mean"),
            ("stem.conv3.weight", "conv1.6.weight"),
            ("stages.0.blocks.0.conv1.weight", "layer1.0.conv1.weight"),
        ]);
    }

    #[test]
    fn prefixes_and_the_cifar_classifier_are_mapped() {
        assert_maps(&[
            ("module.conv1.weight", "conv1.weight"),
            ("module.linear.weight", "fc.weight"),
        ]);
        assert_maps(&[(
            "state_dict.model.layer1.0.downsample.weight",
            "layer1.0.downsample.0.weight",
        )]);
    }

    #[test]
    fn a_missing_tensor_has_a_name_in_the_naming_of_the_file() {
        let naming = naming(&["model.resnet.embedder.embedder.convolution.weight"]);
        assert_eq!(
            naming.in_file("layer2.1.bn2.weight"),
            "model.resnet.encoder.stages.1.layers.1.layer.1.normalization.weight"
        );
    }

    #[test]
    fn names_with_invalid_numbers_do_not_change() {
        for name in [
            "stages.01.blocks.0.conv1.weight",
            "stages.4294967295.blocks.0.conv1.weight",
            "stages.99999999999.blocks.0.conv1.weight",
            "stages.0.blocks.0.conv0.weight",
            "stages..blocks.0.conv1.weight",
        ] {
            assert_eq!(
                naming(&["stages.0.blocks.0.conv1.weight", name]).canonical(name),
                name
            );
        }
    }

    #[test]
    fn a_name_of_prefixes_only_terminates() {
        let name = "model.".repeat(10_000);
        assert!(naming(&[&name]).prefix.len() <= MAX_PREFIX_BYTES + 11);
    }
}
