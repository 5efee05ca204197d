//! The trained model inside the binary: a bottleneck ResNet-50 of half width.

use crate::{Checkpoint, Result};

/// What the default model is called.
pub const DEFAULT_NAME: &str = "resnet50_thin";

static BYTES: &[u8] = include_bytes!("../resnet50_thin.safetensors");

/// SHA-256 of [`BYTES`], known so that no start has to compute it.
const DIGEST: &str = "fd9a341b6e82a77b85ea380b2439068cb0d78570c0dec15f4b9593dada37b5b9";

/// The default model.
///
/// # Errors
/// None for the file this crate is built with; the type is that of any
/// checkpoint's reading.
pub fn default_model() -> Result<Checkpoint> {
    Ok(Checkpoint::from_static(DEFAULT_NAME, BYTES)?.with_digest(DIGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_digest_is_that_of_the_bytes() {
        let computed = Checkpoint::from_static(DEFAULT_NAME, BYTES).unwrap();
        assert_eq!(default_model().unwrap().digest(), computed.digest());
    }
}
