//! Any bytes as an image file: detection of the format, every decoder, orientation,
//! resizing, cropping, and cancellation.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz::image;

fuzz_target!(|bytes: &[u8]| image::read_any(bytes));
