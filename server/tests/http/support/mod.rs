//! Fakes and helpers that the tests share: networks and a loader whose results
//! are known, a server in front of them, and a client.

pub(crate) mod client;
pub(crate) mod gate;
pub(crate) mod grpc;
pub(crate) mod keys;
pub(crate) mod listening;
pub(crate) mod loader;
pub(crate) mod network;
pub(crate) mod seeing;
pub(crate) mod server;
