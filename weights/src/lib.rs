//! Checkpoints: what a file, a folder or a repository says about a network.
//!
//! A [`Checkpoint`] is a set of named tensors under torchvision's names,
//! whatever naming and file format they came in, with the [`Facts`] that
//! belong to them: the [`Recipe`] that prepares a photo and the [`Labels`] of
//! the classes.

mod bytes;
mod checkpoint;
mod config;
mod default;
mod error;
mod facts;
mod folder;
mod hub;
mod labels;
mod naming;
mod open;
mod pytorch;
mod quantised;
mod recipe;
mod safetensors;
mod sharded;
mod source;
pub mod synthetic;
mod tensor;
mod write;

pub use checkpoint::Checkpoint;
pub use default::{DEFAULT_NAME, default_model};
pub use error::{Error, Result};
pub use facts::{Facts, Ranges};
pub use hub::{Hub, HubFault, Progress, Repository};
pub use labels::{Label, Labels};
pub use quantised::{as_int8, quantise};
pub use recipe::{Interpolation, Recipe, Resize};
pub use source::Source;
pub use write::{Numbers, write};
