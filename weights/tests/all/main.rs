//! The crate from outside: every naming, every format, every source.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod common;
mod files;
mod golden;
mod pth;
