//! Checkpoints: what a file, a folder or a repository says about a network.
//!
//! A [`Checkpoint`] is a set of named tensors under torchvision's names,
//! whatever naming and file format they came in, with the [`Recipe`] that
//! prepares a photo for them and the [`Labels`] of their classes.

mod checkpoint;
mod default;
mod error;
mod labels;
mod recipe;
pub mod synthetic;

pub use checkpoint::{Checkpoint, Facts};
pub use default::{DEFAULT_NAME, default_model};
pub use error::{Error, Result};
pub use labels::{Label, Labels};
pub use recipe::{Interpolation, Recipe, Resize};
