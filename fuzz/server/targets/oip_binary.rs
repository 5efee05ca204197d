//! Any bytes as a request of the Open Inference Protocol with binary tensors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz_server::requests::{self, Kind};

fuzz_target!(|bytes: &[u8]| requests::send(Kind::OipBinary, bytes));
