//! A folder as libraries publish it: the weights in one of the usual files,
//! and beside them what is known about them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{self, Document};
use crate::error::{Error, Result};
use crate::facts::Facts;

/// What describes the weights, in every library that is read.
pub(crate) const CONFIG: &str = "config.json";
/// How transformers describes the preprocessing.
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";

/// Where libraries put the weights, the best first.
const USUAL: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Bytes of a configuration; one with 21 000 labels has less than a fifth.
const LONGEST_CONFIG: u64 = 8 << 20;

/// The file with the weights among the names of a folder's files: one of the
/// usual, else the only one of its kind.
pub(crate) fn weights_among<'a>(names: &[&'a str]) -> std::result::Result<&'a str, String> {
    if let Some(usual) = USUAL
        .iter()
        .find_map(|usual| names.iter().find(|name| *name == usual))
    {
        return Ok(usual);
    }
    for endings in [&["safetensors"][..], &["pth", "pt", "bin"]] {
        let has_ending = |name: &str| {
            let ending = name.rsplit_once('.').map(|(_, ending)| ending);
            ending.is_some_and(|ending| endings.contains(&ending)) && !name.contains('/')
        };
        let found: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| has_ending(name))
            .collect();
        match found[..] {
            [] => {}
            [one] => return Ok(one),
            _ => {
                return Err(format!(
                    "it holds several weights: {}; name one of them",
                    found.join(", ")
                ));
            }
        }
    }
    Err("it holds no weights (*.safetensors, *.pth, *.pt or *.bin)".into())
}

/// The file with the weights in `folder`.
pub(crate) fn weights_in(folder: &Path) -> Result<PathBuf> {
    let read = |source| Error::Read {
        path: folder.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        names.push(
            entry
                .map_err(read)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort_unstable();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let name = weights_among(&names)
        .map_err(|fault| Error::malformed(&folder.display().to_string(), fault))?;
    Ok(folder.join(name))
}

/// What the configurations in `folder` say.
pub(crate) fn facts(folder: &Path) -> Result<Facts> {
    let Some(config) = document(&folder.join(CONFIG))? else {
        return Ok(Facts::default());
    };
    let preprocessor = document(&folder.join(PREPROCESSOR))?;
    config::facts(&config, preprocessor.as_ref())
}

/// A configuration, if it is there.
fn document(path: &Path) -> Result<Option<Document>> {
    let read = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let length = match path.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(read(std::io::Error::other("not a regular file"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(read(e)),
    };
    let origin = path.display().to_string();
    if length > LONGEST_CONFIG {
        return Err(Error::malformed(
            &origin,
            format!("a configuration of {length} bytes"),
        ));
    }
    Document::parse(&origin, &fs::read(path).map_err(read)?).map(Some)
}
