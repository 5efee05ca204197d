//! Bytes in, labels out: photo, batch, answer, HTTP.

pub mod photo;
