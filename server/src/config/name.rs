//! Names of models, and how `NAME=SOURCE` is split.

/// What a name may look like, for error texts.
pub(super) const NAME_RULE: &str = "a name starts with a letter or digit and contains only \
     letters, digits, `.`, `_` and `-`";

/// Whether a text can be the name of a model: `[A-Za-z0-9][A-Za-z0-9._-]*`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_name_character)
}

pub(super) fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// Splits `NAME=SOURCE`. A text without a valid name before the first `=` is a
/// source only.
pub(super) fn split(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((name, source)) if is_name(name) => (Some(name), source),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_from_its_source() {
        assert_eq!(
            split("pets=./pets.safetensors"),
            (Some("pets"), "./pets.safetensors")
        );
        assert_eq!(
            split("timm/resnet50.a1_in1k"),
            (None, "timm/resnet50.a1_in1k")
        );
        assert_eq!(split("a.b_c-1=x=y"), (Some("a.b_c-1"), "x=y"));
        for source in ["./a=b.pth", "=x", "-a=x", "a b=x"] {
            assert_eq!(split(source), (None, source));
        }
    }
}
