//! The default model, compiled into the program: a ResNet-50 of half width.

use crate::checkpoint::Checkpoint;
use crate::error::Result;

/// Name of the default model.
pub const DEFAULT_NAME: &str = "resnet50_thin";

static BYTES: &[u8] = include_bytes!("../resnet50_thin.safetensors");

/// SHA-256 of [`BYTES`], so that it is not computed at each start.
const DIGEST: &str = "87a1ce61980f33258b7e7516b4eab74f5e5456534555a0c462ec7b053702832c";

/// The default model.
///
/// # Errors
/// None: a test opens the file that is compiled in.
pub fn default_model() -> Result<Checkpoint> {
    Ok(Checkpoint::from_static(DEFAULT_NAME, BYTES)?.with_digest(DIGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_digest_is_the_digest_of_the_bytes() {
        let computed = Checkpoint::from_static(DEFAULT_NAME, BYTES).unwrap();
        assert_eq!(default_model().unwrap().digest(), computed.digest());
    }
}
