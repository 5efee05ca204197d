//! Any bytes as an image file: detection of the format, every decoder, orientation,
//! resizing and cropping. No panic, and no more memory than the pixel limit allows.

#![no_main]

mod memory;

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use resnet_preprocess::{Limits, Preprocessing, is_decoding, read};

/// Small, so that an input that takes too long or too much memory shows at once.
const MAX_PIXELS: u64 = 1 << 20;

/// Bytes for each pixel of the limit, as README.md states, and the buffers whose size
/// does not depend on the image.
const MOST_BYTES: usize = (11 << 20) + (4 << 20);

/// The panics of third-party decoders are errors of the image, so they do not end the
/// run. All others do.
fn abort_on_other_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !is_decoding() {
                default(panic);
            }
        }));
    });
}

fuzz_target!(|bytes: &[u8]| {
    abort_on_other_panics();
    let limits = Limits {
        max_pixels: MAX_PIXELS,
    };
    let peak = memory::peak_of(|| {
        let _ = read(bytes, &Preprocessing::imagenet(), &limits);
    });
    assert!(peak <= MOST_BYTES + 2 * bytes.len(), "{peak} bytes");
});
