//! Where the checkpoints of a model are, and the name that follows from it.

use std::path::Path;

use model::family;
use weights::{Error, Source};

use crate::config::name::is_name_character;
use crate::core::spec::ModelSource;
use crate::core::versions::versions_in;

/// The name of a model that was given without one: the built-in model's name,
/// a file's name without its extension, a folder's name, or the last part of a
/// repository's id or of an address. Characters that a name cannot contain become `-`.
///
/// # Errors
/// A source without any character that a name can contain.
pub fn derive_name(source: &str) -> Result<String, String> {
    let path = Path::new(source);
    let name = if path.is_dir() {
        let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        file_name(&absolute)
    } else if path.exists() {
        let name = file_name(path);
        let stem = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(stem, _)| stem);
        // `model.safetensors.index.json` is the index of several files
        let stem = stem.strip_suffix(".index").map_or(stem, |index| {
            index.rsplit_once('.').map_or(index, |(stem, _)| stem)
        });
        stem.to_owned()
    } else {
        match Source::parse(source) {
            Ok(Source::Pinned(..)) => return derive_name(unpinned(source)),
            Ok(found @ Source::Store(_)) => found.name(),
            _ => {
                let id = source.split_once('@').map_or(source, |(id, _)| id);
                id.rsplit('/').next().unwrap_or(id).to_owned()
            }
        }
    };
    let name: String = name
        .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
        .chars()
        .map(|c| if is_name_character(c) { c } else { '-' })
        .collect();
    match name.as_str() {
        "" => Err(format!(
            "no name can be derived from `{source}`; name the model: NAME={source}"
        )),
        _ => Ok(name),
    }
}

/// A source without the digest that it is pinned to.
fn unpinned(source: &str) -> &str {
    source.rsplit_once('@').map_or(source, |(source, _)| source)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Where a source's checkpoints are. A folder with subfolders whose names are
/// integers holds versions.
///
/// # Errors
/// When the source is not a file, a folder, a repository or the built-in model.
pub fn model_source(text: &str) -> Result<ModelSource, String> {
    match Source::parse(text) {
        Ok(Source::Folder(path)) if versions_in(&path).is_ok_and(|found| !found.is_empty()) => {
            Ok(ModelSource::Versioned(path))
        }
        Ok(_) => Ok(ModelSource::Checkpoint(text.to_owned())),
        Err(_) if family::find(text).is_some() => Err(format!(
            "`{text}` is an architecture without trained weights; give a checkpoint file, a \
             folder or a Hugging Face repository (org/name)"
        )),
        Err(Error::Unknown { .. }) => Err(unknown_source()),
        Err(error) => Err(error.to_string()),
    }
}

/// Why a text is not a source.
pub(super) fn unknown_source() -> String {
    format!(
        "must be a checkpoint file, a folder, a Hugging Face repository (org/name or \
         org/name@revision), an address (s3://, gs://, az://, https://) or {}, the built-in model; \
         no such file or folder exists",
        weights::DEFAULT_NAME
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_derived_from_sources() {
        let folder = std::env::temp_dir().join(format!("resnet-names-{}", std::process::id()));
        let pets = folder.join("my pets");
        std::fs::create_dir_all(&pets).unwrap();
        for file in [
            "cats.v2.safetensors",
            "model.safetensors.index.json",
            "_-.pth",
        ] {
            std::fs::write(pets.join(file), b"").unwrap();
        }
        let of = |path: &Path| derive_name(path.to_str().unwrap());
        let found = [
            of(&pets),
            of(&pets.join(".")),
            of(&pets.join("cats.v2.safetensors")),
            of(&pets.join("model.safetensors.index.json")),
        ];
        let unnamed = of(&pets.join("_-.pth"));
        std::fs::remove_dir_all(&folder).unwrap();
        let expected = ["my-pets", "my-pets", "cats.v2", "model"];
        assert_eq!(found, expected.map(|name| Ok(name.to_owned())));
        assert!(unnamed.unwrap_err().contains("NAME="));
        for (source, name) in [
            (weights::DEFAULT_NAME, weights::DEFAULT_NAME),
            ("timm/resnet50.a1_in1k", "resnet50.a1_in1k"),
            ("timm/resnet50.a1_in1k@main", "resnet50.a1_in1k"),
            ("microsoft/resnet-50@refs/pr/4", "resnet-50"),
            ("s3://bucket/models/my pets/", "my-pets"),
            ("https://host/a/cats.v2.safetensors", "cats.v2"),
        ] {
            assert_eq!(derive_name(source).as_deref(), Ok(name));
            let pinned = format!("{source}@sha256:{}", "0a".repeat(32));
            assert_eq!(derive_name(&pinned).as_deref(), Ok(name));
        }
    }

    #[test]
    fn sources_are_checked() {
        assert_eq!(
            model_source("timm/resnet50.a1_in1k"),
            Ok(ModelSource::Checkpoint("timm/resnet50.a1_in1k".into()))
        );
        assert!(
            model_source("resnet18")
                .unwrap_err()
                .contains("without trained weights")
        );
        for (source, reason) in [
            ("s3://bucket/a?b", "query"),
            ("timm/resnet50@sha256:1", "64 hexadecimal"),
        ] {
            assert!(
                model_source(source).unwrap_err().contains(reason),
                "{source}"
            );
        }
        assert!(
            model_source("/no/such/file")
                .unwrap_err()
                .contains("no such file")
        );
    }
}
