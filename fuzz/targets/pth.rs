//! Any bytes as a PyTorch file: the header, the names and every tensor.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz::checkpoint;

fuzz_target!(|bytes: &[u8]| checkpoint::open("pth", bytes));
