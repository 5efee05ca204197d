//! Everything that goes through the real router or a real socket, with a
//! network behind it whose answers are known.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod batching;
mod contract;
mod drain;
mod failures;
mod forms;
mod metrics;
mod pages;
mod sockets;
mod support;
