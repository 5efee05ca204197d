//! Any bytes as a checkpoint file, safetensors or PyTorch: the header, the names and
//! every tensor. No panic, and no allocation that the size of the file does not justify.

#![no_main]

mod memory;

use libfuzzer_sys::fuzz_target;
use resnet_weights::Checkpoint;

/// Bytes that a file may take beside a multiple of its size.
const BASE: usize = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("fuzz-{}.pth", std::process::id()));
    std::fs::write(&path, bytes).expect("the temporary folder is writable");
    let peak = memory::peak_of(|| {
        let _ = Checkpoint::open(&path);
    });
    assert!(peak <= BASE + 16 * bytes.len(), "{peak} bytes");
});
