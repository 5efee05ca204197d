//! The cache of outputs, for images that are equal to one that was sent before or that
//! is being computed now.
//!
//! [`digest`] identifies an image by its content, [`lookup`] says what was found,
//! [`entries`] keeps the outputs within a limit, and [`cache`] uses all three.

#[allow(
    clippy::module_inception,
    reason = "the file that the folder is named after"
)]
pub mod cache;
pub mod digest;
pub mod entries;
pub mod lookup;
