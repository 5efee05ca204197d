//! The errors of this crate. Each one names the file, the tensor or the field.

use std::path::PathBuf;

use crate::hub::error::HubError;
use crate::store::error::StoreError;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a checkpoint, or of finding one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file changed while it was copied into memory.
    #[error("{} changed while it was read; try again when it is written completely", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The name is neither a path nor the name of a model.
    #[error(
        "`{name}` is not an existing file or folder and not the name of a model; give a path, `organisation/name` on the Hugging Face Hub, an address like `s3://bucket/folder`, or `resnet50_thin`"
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// A repository of the Hub could not be opened.
    #[error("{repository}: {reason}")]
    Hub {
        /// The repository.
        repository: String,
        /// Why.
        #[source]
        reason: HubError,
    },
    /// A checkpoint in an object store could not be opened.
    #[error("{address}: {reason}")]
    Store {
        /// The address.
        address: String,
        /// Why.
        #[source]
        reason: StoreError,
    },
    /// The weights are others than those that the digest names.
    #[error("{origin} has the SHA-256 {found}, but sha256:{expected} is asked for")]
    Digest {
        /// The source.
        origin: String,
        /// Digest of the weights.
        found: String,
        /// Digest that the source names.
        expected: String,
    },
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file to write exists.
    #[error("{} exists; choose another name, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What would be replaced is no file: a folder, a pipe, a device.
    #[error("{} is not a regular file, so it is not replaced; choose another name", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The caller stopped the writing of a file.
    #[error("interrupted: {} was not written", path.display())]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
    /// The content is not a checkpoint in a supported format.
    #[error("{origin} is not a usable checkpoint: {reason}")]
    Malformed {
        /// File or repository.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// Two tensors of the file have the same canonical name.
    #[error(
        "tensors `{first}` and `{second}` in {origin} both map to `{canonical}`; remove one of them"
    )]
    Ambiguous {
        /// File or repository.
        origin: String,
        /// The name of one tensor in the file.
        first: String,
        /// The name of the other.
        second: String,
        /// The canonical name of both, in torchvision's naming.
        canonical: String,
    },
    /// A required tensor is missing.
    #[error("{origin} has no tensor `{tensor}` (expected shape {expected:?})")]
    Missing {
        /// File or repository.
        origin: String,
        /// The tensor, in the file's naming where that is known.
        tensor: String,
        /// The expected shape.
        expected: Vec<usize>,
    },
    /// A tensor has an unexpected shape.
    #[error("tensor `{tensor}` in {origin} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// File or repository.
        origin: String,
        /// The tensor.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The expected shape.
        expected: Vec<usize>,
    },
    /// A tensor has a dtype that is not supported.
    #[error(
        "tensor `{tensor}` in {origin} has dtype {dtype}, which is not supported; convert it to F32, F16 or BF16"
    )]
    Dtype {
        /// File or repository.
        origin: String,
        /// The tensor.
        tensor: String,
        /// The dtype in the file.
        dtype: String,
    },
    /// A tensor holds NaN or infinity.
    #[error(
        "tensor `{tensor}` in {origin} holds {value} at index {index}; all weights must be finite"
    )]
    NotFinite {
        /// File or repository.
        origin: String,
        /// The tensor.
        tensor: String,
        /// The position in row-major order.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A value is too large for the requested dtype.
    #[error("tensor `{tensor}` holds {value}, which overflows {dtype}; store it as F32")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// The value.
        value: f32,
        /// The dtype.
        dtype: String,
    },
    /// A field of the metadata or of a configuration file is invalid.
    #[error("field `{field}` in {origin}: {reason}")]
    Field {
        /// File or repository.
        origin: String,
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The number of labels differs from the number of classes.
    #[error("{labels} labels for a network with {classes} classes; give one label for each class")]
    Labels {
        /// Number of labels.
        labels: usize,
        /// Number of outputs of the network.
        classes: usize,
    },
}

impl Error {
    pub(crate) fn malformed(origin: &str, reason: impl Into<String>) -> Self {
        Self::Malformed {
            origin: origin.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn field(origin: &str, field: &str, reason: impl Into<String>) -> Self {
        Self::Field {
            origin: origin.to_owned(),
            field: field.to_owned(),
            reason: reason.into(),
        }
    }
}
