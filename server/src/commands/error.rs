//! Why a command that runs to its end stopped early.

use std::io;
use std::path::PathBuf;

use super::{labelled, photos};
use crate::config::Faults;

/// What was at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags or variables.
    #[error(transparent)]
    Config(#[from] Faults),
    /// The checkpoint, or the file to be written.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The model: it fits no architecture, or cannot be run.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The model or the photos.
    #[error(transparent)]
    Photos(#[from] photos::Error),
    /// The data, which do not say what the photos show.
    #[error(transparent)]
    Labelled(#[from] labelled::Error),
    /// All the photos; the last one's failure.
    #[error("none of {count} photos can be read; the last, {}: {reason}", path.display())]
    Unreadable {
        /// How many were tried.
        count: usize,
        /// The last.
        path: PathBuf,
        /// Its failure.
        reason: String,
    },
    /// Standard output.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}
