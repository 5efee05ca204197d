//! Standard output and standard error of the commands. A closed output pipe
//! (`resnet models | head`) ends a command quietly, as other Unix tools do.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

/// The exit status that a shell reports for a process that SIGPIPE ended:
/// 128 and the signal's number.
const CLOSED_PIPE: i32 = 128 + 13;

/// Prints a line, as `println!` does, but returns the error instead of
/// panicking.
macro_rules! print_line {
    ($($text:tt)*) => {
        $crate::commands::output::line(format_args!($($text)*))
    };
}
pub(crate) use print_line;

pub(crate) fn line(text: Arguments) -> io::Result<()> {
    write(&format!("{text}\n"))
}

/// Prints whole lines.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let written = io::stdout().lock().write_all(text.as_bytes());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(CLOSED_PIPE),
        written => written,
    }
}

/// Prints a warning to standard error.
pub(crate) fn warn(text: Arguments) {
    // a closed standard error is no reason to stop
    let _ = writeln!(io::stderr().lock(), "warning: {text}");
}

/// Prints a line about the progress to standard error.
pub(crate) fn note(text: Arguments) {
    // as above
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The exit status of a command whose output is complete: 0, or 1 if something
/// that was asked for is missing.
pub(crate) fn exit_status(succeeded: bool) -> ExitCode {
    match succeeded {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// A progress bar on standard error, for a number of images. It is invisible
/// if standard error is not a terminal.
pub(crate) fn progress_bar(images: usize) -> ProgressBar {
    let bar = ProgressBar::new(images as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} images  {per_sec}  {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
