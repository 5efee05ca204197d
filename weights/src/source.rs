//! What `--model` may say: the default's name, a file, a folder, or a
//! repository of the Hugging Face Hub.

use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::default::{DEFAULT_NAME, default_model};
use crate::error::{Error, Result};
use crate::folder;
use crate::hub::{Hub, Progress, Repository};

/// Where a checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In this program.
    Default,
    /// A file of weights, or the index of several.
    File(PathBuf),
    /// A folder with weights and their configuration.
    Folder(PathBuf),
    /// A repository of the Hub, `organisation/name` or
    /// `organisation/name@revision`.
    Hub(Repository),
}

impl Source {
    /// Understands a model's name. What is on disk comes before the Hub.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it is none of the four.
    pub fn parse(text: &str) -> Result<Self> {
        let path = Path::new(text);
        if text == DEFAULT_NAME {
            Ok(Self::Default)
        } else if path.is_dir() {
            Ok(Self::Folder(path.to_owned()))
        } else if path.exists() {
            Ok(Self::File(path.to_owned()))
        } else if let Some(repository) = repository(text) {
            Ok(Self::Hub(repository))
        } else {
            Err(Error::Unknown {
                name: text.to_owned(),
            })
        }
    }

    /// Opens the checkpoint, with what its folder or repository says about
    /// it. `progress` hears of downloads.
    ///
    /// # Errors
    /// When it cannot be had, or not be used.
    pub fn open(&self, hub: &Hub, progress: &mut dyn FnMut(Progress)) -> Result<Checkpoint> {
        match self {
            Self::Default => default_model(),
            Self::File(path) => Checkpoint::open(path),
            Self::Folder(path) => {
                let absolute = path.canonicalize().unwrap_or_else(|_| path.clone());
                let name = absolute
                    .file_name()
                    .map_or_else(|| "model".into(), |name| name.to_string_lossy());
                open_folder(path, &name)
            }
            Self::Hub(repository) => {
                open_folder(&hub.folder(repository, progress)?, &repository.id)
            }
        }
    }
}

fn open_folder(path: &Path, name: &str) -> Result<Checkpoint> {
    let facts = folder::facts(path)?;
    let checkpoint = Checkpoint::open(&folder::weights_in(path)?)?;
    Ok(checkpoint.described(name, facts))
}

/// `organisation/name`, perhaps with `@revision`, of the characters that the
/// Hub allows.
fn repository(text: &str) -> Option<Repository> {
    let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
    let (organisation, name) = id.split_once('/')?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = |part: &str| {
        (1..=96).contains(&part.len())
            && part.chars().all(allowed)
            && !part.starts_with(['.', '-'])
            && !part.contains("..")
    };
    let is_revision = revision.split('/').all(is_name);
    (is_name(organisation) && is_name(name) && is_revision).then(|| Repository {
        id: id.to_owned(),
        revision: revision.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(id: &str, revision: &str) -> Source {
        Source::Hub(Repository {
            id: id.into(),
            revision: revision.into(),
        })
    }

    #[test]
    fn the_four_kinds_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("timm");
        std::fs::write(&file, "").unwrap();
        let parse = |text: &str| Source::parse(text).unwrap();
        assert_eq!(parse(DEFAULT_NAME), Source::Default);
        assert_eq!(
            parse(folder.path().to_str().unwrap()),
            Source::Folder(folder.path().to_owned())
        );
        assert_eq!(parse(file.to_str().unwrap()), Source::File(file));
        assert_eq!(
            parse("timm/resnet50.a1_in1k"),
            hub("timm/resnet50.a1_in1k", "main")
        );
        assert_eq!(
            parse("microsoft/resnet-50@refs/pr/4"),
            hub("microsoft/resnet-50", "refs/pr/4")
        );
    }

    #[test]
    fn what_is_none_of_them_is_unknown() {
        for text in [
            "",
            "resnet5O",
            "./a/b",
            "a/b/c",
            "../a",
            "a/..",
            "/a/b",
            "a/b@",
            "a/b@../c",
            "a b/c",
            "a/b.pth?x",
        ] {
            let error = Source::parse(text).unwrap_err();
            assert!(
                matches!(error, Error::Unknown { ref name } if name == text),
                "{text}: {error}"
            );
        }
    }
}
