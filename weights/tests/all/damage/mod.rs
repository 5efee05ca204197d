//! Damaged and malicious checkpoints: each is an error with a reason, without a
//! panic, a hang or a large allocation.

mod index;
mod pytorch;
mod safetensors;

use std::path::Path;

use resnet_weights::{Checkpoint, Result};

use crate::allocations::largest_allocation;

/// Opens bytes as a checkpoint called `x`, and asserts that no allocation is
/// large.
fn parse(bytes: Vec<u8>) -> Result<Checkpoint> {
    let (checkpoint, largest) = largest_allocation(|| Checkpoint::from_static("x", bytes.leak()));
    assert!(largest <= 40 << 20, "one allocation has {largest} bytes");
    checkpoint
}

/// Asserts that each case (description, file, reason) is rejected with its
/// reason. A reason that ends in `…` is a prefix.
fn assert_rejected(cases: Vec<(&str, Vec<u8>, &str)>) {
    for (kind, bytes, reason) in cases {
        let error = parse(bytes)
            .err()
            .unwrap_or_else(|| panic!("{kind}: accepted"))
            .to_string();
        let found = error
            .strip_prefix("x is not a usable checkpoint: ")
            .unwrap_or(&error);
        match reason.strip_suffix('…') {
            Some(beginning) => assert!(found.starts_with(beginning), "{kind}: {found}"),
            None => assert_eq!(found, reason, "{kind}"),
        }
    }
}

/// Truncates test files at every length and changes every byte in three ways.
/// Each result is an error or a checkpoint; nothing panics.
#[test]
fn files_with_any_byte_changed_or_missing_do_not_panic() {
    let mut files = vec![safetensors::valid().metadata("labels", r#"["a"]"#).bytes()];
    for name in ["plain.pth", "legacy.pth", "views.pth", "protocol4.pth"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/pth")
            .join(name);
        files.push(std::fs::read(path).unwrap());
    }
    let mut opened = 0;
    let mut attempt = |bytes: Vec<u8>| {
        if let Ok(checkpoint) = parse(bytes) {
            opened += 1;
            for (name, shape) in checkpoint.tensors() {
                let _ = checkpoint.read(name, shape);
            }
        }
    };
    for file in &files {
        for at in 0..file.len() {
            attempt(file[..at].to_vec());
            for change in [0x01, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] ^= change;
                attempt(changed);
            }
        }
    }
    // Changes of tensor values are not detected, so some files must open.
    assert!(opened > 100, "only {opened} files were opened");
}
