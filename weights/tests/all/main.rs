//! The crate from outside: every naming, every format, every source.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod allocations;
mod common;
mod damage;
mod files;
mod golden;
mod pickles;
mod pth;
