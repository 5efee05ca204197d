//! The bounds that every target asserts: memory and processor time.

use std::io::Error;

use crate::memory;

/// What an input may use.
pub struct Bounds {
    /// Bytes in use at once, above those before.
    pub bytes: usize,
    /// Processor time of all threads, in seconds. Generous, because a build with a
    /// sanitizer is slow and the machine may be as well.
    pub seconds: f64,
}

/// Runs `work` and checks what it used.
///
/// # Panics
/// When it used more than `bounds`.
pub fn within<T>(bounds: &Bounds, work: impl FnOnce() -> T) -> T {
    let before = processor_time();
    let (result, bytes) = memory::peak_of(work);
    let seconds = processor_time() - before;
    assert!(
        bytes <= bounds.bytes,
        "{bytes} bytes were in use, and {} are allowed",
        bounds.bytes
    );
    assert!(
        seconds <= bounds.seconds,
        "{seconds:.1} s of processor time were used, and {} s are allowed",
        bounds.seconds
    );
    result
}

/// Seconds of processor time that this process has used.
fn processor_time() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is that of a local variable of the right type.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "{}", Error::last_os_error());
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
