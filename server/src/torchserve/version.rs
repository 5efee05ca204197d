//! The version of a model as clients write it.

use crate::core::error::Error;

/// The number of a version, which is written `2` or `2.0`.
///
/// # Errors
/// [`Error::UnknownVersion`] for any other text.
pub fn number(model: &str, text: &str) -> Result<u64, Error> {
    let digits = text.strip_suffix(".0").unwrap_or(text);
    digits.parse().map_err(|_| Error::UnknownVersion {
        name: model.to_owned(),
        version: text.to_owned(),
        available: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_whole_numbers_with_or_without_a_zero() {
        for (text, expected) in [("2", Some(2)), ("2.0", Some(2)), ("2.1", None), ("", None)] {
            assert_eq!(number("cat", text).ok(), expected, "{text}");
        }
    }
}
