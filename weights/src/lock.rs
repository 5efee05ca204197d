//! Locks of files, which processes that share a cache hold during a download.

use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;

/// How often a lock that another process holds is tried.
const INTERVAL: Duration = Duration::from_millis(200);

/// Waits until no other process holds the lock on `file`, which is released when it is
/// closed, or when the process ends. `name` is what is downloaded, for the log.
pub(crate) fn wait_for(file: &File, name: &str) -> io::Result<()> {
    let mut waits = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {
                if !waits {
                    tracing::info!(file = name, "another process downloads it; waiting");
                    waits = true;
                }
                std::thread::sleep(INTERVAL);
            }
            // Some network file systems have no locks. Two downloads could then
            // damage each other's file, which the checksum detects.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(());
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
