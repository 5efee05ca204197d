//! What the gate and the team are built of, in one place: `tests/loom.rs` puts
//! loom's in its stead.

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic};
pub(super) use std::thread::yield_now;
pub(super) use std::time::Instant;
