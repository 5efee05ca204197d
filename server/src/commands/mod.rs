//! The commands of the `resnet` binary, one file each.

pub mod accuracy;
pub mod bench;
pub mod calibrate;
pub mod calibration;
mod class_names;
pub mod classify;
pub mod convert;
pub mod dataset;
pub mod duplicates;
pub mod embed;
pub mod error;
pub mod evaluate;
pub mod explain;
mod features;
pub mod healthcheck;
pub mod hedging;
pub mod images;
pub mod inspect;
mod load;
pub mod models;
mod output;
pub mod pipeline;
pub mod quantize;
pub mod search;
pub mod serve;
mod write;
