//! Any bytes as the body of a gRPC call.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz_server::requests::{self, Kind};

fuzz_target!(|bytes: &[u8]| requests::send(Kind::Grpc, bytes));
