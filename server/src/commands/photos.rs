//! Photos on the disk through the path of a request: decode, preprocess,
//! batch, forward. Many are on their way at once; answers come in order.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use indicatif::{ProgressBar, ProgressStyle};

use crate::admission::Admission;
use crate::batch::Row;
use crate::classifier::{Classifier, Failure, StartError};
use crate::config::{Limits, ModelConfig};
use crate::metrics::Metrics;
use crate::upload::{Encoding, Upload};

/// Endings of the formats that `photo` reads: what a folder is searched for.
const ENDINGS: [&str; 9] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif",
];

/// Why one photo has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PhotoFailure {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The image in it cannot be classified.
    #[error(transparent)]
    Image(#[from] Failure),
}

/// Why no photo at all could be classified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model cannot be loaded.
    #[error("the model cannot be loaded: {0}")]
    Load(#[from] model::Error),
    /// The model cannot be run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A folder cannot be listed, or the system refused a thread.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing to do.
    #[error("no image files in {place}; files that end in {} are looked for", ENDINGS.join(", "))]
    Nothing {
        /// Where was looked.
        place: String,
    },
}

/// Every photo named or inside a named folder, folders in the order of their names.
///
/// # Errors
/// A folder that cannot be listed.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut photos = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut photos)?;
        } else {
            // a file that was named is tried whatever its name; one that is
            // missing becomes that file's failure
            photos.push(path.clone());
        }
    }
    if photos.is_empty() {
        let named: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Error::Nothing {
            place: named.join(", "),
        });
    }
    Ok(photos)
}

fn walk(folder: &Path, photos: &mut Vec<PathBuf>) -> Result<(), Error> {
    let system = |source| Error::System {
        what: format!("cannot list {}", folder.display()),
        source,
    };
    let entries = std::fs::read_dir(folder).map_err(system)?;
    let mut entries = entries
        .map(|e| e.map(|e| e.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(system)?;
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            walk(&path, photos)?;
        } else if is_photo(&path) {
            photos.push(path);
        }
    }
    Ok(())
}

fn is_photo(path: &Path) -> bool {
    let ending = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or("")
        .to_lowercase();
    ENDINGS.contains(&ending.as_str())
}

/// A model with the cores, queue and limits that a service would have.
pub struct Darkroom {
    classifier: Classifier,
    admission: Admission,
    most: usize,
}

impl Darkroom {
    /// Loads the model and starts its worker.
    ///
    /// # Errors
    /// A model that cannot be loaded or run.
    pub fn open(model: &ModelConfig, limits: &Limits) -> Result<Self, Error> {
        let mut model = model.clone();
        model.options.cuda.largest_batch = limits.max_batch;
        let (model, cores) = model.load()?;
        let metrics = Arc::new(Metrics::new());
        Ok(Self {
            admission: Admission::new(limits.queue, usize::MAX, Arc::clone(&metrics)),
            classifier: Classifier::start(Arc::new(model), cores, limits, metrics)?,
            // enough to fill a batch while another one runs
            most: (2 * limits.max_batch).min(limits.queue),
        })
    }

    /// The classifier inside.
    #[must_use]
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Calls `each` with every photo's logits or failure, in the order of
    /// `photos`, and moves a bar along where standard error is a terminal.
    ///
    /// # Errors
    /// When the system refuses what the waiting needs.
    pub fn classify(
        &self,
        photos: &[PathBuf],
        mut each: impl FnMut(&Path, Result<Row, PhotoFailure>, &ProgressBar),
    ) -> Result<(), Error> {
        let bar = bar(photos.len());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|source| Error::System {
                what: "cannot wait for the answers".into(),
                source,
            })?;
        runtime.block_on(async {
            let answers = stream::iter(photos)
                .map(|path| self.photo(path))
                .buffered(self.most);
            let mut answers = std::pin::pin!(answers.enumerate());
            while let Some((i, answer)) = answers.next().await {
                each(&photos[i], answer, &bar);
                bar.inc(1);
            }
        });
        bar.finish_and_clear();
        Ok(())
    }

    async fn photo(&self, path: &Path) -> Result<Row, PhotoFailure> {
        let bytes = Bytes::from(std::fs::read(path)?);
        let share = Arc::new(self.admission.bytes());
        // never more on their way than places, so there is always one
        let permit = self
            .admission
            .images(1)
            .ok()
            .and_then(|mut permits| permits.pop());
        let permit = permit.ok_or(Failure::Overloaded)?;
        Ok(self
            .classifier
            .classify(Upload::new(bytes, Encoding::Plain, share), permit)
            .await?)
    }
}

/// A progress bar on standard error; invisible where that is no terminal.
pub fn bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} images  {per_sec}  {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_and_named_files_taken_as_they_are() {
        let folder = std::env::temp_dir().join(format!("resnet-find-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("b")).unwrap();
        for name in ["z.JPG", "b/a.png", "notes.txt"] {
            std::fs::write(folder.join(name), b"").unwrap();
        }
        let found = find(&[folder.clone(), PathBuf::from("no-such-file")]).unwrap();
        let expected = [
            folder.join("b/a.png"),
            folder.join("z.JPG"),
            PathBuf::from("no-such-file"),
        ];
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, expected);
    }
}
