//! What `resnet` can be told to do, a file each.

pub mod healthcheck;
pub mod serve;
