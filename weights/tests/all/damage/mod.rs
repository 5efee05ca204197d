//! Damaged and hostile checkpoints: each kind ends in an error that says what
//! is wrong, without a panic, a hang or a large allocation.

mod index;
mod pytorch;
mod safetensors;

use std::path::Path;

use weights::{Checkpoint, Result};

use crate::allocations::largest_allocation;

/// Opens bytes as if they were a file called `x`, in little memory.
fn parse(bytes: Vec<u8>) -> Result<Checkpoint> {
    let (checkpoint, largest) = largest_allocation(|| Checkpoint::from_static("x", bytes.leak()));
    assert!(largest <= 40 << 20, "{largest} bytes at once");
    checkpoint
}

/// Asserts that each kind of damage is refused with its fault, of which `…`
/// stands for the rest.
fn assert_refused(cases: Vec<(&str, Vec<u8>, &str)>) {
    for (kind, bytes, fault) in cases {
        let error = parse(bytes)
            .err()
            .unwrap_or_else(|| panic!("{kind}: accepted"))
            .to_string();
        let found = error
            .strip_prefix("x is not a usable checkpoint: ")
            .unwrap_or(&error);
        match fault.strip_suffix('…') {
            Some(beginning) => assert!(found.starts_with(beginning), "{kind}: {found}"),
            None => assert_eq!(found, fault, "{kind}"),
        }
    }
}

/// Every file of the tests, cut at every length and with every byte changed
/// in three ways: an error or tensors, and nothing else.
#[test]
fn no_single_byte_is_trusted() {
    let mut files = vec![safetensors::sound().metadata("labels", r#"["a"]"#).bytes()];
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
    // A changed number in a tensor is not to be noticed: some must open.
    assert!(opened > 100, "{opened} opened");
}
