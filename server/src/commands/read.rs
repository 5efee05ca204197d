//! Reads image files of any kind: regular files, pipes and standard input.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::commands::images::STDIN;

/// Bytes of the largest file. No image within the limit on pixels is larger.
const LARGEST_FILE: u64 = 2 << 30;

/// The bytes of a file. A pipe whose other end is closed is empty: waiting for
/// a writer would hold up the files after it.
///
/// # Errors
/// Those of the operating system, and anything that is not a file of a
/// reasonable size.
pub async fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.as_os_str() == STDIN {
        return read_limited(io::stdin().lock());
    }
    let found = std::fs::metadata(path)?;
    if found.is_file() {
        return read_limited(File::open(path)?);
    }
    if !found.file_type().is_fifo() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    let pipe = pipe::OpenOptions::new().open_receiver(path)?;
    let mut pipe = File::from(pipe.into_nonblocking_fd()?);
    let mut bytes = vec![0; 64 << 10];
    match pipe.read(&mut bytes) {
        // The other end is closed.
        Ok(0) => return Ok(Vec::new()),
        Ok(length) => bytes.truncate(length),
        // An empty pipe that is open for writing: the bytes will come.
        Err(error) if error.kind() == ErrorKind::WouldBlock => bytes.clear(),
        Err(error) => return Err(error),
    }
    let rest = pipe::Receiver::from_file(pipe)?;
    rest.take(LARGEST_FILE + 1).read_to_end(&mut bytes).await?;
    checked(bytes)
}

fn read_limited(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    checked(bytes)
}

fn checked(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    match bytes.len() as u64 {
        0..=LARGEST_FILE => Ok(bytes),
        _ => Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has more than {LARGEST_FILE} bytes"),
        )),
    }
}
