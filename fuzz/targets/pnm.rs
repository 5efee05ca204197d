//! Any bytes as a PNM.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz::image;
use resnet_preprocess::Format;

fuzz_target!(|bytes: &[u8]| image::decode(Format::Pnm, bytes));
