//! The messages of all services, in modules as in their packages. `make protos`
//! writes them from `server/proto/`.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]

/// Descriptors of all files, for reflection.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/proto/generated/descriptors.bin"
));

include!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/proto/generated/mod.rs"
));
