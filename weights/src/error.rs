//! What can be wrong with a checkpoint, each naming the file, tensor or field.

use std::path::PathBuf;

use crate::hub::HubFault;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A fault of a checkpoint or of where it was looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model's name is none that anything is known by.
    #[error("`{name}` is no file, no folder, and not the name of a model")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A repository of the Hub could not be had.
    #[error("{repository}: {fault}")]
    Hub {
        /// The repository.
        repository: String,
        /// Why.
        #[source]
        fault: HubFault,
    },
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what its format promises.
    #[error("{origin} is not a usable checkpoint: {fault}")]
    Malformed {
        /// File or repository.
        origin: String,
        /// What is wrong.
        fault: String,
    },
    /// Two tensors of the file are the same one to the network.
    #[error("tensors `{first}` and `{second}` in {origin} both claim to be `{canonical}`")]
    Ambiguous {
        /// File or repository.
        origin: String,
        /// One tensor, in the file's own naming.
        first: String,
        /// The other.
        second: String,
        /// What both map to, in torchvision's naming.
        canonical: String,
    },
    /// A tensor the network needs is not there.
    #[error("{origin} has no tensor `{tensor}` (expected shape {expected:?})")]
    Missing {
        /// File or repository.
        origin: String,
        /// The tensor, in the file's own naming where it is known.
        tensor: String,
        /// The shape the network expects.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the network needs.
    #[error("tensor `{tensor}` in {origin} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// File or repository.
        origin: String,
        /// The tensor.
        tensor: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// The shape the network expects.
        expected: Vec<usize>,
    },
    /// A tensor has a number type this project does not read.
    #[error("tensor `{tensor}` in {origin} is {dtype}; F32, F16 and BF16 are read")]
    Dtype {
        /// File or repository.
        origin: String,
        /// The tensor.
        tensor: String,
        /// Its type in the file.
        dtype: String,
    },
    /// A tensor holds NaN or infinity.
    #[error("tensor `{tensor}` in {origin} holds {value} at index {index}")]
    NotFinite {
        /// File or repository.
        origin: String,
        /// The tensor.
        tensor: String,
        /// Where, in row-major order.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A value is too large for the number type asked for.
    #[error("tensor `{tensor}` holds {value}, more than {dtype} can; F32 can")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// The value.
        value: f32,
        /// The type.
        dtype: String,
    },
    /// Metadata or configuration holds something unusable.
    #[error("field `{field}` in {origin}: {fault}")]
    Field {
        /// File or repository.
        origin: String,
        /// The field.
        field: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The labels do not match the classes.
    #[error("{labels} labels for a network with {classes} classes")]
    Labels {
        /// Labels given.
        labels: usize,
        /// Outputs of the network.
        classes: usize,
    },
}

impl Error {
    pub(crate) fn malformed(origin: &str, fault: impl Into<String>) -> Self {
        Self::Malformed {
            origin: origin.to_owned(),
            fault: fault.into(),
        }
    }

    pub(crate) fn field(origin: &str, field: &str, fault: impl Into<String>) -> Self {
        Self::Field {
            origin: origin.to_owned(),
            field: field.to_owned(),
            fault: fault.into(),
        }
    }
}
