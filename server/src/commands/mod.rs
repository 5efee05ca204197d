//! What `resnet` can be told to do, a file each.

pub mod bench;
pub mod classify;
pub mod convert;
mod error;
pub mod evaluate;
pub mod healthcheck;
pub mod inspect;
pub mod labelled;
pub mod models;
mod out;
pub mod photos;
pub mod quantize;
pub mod serve;
mod written;

pub use error::Error;
