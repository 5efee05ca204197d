//! The crate from outside: every naming, every format, every source.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod allocations;
mod common;
mod convert;
mod damage;
mod files;
mod folders;
mod golden;
mod hub;
mod hub_server;
mod labels;
mod pickles;
mod pth;
