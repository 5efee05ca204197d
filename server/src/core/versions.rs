//! Versions of a model on disk: the subfolders of its folder whose names are
//! integers.

use std::io;
use std::path::Path;

/// The versions in the folder of a model, in ascending order.
///
/// # Errors
/// When the folder cannot be listed.
pub fn versions_in(folder: &Path) -> io::Result<Vec<u64>> {
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        match name.to_str().and_then(version) {
            Some(version) if entry.path().is_dir() => versions.push(version),
            _ => {}
        }
    }
    versions.sort_unstable();
    Ok(versions)
}

/// The version that is the name of a folder: an integer without leading zeros.
fn version(name: &str) -> Option<u64> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = name == "0" || !name.starts_with('0');
    (digits && canonical).then(|| name.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_versions() {
        assert_eq!(version("1"), Some(1));
        assert_eq!(version("20261125"), Some(20_261_125));
        for name in [
            "01",
            "1.0",
            "v1",
            "-1",
            "+1",
            "",
            "99999999999999999999",
            "latest",
        ] {
            assert_eq!(version(name), None, "{name}");
        }
    }
}
