//! Integration tests: every naming, format and source of a checkpoint.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod allocations;
mod common;

mod damage;
mod files;
mod folders;
mod golden;
mod grey;
mod hub;
mod hub_cache;
mod hub_server;
mod labels;
mod pickles;
mod processors;
mod pth;
mod qtensors;
mod reload;
mod statements;
mod training;
mod write;
