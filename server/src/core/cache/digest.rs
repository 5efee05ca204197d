//! The digest of an image (SHA-256, which has no known collisions), and the key of its
//! output in the cache.

use model::Outputs;
use sha2::{Digest as _, Sha256};

/// SHA-256.
pub type Digest = [u8; 32];

/// The digest of parts. Each is preceded by its length, so that no two lists of parts
/// are the same bytes.
#[must_use]
pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// What the output of an image depends on, and the caller that may use it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(Digest);

impl Key {
    /// The key of an image for a loaded instance. Outputs are not shared between
    /// callers: the time of a response would show that another caller has sent the same
    /// image.
    #[must_use]
    pub fn new(caller: &str, instance: u64, outputs: Outputs, image: &Digest) -> Self {
        let outputs = [outputs.embedding, outputs.feature_map].map(u8::from);
        let instance = instance.to_le_bytes();
        Self(of_parts([caller.as_bytes(), &instance, &outputs, image]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_each_of_its_parts() {
        let outputs = |embedding| Outputs {
            embedding,
            ..Outputs::default()
        };
        let key = |caller, instance, embedding, image| {
            Key::new(caller, instance, outputs(embedding), &[image; 32])
        };
        let one = key("shop", 1, false, 1);
        assert!(one == key("shop", 1, false, 1));
        for other in [
            key("other", 1, false, 1),
            key("shop", 2, false, 1),
            key("shop", 1, true, 1),
            key("shop", 1, false, 2),
        ] {
            assert!(one != other);
        }
        assert_ne!(of_parts([&b"ab"[..], b"c"]), of_parts([&b"a"[..], b"bc"]));
    }
}
