//! Turns a panic of a decoder into an error of the image. Most decoders are those
//! of other projects, and some of them panic on damaged files.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::ImageError;
use crate::format::Format;

thread_local! {
    static IS_DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a decoder whose panic becomes an
/// [`ImageError`]. A panic hook can use it to leave such panics out of the log.
#[must_use]
pub fn is_decoding() -> bool {
    IS_DECODING.with(Cell::get)
}

/// Runs `decoder`.
///
/// # Errors
/// Those of `decoder`; `Broken` if it panics.
pub(crate) fn guard<T>(
    format: Format,
    decoder: impl FnOnce() -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    let before = IS_DECODING.replace(true);
    // The decoder's state is dropped, and the buffers that outlive it are
    // overwritten before they are read.
    let result = catch_unwind(AssertUnwindSafe(decoder));
    IS_DECODING.set(before);
    result.unwrap_or_else(|_| {
        Err(ImageError::broken(
            format,
            "the decoder panicked on its content",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_the_image() {
        let result = guard(Format::Gif, || -> Result<(), ImageError> {
            assert!(is_decoding());
            panic!("expected by this test")
        });
        let text = result.unwrap_err().to_string();
        assert!(text.contains("the GIF image is broken"), "{text}");
        assert!(!is_decoding());
    }
}
