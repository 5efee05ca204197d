//! The messages of all services. `make protos` writes them from `server/proto/`.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]

macro_rules! generated {
    ($file:literal) => {
        include!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proto/generated/",
            $file
        ));
    };
}

/// Descriptors of all files, for reflection.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/proto/generated/descriptors.bin"
));

pub(super) mod health {
    generated!("grpc.health.v1.rs");
}

pub(super) mod inference {
    generated!("inference.rs");
}
