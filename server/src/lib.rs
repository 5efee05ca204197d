//! Image bytes in, labels out. The way of a request through the files:
//! [`http`] -> [`admission`] -> [`classifier`] ([`upload`] -> [`photo`]) ->
//! [`batch`] -> [`network`] -> [`top_k`] -> [`answer`].

pub mod admission;
pub mod answer;
pub mod batch;
pub mod classifier;
pub mod cli;
pub mod commands;
pub mod config;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod network;
pub mod photo;
pub mod problem;
pub mod service;
pub mod shutdown;
pub mod top_k;
pub mod upload;
