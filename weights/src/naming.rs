//! What each library calls a tensor, mapped to torchvision's name for it and
//! back. This is the only place that knows other names.
//!
//! A rule pairs the beginning of a name in a file with the beginning of the
//! canonical one. `{n}` stands for a number that this naming counts from n:
//! `stages.{0}.` and `layer{1}.` both mean the first stage. Rules are tried
//! in order, in both directions; a name that none matches stays as it is.

/// The beginning of a name in the file, and of the canonical name.
type Rule = (&'static str, &'static str);

/// Names that go together, recognised by one of them.
struct Dialect {
    /// Beginning of a name that only this dialect has.
    sign: &'static str,
    rules: &'static [Rule],
}

/// Shortcuts that pool before they project (ResNet-D): the pooling takes
/// index 0, which has no tensors.
const POOLED: Dialect = Dialect {
    sign: "layer{1}.{0}.downsample.2.",
    rules: &[
        ("layer{1}.{0}.downsample.1.", "layer{1}.{0}.downsample.0."),
        ("layer{1}.{0}.downsample.2.", "layer{1}.{0}.downsample.1."),
    ],
};

/// A shortcut that is a lone convolution, as pre-activation networks have it.
const LONE_SHORTCUT: Dialect = Dialect {
    sign: "layer{1}.{0}.downsample.weight",
    rules: &[(
        "layer{1}.{0}.downsample.weight",
        "layer{1}.{0}.downsample.0.weight",
    )],
};

/// The published CIFAR networks' last layer.
const LINEAR: Dialect = Dialect {
    sign: "linear.",
    rules: &[("linear.", "fc.")],
};

/// timm's `resnetv2_*`. Its deep stem is told from the plain one by the
/// digit, so the longer names come first.
const TIMM_V2: Dialect = Dialect {
    sign: "stages.{0}.blocks.{0}.",
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
    sign: "resnet.e",
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

const DIALECTS: [Dialect; 5] = [POOLED, LONE_SHORTCUT, LINEAR, TIMM_V2, TRANSFORMERS];

/// What training frameworks put before every name, and how many bytes of it
/// are believed.
const PREFIXES: [&str; 3] = ["module.", "model.", "state_dict."];
const LONGEST_PREFIX: usize = 64;

/// How one file names its tensors.
#[derive(Clone, Default)]
pub(crate) struct Naming {
    prefix: String,
    rules: Vec<Rule>,
    pooled_shortcut: Option<bool>,
}

impl Naming {
    /// Recognises the naming of a file from all its names.
    pub(crate) fn detect<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mut prefix = String::new();
        while let Some(next) = PREFIXES.iter().find(|next| {
            let wrapped = |name: &str| {
                name.strip_prefix(&prefix)
                    .is_some_and(|name| name.starts_with(**next))
            };
            prefix.len() < LONGEST_PREFIX && names.clone().any(wrapped)
        }) {
            prefix += next;
        }
        let has = |sign| {
            let bare = |name: &'a str| name.strip_prefix(&prefix).unwrap_or(name);
            names.clone().any(|name| begins(bare(name), sign).is_some())
        };
        let rules = DIALECTS
            .iter()
            .filter(|dialect| has(dialect.sign))
            .flat_map(|dialect| dialect.rules);
        let rules = rules.copied().collect();
        let pooled_shortcut = if has(POOLED.sign) {
            Some(true)
        } else if has("layer{1}.{0}.downsample.0.") || has(TRANSFORMERS.sign) {
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

    /// Whether the shortcuts pool before they project, where names tell.
    pub(crate) fn pooled_shortcut(&self) -> Option<bool> {
        self.pooled_shortcut
    }

    /// The canonical name of the file's tensor `own`.
    pub(crate) fn canonical(&self, own: &str) -> String {
        let name = own.strip_prefix(&self.prefix).unwrap_or(own);
        let mut renamed = self
            .rules
            .iter()
            .filter_map(|(from, to)| translate(name, from, to));
        renamed.next().unwrap_or_else(|| name.to_owned())
    }

    /// What the file calls the tensor `canonical`, or would call it.
    pub(crate) fn own(&self, canonical: &str) -> String {
        let mut renamed = self
            .rules
            .iter()
            .filter_map(|(to, from)| translate(canonical, from, to));
        let name = renamed.next().unwrap_or_else(|| canonical.to_owned());
        format!("{}{name}", self.prefix)
    }
}

/// Rewrites a name that begins like `from` (or is `from`, unless that ends in
/// a dot) to begin like `to`.
fn translate(name: &str, from: &str, to: &str) -> Option<String> {
    let (numbers, rest) = begins(name, from)?;
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

/// Whether `name` begins like `pattern`: its numbers, counted from zero, and
/// what follows.
fn begins<'a>(name: &'a str, pattern: &str) -> Option<(Vec<u32>, &'a str)> {
    let mut rest = name;
    let mut numbers = Vec::new();
    for (literal, base) in pieces(pattern) {
        rest = rest.strip_prefix(literal)?;
        if let Some(base) = base {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            // `01` would not come back as it was.
            if number.len() > 1 && number.starts_with('0') {
                return None;
            }
            numbers.push(number.parse::<u32>().ok()?.checked_sub(base)?);
            rest = after;
        }
    }
    Some((numbers, rest))
}

/// A pattern as literals, each with the base of the number after it.
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

    /// Detects from `names` and asserts that each maps to its partner, and back.
    fn assert_maps(pairs: &[(&str, &str)]) {
        let naming = Naming::detect(pairs.iter().map(|(own, _)| *own));
        for (own, canonical) in pairs {
            assert_eq!(naming.canonical(own), *canonical);
            assert_eq!(naming.own(canonical), *own);
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
    fn a_pooling_shortcut_shifts_its_projection() {
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
    fn transformers_counts_from_zero() {
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
    fn timm_v2_has_a_plain_and_a_deep_stem() {
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
    fn wrappers_and_the_cifar_head_are_seen_through() {
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
    fn a_missing_tensor_is_named_as_the_file_would() {
        let naming = naming(&["model.resnet.embedder.embedder.convolution.weight"]);
        assert_eq!(
            naming.own("layer2.1.bn2.weight"),
            "model.resnet.encoder.stages.1.layers.1.layer.1.normalization.weight"
        );
    }

    #[test]
    fn odd_numbers_are_left_alone() {
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
    fn a_name_of_prefixes_only_ends() {
        let name = "model.".repeat(10_000);
        assert!(naming(&[&name]).prefix.len() <= LONGEST_PREFIX + 11);
    }
}
