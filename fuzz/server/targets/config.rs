//! Any bytes as the configuration file of `resnet serve`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz_server::configuration;

fuzz_target!(|bytes: &[u8]| configuration::read(bytes));
