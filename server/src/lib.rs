//! An image-classification server: image files in, the most probable classes
//! out.
//!
//! [`core`] serves models and knows no protocol. [`http`] is a transport: it
//! translates between HTTP and the core. [`oip`], [`tfserving`] and [`torchserve`]
//! are what the transports of these protocols share. [`fetch`] fetches images by URL.
//! [`commands`] are the command line's, [`telemetry`] exports traces, and [`config`]
//! reads flags, environment variables and the configuration file. Imports run one way:
//! `commands` -> `http` -> {`oip`, `tfserving`, `torchserve`} -> `config` -> `fetch` ->
//! `core`.
//!
//! ```
//! use resnet_server::core::top_k::top_k;
//!
//! // The two most probable of three classes, from their logits.
//! assert_eq!(top_k(&[0.5, 3.0, 1.0], 0..3, 2), [1, 2]);
//! ```

pub mod cli;
pub mod commands;
pub mod config;
pub mod core;
mod descriptors;
pub mod fetch;
mod grpc;
pub mod http;
pub mod logs;
pub mod oip;
pub mod shutdown;
pub mod telemetry;
pub mod tfserving;
pub mod torchserve;
