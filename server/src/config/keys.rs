//! The file of API keys, in TOML: a `[[key]]` table for each key, with the key's
//! hash instead of the key.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::core::keys::{Digest, Key, KeyLimits, Scope};
use crate::core::round_robin::Class;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// It is not TOML, or it has an unknown field.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: toml::de::Error,
    },
    /// It has no key: the server would be open to everybody.
    #[error("{}: it has no [[key]] table; `resnet key NAME` prints one", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One key cannot be used.
    #[error("{}: key `{name}`: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The name of the key.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    key: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    sha256: String,
    scopes: Option<Vec<String>>,
    requests_per_second: Option<NonZeroU32>,
    max_in_flight: Option<usize>,
    priority: Option<String>,
}

/// Reads the file.
///
/// # Errors
/// See [`KeysError`].
pub fn read(path: &Path) -> Result<Vec<Key>, KeysError> {
    let text = std::fs::read_to_string(path).map_err(|source| KeysError::Read {
        path: path.to_owned(),
        source,
    })?;
    let document: Document = toml::from_str(&text).map_err(|source| KeysError::Parse {
        path: path.to_owned(),
        source,
    })?;
    if document.key.is_empty() {
        return Err(KeysError::Empty {
            path: path.to_owned(),
        });
    }
    let mut names: Vec<String> = Vec::new();
    let mut digests: Vec<String> = Vec::new();
    let key = |table: Table| {
        let name = table.name.clone();
        let digest = table.sha256.to_ascii_lowercase();
        let failed = |reason| KeysError::Key {
            path: path.to_owned(),
            name: name.clone(),
            reason,
        };
        if names.contains(&name) {
            return Err(failed("another key has this name".into()));
        }
        if digests.contains(&digest) {
            return Err(failed("another name has the same key (sha256)".into()));
        }
        names.push(name.clone());
        digests.push(digest);
        table.read().map_err(failed)
    };
    document.key.into_iter().map(key).collect()
}

impl Table {
    fn read(self) -> Result<Key, String> {
        check_name(&self.name)?;
        let digest = digest(&self.sha256)?;
        let scopes = match self.scopes {
            None => vec![Scope::Infer],
            Some(names) => names
                .iter()
                .map(|name| scope(name))
                .collect::<Result<_, _>>()?,
        };
        let class = match self.priority.as_deref() {
            None | Some("normal") => Class::Normal,
            Some("low") => Class::Low,
            Some(other) => return Err(format!("priority is `{other}`; use normal or low")),
        };
        if self.max_in_flight == Some(0) {
            return Err("max_in_flight is 0; use 1 or more".into());
        }
        let limits = KeyLimits {
            requests_per_second: self.requests_per_second,
            max_in_flight: self.max_in_flight,
        };
        Ok(Key::new(self.name, digest, scopes, limits, class))
    }
}

/// Checks the name of a key.
///
/// # Errors
/// What a name is.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        return Err("a name has 1 to 64 letters, digits, `-`, `_` or `.`".into());
    }
    Ok(())
}

/// The scope with this name.
///
/// # Errors
/// There is none.
pub(crate) fn scope(name: &str) -> Result<Scope, String> {
    let found = Scope::ALL.into_iter().find(|(known, _)| *known == name);
    let found = found.map(|(_, scope)| scope);
    found.ok_or_else(|| format!("there is no scope `{name}`; use infer, admin or metrics"))
}

/// 64 hexadecimal digits.
fn digest(text: &str) -> Result<Digest, String> {
    let wrong = || "sha256 must be the 64 hexadecimal digits of the key's SHA-256".to_owned();
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = Digest::default();
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::keys::Keys;

    const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn read_text(text: &str) -> Result<Vec<Key>, KeysError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        let text = format!(
            "[[key]]\nname = \"shop\"\nsha256 = \"{DIGEST}\"\nscopes = [\"infer\", \"metrics\"]\n\
             requests_per_second = 5\nmax_in_flight = 2\npriority = \"low\"\n"
        );
        let keys = Keys::default();
        keys.replace(read_text(&text).unwrap());
        let caller = keys.find(b"secret").unwrap();
        assert!(caller.may(Scope::Metrics) && !caller.may(Scope::Admin));
        assert_eq!((caller.name(), caller.class()), ("shop", Class::Low));
        assert!(caller.images(3).is_err());
    }

    #[test]
    fn wrong_files_are_refused_with_the_key_at_fault() {
        let key = |rest: &str| format!("[[key]]\nname = \"shop\"\n{rest}\n");
        let good = format!("sha256 = \"{DIGEST}\"");
        for (text, reason) in [
            (String::new(), "no [[key]]"),
            (key("sha256 = \"abc\""), "64 hexadecimal"),
            (key(&format!("{good}\nscopes = [\"root\"]")), "`root`"),
            (key(&format!("{good}\npriority = \"high\"")), "`high`"),
            (key(&format!("{good}\nmax_in_flight = 0")), "1 or more"),
            (key(&format!("{good}\nkey = \"secret\"")), "unknown field"),
            (key(&good).repeat(2), "another key"),
            (key(&good).replace("shop", "a b"), "letters"),
            (key(&good) + &key(&good).replace("shop", "b"), "same key"),
        ] {
            let error = read_text(&text).err().unwrap().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
