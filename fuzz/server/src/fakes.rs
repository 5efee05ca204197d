//! The fake network and its loader, which the tests of HTTP use as well.

#![allow(dead_code, reason = "the tests use more of it")]

#[path = "../../../server/tests/http/support/gate.rs"]
pub(crate) mod gate;
#[path = "../../../server/tests/http/support/loader.rs"]
pub(crate) mod loader;
#[path = "../../../server/tests/http/support/network.rs"]
pub(crate) mod network;
