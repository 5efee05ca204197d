//! Outputs of images that were asked for before, or that are being computed at this
//! moment for an equal request.
//!
//! [`digest`] names an image by its content, [`lookup`] says what was found,
//! [`entries`] holds the outputs within a limit, and [`cache`] puts them together.

#[allow(
    clippy::module_inception,
    reason = "the file that the folder is named after"
)]
pub mod cache;
pub mod digest;
pub mod entries;
pub mod lookup;
