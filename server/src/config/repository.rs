//! The folder of a model repository: `NAME/`, or `NAME/VERSION/` with integer
//! versions, the layout of Triton, TensorFlow Serving and OpenVINO Model Server.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::name::{NAME_RULE, is_name};

/// A folder that `mkfs` creates at the root of a volume.
const LOST_AND_FOUND: &str = "lost+found";

/// The models of a repository, by name.
///
/// Files, hidden folders and the `..data` entries of Kubernetes' volumes are
/// skipped; symbolic links to folders are followed.
///
/// # Errors
/// A folder that cannot be listed, contains no model, or contains a folder
/// whose name cannot be the name of a model.
pub(super) fn models_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let names = subfolders(folder).map_err(|error| format!("cannot be listed: {error}"))?;
    if names.is_empty() {
        return Err(
            "contains no model; put each model into its own folder, such as pets/ or pets/1/"
                .into(),
        );
    }
    let wrong: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !is_name(name))
        .collect();
    if !wrong.is_empty() {
        return Err(format!(
            "the folder {} cannot be the name of a model: {NAME_RULE}; rename it",
            wrong.join(", ")
        ));
    }
    let with_path = |name: String| {
        let path = folder.join(&name);
        (name, path)
    };
    Ok(names.into_iter().map(with_path).collect())
}

/// The names of the folders in a folder, sorted, without hidden ones.
fn subfolders(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != LOST_AND_FOUND && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
