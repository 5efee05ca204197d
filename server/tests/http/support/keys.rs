//! API keys of tests.

use std::num::NonZeroU32;

use resnet_server::core::keys::{Key, KeyLimits, Scope};
use resnet_server::core::round_robin::Class;
use sha2::{Digest, Sha256};

/// A key of normal priority; clients send `secret`.
pub(crate) fn key(name: &str, secret: &str, scopes: &[Scope], limits: KeyLimits) -> Key {
    let digest = Sha256::digest(secret).into();
    Key::new(name.into(), digest, scopes.to_vec(), limits, Class::Normal)
}

/// So many requests a second; no limit without a number.
pub(crate) fn rate(requests_per_second: impl Into<Option<u32>>) -> KeyLimits {
    KeyLimits {
        requests_per_second: requests_per_second.into().and_then(NonZeroU32::new),
        ..KeyLimits::default()
    }
}
