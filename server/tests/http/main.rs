//! Tests through the real router or a real socket, with fake networks whose
//! results are known.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod access;
mod answers;
mod batching;
mod cache;
mod connections;
mod contract;
mod dialects;
mod drain;
mod encodings;
mod explain;
mod failures;
mod forms;
mod grpc;
mod http2;
mod inputs;
mod metrics;
mod models;
mod oip;
mod pages;
mod refusals;
mod sockets;
mod support;
mod transports;
mod unread;
mod urls;
