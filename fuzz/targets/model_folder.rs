//! Any bytes as the text files beside a checkpoint: the configurations of timm and
//! transformers, class names, and categories.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz::checkpoint;

fuzz_target!(|bytes: &[u8]| checkpoint::open_folder(bytes));
