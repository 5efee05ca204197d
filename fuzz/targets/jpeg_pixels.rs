//! Any bytes as a JPEG: the pixels and refusals are those of libjpeg-turbo.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz::libjpeg;

fuzz_target!(|bytes: &[u8]| libjpeg::compare(bytes));
