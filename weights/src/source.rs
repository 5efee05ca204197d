//! The sources of a checkpoint: the default model, a file, a folder, a repository on the
//! Hugging Face Hub, or an object store.

use std::path::{Path, PathBuf};

use crate::bytes::Access;
use crate::checkpoint::Checkpoint;
use crate::default::{DEFAULT_NAME, default_model};
use crate::error::{Error, Result};
use crate::folder;
use crate::hub::download::Progress;
use crate::hub::{Hub, Repository};
use crate::name;
use crate::open;
use crate::store::Stores;
use crate::store::address::Address;
use crate::store::error::StoreError;

/// Where a checkpoint is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The default model, compiled into the program.
    Default,
    /// A file of weights, or the index of a checkpoint in several files. The
    /// configuration files beside it belong to it.
    File(PathBuf),
    /// A folder with weights and their configuration files.
    Folder(PathBuf),
    /// A repository on the Hub, `organisation/name` or
    /// `organisation/name@revision`.
    Hub(Repository),
    /// A file or a folder in an object store, `s3://bucket/folder`.
    Store(Address),
    /// `SOURCE@sha256:DIGEST`: opened only if the weights have this digest.
    Pinned(Box<Self>, Digest),
}

/// The SHA-256 of a checkpoint's weights, see [`Checkpoint::digest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// Parses 64 hexadecimal digits.
    fn parse(text: &str) -> Option<Self> {
        let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| Self(text.to_lowercase()))
    }
}

/// What precedes the digest in `SOURCE@sha256:DIGEST`.
const PIN: &str = "@sha256:";

impl Source {
    /// Parses the name of a model. A path that exists takes precedence over a
    /// repository with the same name.
    ///
    /// # Errors
    /// [`Error::Unknown`] when `text` names no existing path and cannot be the
    /// name of a repository; [`Error::Store`] for an address that cannot be used;
    /// [`Error::Field`] for a digest that is none.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some((source, digest)) = text.rsplit_once(PIN) {
            let digest = Digest::parse(digest).ok_or_else(|| {
                let reason = "it must have 64 hexadecimal digits";
                Error::field(source, "sha256", reason)
            })?;
            return Ok(Self::Pinned(Box::new(Self::parse(source)?), digest));
        }
        if let Some(address) = Address::parse(text) {
            let address = address.map_err(|reason| Error::Store {
                address: text.to_owned(),
                reason: StoreError::Content(reason.to_owned()),
            })?;
            return Ok(Self::Store(address));
        }
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

    /// The model's name, the same as [`Checkpoint::name`] of the opened
    /// checkpoint: the default model's name, the stem of a file, the name of a
    /// folder, or `organisation/name` of a repository. A file called
    /// `model.*` or `pytorch_model.*` is named by its folder.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Default => DEFAULT_NAME.to_owned(),
            Self::File(path) => name::of_file(path),
            Self::Folder(path) => name::of_folder(path),
            Self::Hub(repository) => repository.id.clone(),
            Self::Store(address) => match address.path() {
                folder if folder.ends_with('/') => name::of_folder(Path::new(&folder)),
                file => name::of_file(Path::new(&file)),
            },
            Self::Pinned(source, _) => source.name(),
        }
    }

    /// The local files that the checkpoint is read from: the weights, all
    /// shards of an index, and the configuration files beside them that exist.
    /// Symbolic links are not resolved. Empty for what is not
    /// local. The list is as of now: another call is needed after a
    /// change.
    ///
    /// # Errors
    /// When the file or the folder cannot be read, there are no weights in the
    /// folder, or an index is malformed.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        match self {
            Self::Default | Self::Hub(_) | Self::Store(_) => Ok(Vec::new()),
            Self::Pinned(source, _) => source.files(),
            Self::File(path) => {
                let mut files = open::files(path)?;
                files.extend(folder::configuration_files(folder_of(path)));
                Ok(files)
            }
            Self::Folder(path) => {
                let mut files = open::files(&folder::weights_in(path)?)?;
                files.extend(folder::configuration_files(path));
                Ok(files)
            }
        }
    }

    /// Opens the checkpoint and reads its metadata, memory-mapping its files.
    /// `progress` is called during a download.
    ///
    /// # Errors
    /// When the checkpoint cannot be found, downloaded or used.
    pub fn open(&self, hub: &Hub, progress: &mut dyn FnMut(Progress)) -> Result<Checkpoint> {
        self.open_with(hub, Access::Mapped, progress)
    }

    /// Opens the checkpoint as [`Source::open`] does, with the given access to
    /// its files. [`Access::Copied`] is for files that may be replaced while
    /// they are in use.
    ///
    /// # Errors
    /// As [`Source::open`]; [`Error::Changed`] when a file changes while it is
    /// copied.
    pub fn open_with(
        &self,
        hub: &Hub,
        access: Access,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Checkpoint> {
        match self {
            Self::Default => default_model(),
            Self::File(path) => open_configured(path, &self.name(), access),
            Self::Folder(path) => open_configured(&folder::weights_in(path)?, &self.name(), access),
            Self::Hub(repository) => {
                let snapshot = hub.snapshot(repository, progress)?;
                let checkpoint = open_configured(&snapshot.weights, &self.name(), access)?;
                Ok(match snapshot.digest {
                    Some(digest) => checkpoint.with_digest(&digest),
                    None => checkpoint,
                })
            }
            Self::Store(address) => {
                let stores = Stores::beside(&hub.cache, hub.timeout);
                let fetched = stores.fetch(address, progress);
                let weights = fetched.map_err(|reason| Error::Store {
                    address: address.to_string(),
                    reason,
                })?;
                open_configured(&weights, &self.name(), access)
            }
            Self::Pinned(source, Digest(expected)) => {
                let checkpoint = source.open_with(hub, access, progress)?;
                if checkpoint.digest() == expected {
                    return Ok(checkpoint);
                }
                Err(Error::Digest {
                    origin: source.name(),
                    found: checkpoint.digest().to_owned(),
                    expected: expected.clone(),
                })
            }
        }
    }
}

