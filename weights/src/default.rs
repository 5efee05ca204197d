//! The trained model inside the binary: a bottleneck ResNet-50 of half width.

use crate::{Checkpoint, Result};

/// What the default model is called.
pub const DEFAULT_NAME: &str = "resnet50_thin";

static BYTES: &[u8] = include_bytes!("../resnet50_thin.safetensors");

/// The default model.
///
/// # Errors
/// None for the file this crate is built with; the type is that of any
/// checkpoint's reading.
pub fn default_model() -> Result<Checkpoint> {
    Checkpoint::from_static(DEFAULT_NAME, BYTES)
}
