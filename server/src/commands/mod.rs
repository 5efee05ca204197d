//! The commands of the `resnet` binary, one file each.

pub mod bench;
mod class_names;
pub mod classify;
pub mod convert;
pub mod dataset;
pub mod error;
pub mod evaluate;
pub mod healthcheck;
pub mod images;
pub mod inspect;
mod load;
pub mod models;
mod output;
pub mod pipeline;
pub mod quantize;
pub mod serve;
mod write;
