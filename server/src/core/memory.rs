//! Keeps the allocator from holding on to the memory of unloaded models.
//!
//! glibc serves large blocks by `mmap`, which returns them to the operating
//! system when they are freed. But it raises the size from which it does so up
//! to 32 MiB, and keeps smaller freed blocks in the arena of each thread. A load
//! allocates and frees such blocks on whichever thread runs it, and resident
//! memory would grow with the number of threads. Repeated loads therefore return
//! them, at the price of more page faults.

/// While it exists, all large blocks are returned when they are freed.
pub struct LargeBlocksReturned(());

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::sync::{Mutex, PoisonError};

    use super::LargeBlocksReturned;

    /// Loads in progress.
    static LOADS: Mutex<usize> = Mutex::new(0);

    /// During loads, and otherwise: glibc's own largest threshold.
    const DURING_LOADS: i32 = 256 << 10;
    const OTHERWISE: i32 = 32 << 20;

    impl LargeBlocksReturned {
        /// Begins the time of a load.
        #[must_use]
        pub fn during_load() -> Self {
            count(|loads| loads + 1);
            Self(())
        }
    }

    impl Drop for LargeBlocksReturned {
        fn drop(&mut self) {
            count(|loads| loads - 1);
        }
    }

    fn count(change: impl FnOnce(usize) -> usize) {
        let mut loads = LOADS.lock().unwrap_or_else(PoisonError::into_inner);
        *loads = change(*loads);
        let threshold = if *loads > 0 { DURING_LOADS } else { OTHERWISE };
        // SAFETY: any thread may set these parameters of the allocator at any
        // time; blocks that are allocated stay valid.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, threshold);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * threshold);
        }
    }

    /// Returns freed blocks that the allocator still holds to the operating
    /// system.
    pub fn release_free_memory() {
        // SAFETY: any thread may call it at any time; blocks that are allocated
        // stay valid.
        unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    use super::LargeBlocksReturned;

    impl LargeBlocksReturned {
        /// Other allocators need no help.
        #[must_use]
        pub fn during_load() -> Self {
            Self(())
        }
    }

    /// Other allocators need no help.
    pub fn release_free_memory() {}
}

pub use glibc::release_free_memory;
