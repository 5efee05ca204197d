//! Any bytes as a JPEG 2000 image.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz::image;
use resnet_preprocess::Format;

fuzz_target!(|bytes: &[u8]| image::decode(Format::Jpeg2000, bytes));
