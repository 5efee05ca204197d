//! What the fuzz targets do with their bytes. Each is an ordinary function, so that
//! `tests/corpus.rs` runs the seeds through it without cargo-fuzz.

pub mod checkpoint;
pub mod image;
pub mod libjpeg;
pub mod measured;
pub mod memory;
