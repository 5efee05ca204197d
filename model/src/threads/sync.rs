//! The synchronisation primitives of the pool, in one module so that
//! `tests/loom.rs` can substitute loom's.

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic};
pub(super) use std::thread::yield_now;
pub(super) use std::time::Instant;
