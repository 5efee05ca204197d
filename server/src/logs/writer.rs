//! A bounded writer for the log. Lines are queued, and one thread writes them.
//! If the reader of the log is slow or stalled, or has closed the pipe, lines are
//! dropped and counted; no request ever waits for the log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of the lines that wait to be written.
const MOST_BYTES: usize = 4 << 20;

/// The writing end of the queue; clones share it.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Queue>);

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A line has been taken from the queue and is not written yet.
    writing: bool,
    dropped: u64,
}

impl LogWriter {
    /// Starts the thread that writes to `file`.
    ///
    /// # Errors
    /// When the operating system cannot start a thread.
    pub(super) fn start(file: File) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let lines = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || lines.write_all_to(file))?;
        Ok(Self(queue))
    }

    /// Lines that could not be queued or written.
    #[must_use]
    pub(super) fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    /// Waits until all lines are written, but not longer than `limit`.
    pub(super) fn flush_within(&self, limit: Duration) {
        let queue = &self.0;
        let is_busy = |state: &mut State| state.writing || !state.lines.is_empty();
        // At the end of the process nothing is left to do about a poisoned lock.
        let _ = queue
            .changed
            .wait_timeout_while(queue.lock(), limit, is_busy);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.bytes + line.len() > MOST_BYTES {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        self.changed.notify_all();
    }

    fn write_all_to(&self, mut file: File) {
        loop {
            let line = self.next();
            let written = file.write_all(&line);
            let mut state = self.lock();
            state.writing = false;
            state.bytes -= line.len();
            state.dropped += u64::from(written.is_err());
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.writing = true;
                return line;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Write for LogWriter {
    /// The log writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;

    fn pipe() -> (io::PipeReader, LogWriter) {
        let (reader, writer) = io::pipe().unwrap();
        let log = LogWriter::start(File::from(OwnedFd::from(writer))).unwrap();
        (reader, log)
    }

    #[test]
    fn lines_arrive_in_order() {
        let (mut reader, mut log) = pipe();
        for line in ["a\n", "b\n", "c\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        log.flush_within(Duration::from_secs(20));
        let mut text = [0; 6];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"a\nb\nc\n");
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_no_time() {
        let (reader, mut log) = pipe();
        let line = vec![b'x'; 64 << 10];
        for _ in 0..1000 {
            log.write_all(&line).unwrap();
        }
        let dropped = log.dropped();
        assert!((900..1000).contains(&dropped), "{dropped}");
        log.flush_within(Duration::from_millis(10));
        drop(reader);
    }

    #[test]
    fn a_reader_that_is_gone_costs_every_line() {
        let (reader, mut log) = pipe();
        drop(reader);
        for _ in 0..3 {
            log.write_all(b"line\n").unwrap();
        }
        let began = Instant::now();
        while log.dropped() < 3 {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
    }
}
