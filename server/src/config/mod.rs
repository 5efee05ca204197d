//! Configuration: flags, environment variables and the configuration file, read
//! and checked before anything starts. All errors are reported together.

pub mod access;
pub mod answers;
pub mod cache;
pub mod connections;
pub mod errors;
pub mod file;
pub mod image_urls;
pub mod keys;
pub mod limits;
pub mod logs;
pub mod model;
pub mod models;
pub mod name;
pub mod repository;
pub mod run;
pub mod serve;
pub mod settings;
pub mod source;
mod table;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod transport;
pub mod units;
pub mod value;
pub mod vertex;
