//! Model folders as timm and transformers publish them: a file of weights and
//! JSON configuration files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config;
use crate::config::document::Document;
use crate::error::{Error, Result};
use crate::origin::Configuration;

/// Describes the network, in timm and transformers.
pub(crate) const CONFIG: &str = "config.json";
/// Describes the preprocessing, in transformers.
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";

/// The usual names of the weights, in order of preference.
const USUAL: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// The endings of files with tensors, in order of preference.
const ENDINGS: [&[&str]; 2] = [&["safetensors"], &["pth", "pt", "bin"]];

/// Largest configuration file in bytes; one with 21 000 labels has less than a
/// fifth of it.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Selects the weights among the file names of a folder: one with a usual name,
/// otherwise the only safetensors file, otherwise the only PyTorch file.
pub(crate) fn weights_among<'a>(names: &[&'a str]) -> std::result::Result<&'a str, String> {
    if let Some(usual) = USUAL
        .iter()
        .find_map(|usual| names.iter().find(|name| *name == usual))
    {
        return Ok(usual);
    }
    for endings in ENDINGS {
        let has_ending = |name: &str| !name.contains('/') && ends_with(name, endings);
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
                    "it contains several checkpoints: {}; pass the path of one of them",
                    found.join(", ")
                ));
            }
        }
    }
    Err("it contains no weights (*.safetensors, *.pth, *.pt or *.bin)".into())
}

fn ends_with(name: &str, endings: &[&str]) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| endings.contains(&ending))
}

/// Whether a file is one of weights, by its name: it has tensors, or is an index.
pub(crate) fn is_weights(name: &str) -> bool {
    ENDINGS.iter().any(|endings| ends_with(name, endings)) || name.ends_with(".index.json")
}

/// The path of the weights in `folder`.
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
        .map_err(|reason| Error::malformed(&folder.display().to_string(), reason))?;
    Ok(folder.join(name))
}

/// The metadata in the configuration files of `folder`.
pub(crate) fn configuration(folder: &Path) -> Result<Configuration> {
    let Some(config) = document(&folder.join(CONFIG))? else {
        return Ok(Configuration::default());
    };
    let preprocessor = document(&folder.join(PREPROCESSOR))?;
    config::metadata(&config, preprocessor.as_ref())
}

/// The configuration files that exist in `folder`.
pub(crate) fn configuration_files(folder: &Path) -> Vec<PathBuf> {
    let files = [CONFIG, PREPROCESSOR].map(|name| folder.join(name));
    files.into_iter().filter(|file| file.exists()).collect()
}

/// Parses a configuration file, if it exists.
pub(crate) fn document(path: &Path) -> Result<Option<Document>> {
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
    if length > MAX_CONFIG_BYTES {
        return Err(Error::malformed(
            &origin,
            format!(
                "it has {length} bytes; at most {MAX_CONFIG_BYTES} are supported in a configuration file"
            ),
        ));
    }
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(read)?;
    file.take(MAX_CONFIG_BYTES)
        .read_to_end(&mut text)
        .map_err(read)?;
    Document::parse(&origin, &text).map(Some)
}
