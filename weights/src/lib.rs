//! Checkpoints of the ResNet family: safetensors and PyTorch files, folders as
//! timm and transformers publish them, repositories of the Hugging Face Hub, and object
//! stores (with the feature `stores`).
//!
//! A [`Checkpoint`] is a set of tensors under torchvision's names, whatever the
//! format and the naming of the files, with its [`Metadata`]: the
//! [`Preprocessing`] of images, the [`Labels`] of the classes and the
//! [`Hierarchy`] above them. A [`Source`] is the place to open it from.
//!
//! PyTorch files are parsed without executing them, and every length in a file
//! is checked before it is used.
//!
//! # Example
//!
//! Open the default model, which is compiled into the crate, read one tensor,
//! and print the metadata:
//!
//! ```
//! use resnet_weights::{Hub, Source};
//!
//! # fn main() -> resnet_weights::Result<()> {
//! // Also a path, or `timm/resnet50.a1_in1k` on the Hugging Face Hub.
//! let source = Source::parse("resnet50_thin")?;
//! let checkpoint = source.open(&Hub::from_env(), &mut |progress| {
//!     println!("{}: {} of {} bytes", progress.file, progress.done, progress.total);
//! })?;
//!
//! let bias = checkpoint.read("fc.bias", &[1000])?;
//! println!("{}: the bias of class 0 is {}", checkpoint.name(), bias[0]);
//!
//! let metadata = checkpoint.metadata();
//! if let Some(preprocessing) = &metadata.preprocessing {
//!     println!("input size: {0}x{0}", preprocessing.crop);
//! }
//! if let Some(label) = metadata.labels.as_ref().and_then(|labels| labels.get(0)) {
//!     println!("class 0: {}", label.name);
//! }
//! # assert_eq!(metadata.labels.as_ref().unwrap().get(0).unwrap().name, "tench");
//! # Ok(())
//! # }
//! ```

mod activation;
mod bytes;
mod checkpoint;
mod config;
mod converted;
mod default;
mod error;
mod folder;
mod grey;
mod hierarchy;
mod hub;
mod labels;
mod lock;
mod metadata;
mod name;
mod naming;
mod open;
mod origin;
mod parts;
mod preprocessing;
mod pytorch;
mod quantized;
mod safetensors;
mod sharded;
mod source;
mod store;
pub mod synthetic;
mod tensor;
mod write;

pub use activation::Activation;
pub use bytes::Access;
pub use checkpoint::Checkpoint;
pub use default::{DEFAULT_NAME, default_model};
pub use error::{Error, Result};
pub use hierarchy::{Category, Hierarchy};
pub use hub::client::RequestError;
pub use hub::download::Progress;
pub use hub::error::HubError;
pub use hub::{Hub, Repository};
pub use labels::{Label, Labels};
pub use metadata::{Metadata, Ranges};
pub use origin::{Origin, Origins};
pub use preprocessing::{Interpolation, Preprocessing, Resize};
pub use quantized::{fake_quantize, integers, quantize};
pub use source::{Digest, Source};
pub use store::address::Address;
pub use store::error::StoreError;
pub use write::{StoredDtype, Target, write};
