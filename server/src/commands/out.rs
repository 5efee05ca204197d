//! What the commands print. A reader that has gone (`resnet models | head`)
//! ends them without a word, as it ends other tools.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// What a shell sees of a process that a closed pipe ended: 128 and SIGPIPE.
const NOBODY_READS: i32 = 128 + 13;

/// Prints a line, as `println!` does, but gives its failure back.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::commands::out::line(format_args!($($text)*))
    };
}
pub(crate) use say;

pub(crate) fn line(text: Arguments) -> io::Result<()> {
    write(&format!("{text}\n"))
}

/// Prints whole lines.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let written = io::stdout().lock().write_all(text.as_bytes());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(NOBODY_READS),
        written => written,
    }
}
