//! What the fuzz targets of the server do with their bytes, as ordinary functions.

pub mod configuration;
mod fakes;
pub mod requests;