/// Opens the weights in a file, with the configuration files beside it: a folder
/// and the file in it are the same model.
fn open_configured(weights: &Path, name: &str, access: Access) -> Result<Checkpoint> {
    let configuration = folder::configuration(folder_of(weights))?;
    let checkpoint = Checkpoint::open_with(weights, access)?;
    Ok(checkpoint.with_configuration(name, configuration))
}

/// The folder that holds a file.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().unwrap_or(Path::new("."));
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

/// Endings of files, which the Hub is not asked for: the text is the mistyped path
/// of a file.
const OF_FILES: [&str; 14] = [
    "safetensors",
    "pth",
    "pt",
    "bin",
    "ckpt",
    "json",
    "onnx",
    "h5",
    "hdf5",
    "keras",
    "npz",
    "gz",
    "zip",
    "tar",
];

/// Parses `organisation/name` with an optional `@revision`, in the characters
/// that the Hub allows.
fn repository(text: &str) -> Option<Repository> {
    let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
    let (organisation, name) = id.split_once('/')?;
    // the path of a file that does not exist
    let ending = id.rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
    if ending.is_some_and(|ending| OF_FILES.contains(&ending.as_str())) {
        return None;
    }
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
    fn names_paths_and_repositories_are_distinguished() {
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
    fn addresses_of_stores_are_named_by_their_last_part() {
        for (text, name) in [
            ("s3://bucket/models/pets", "pets"),
            ("gs://bucket/pets/model.safetensors", "pets"),
            ("https://host/a/cats.v2.pth", "cats.v2"),
            ("az://container", "container"),
        ] {
            let source = Source::parse(text).unwrap();
            assert!(matches!(source, Source::Store(_)), "{text}");
            assert_eq!(source.name(), name, "{text}");
            assert_eq!(source.files().unwrap(), Vec::<PathBuf>::new(), "{text}");
        }
        let error = Source::parse("https://host/folder").unwrap_err();
        assert!(error.to_string().contains("cannot be listed"), "{error}");
    }

    #[test]
    fn a_pinned_source_opens_only_with_the_digest_that_it_names() {
        let digest = default_model().unwrap().digest().to_owned();
        let hub = Hub::from_env();
        let open = |digest: &str| {
            let source = Source::parse(&format!("{DEFAULT_NAME}@sha256:{digest}")).unwrap();
            assert_eq!(source.name(), DEFAULT_NAME);
            source.open(&hub, &mut |_| ())
        };
        assert_eq!(open(&digest.to_uppercase()).unwrap().digest(), digest);
        let other = digest.replace(&digest[..1], "x").replace('x', "0");
        let other = if other == digest {
            digest.replace('0', "1")
        } else {
            other
        };
        let error = open(&other).err().unwrap().to_string();
        assert!(error.contains(&digest) && error.contains(&other), "{error}");
        let malformed = Source::parse("timm/resnet50@sha256:123").unwrap_err();
        assert!(
            malformed.to_string().contains("64 hexadecimal"),
            "{malformed}"
        );
    }

    #[test]
    fn other_text_is_an_unknown_model() {
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
            "models/resnet50.safetensors",
            "models/resnet50.PTH",
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
