//! What `resnet` can be told to do, a file each.

pub mod bench;
pub mod classify;
pub mod convert;
pub mod evaluate;
pub mod healthcheck;
pub mod inspect;
pub mod labelled;
pub mod models;
pub mod photos;
pub mod quantize;
pub mod serve;
