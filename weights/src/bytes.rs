//! The bytes of a checkpoint file: compiled into the program, memory-mapped, or
//! copied into memory. Pages of a mapped file are released after each read, so
//! that a file does not count twice against the memory of the process.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The kernel maps up to this many bytes around a page that is accessed.
const FAULT_AROUND: usize = 1 << 16;
/// Bytes hashed between two releases.
const HASH_CHUNK: usize = 1 << 20;

/// How the bytes of a checkpoint's files are accessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Memory-mapped: tensors are read from the page cache and the file takes
    /// no memory of the process. The file must not be truncated or overwritten
    /// while the checkpoint is in use: on Unix, reading past the new end of a
    /// mapped file ends the process with SIGBUS. Replacing the file with
    /// `rename` is safe.
    #[default]
    Mapped,
    /// Copied into memory when the checkpoint is opened, and held there until
    /// it is dropped. A file that changes during the copy is
    /// [`Error::Changed`]; later changes have no effect.
    Copied,
}

/// The bytes of one file; they are valid for the life of the checkpoint.
pub(crate) enum Bytes {
    /// Compiled into the program.
    Static(&'static [u8]),
    Mapped(Mmap),
    Copied(Vec<u8>),
}

impl Bytes {
    /// Opens a regular file. Anything else (a pipe, a device) is rejected,
    /// because reading it could block forever.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        if !path.metadata().map_err(read)?.is_file() {
            return Err(read(io::Error::other("not a regular file")));
        }
        let file = File::open(path).map_err(read)?;
        match access {
            Access::Mapped => {
                // SAFETY: the map is read-only, and everything parsed from it is
                // copied before use. The file must not be truncated meanwhile:
                // `Access::Mapped` documents this and `Access::Copied` is the
                // alternative.
                let map = unsafe { Mmap::map(&file) }.map_err(read)?;
                Ok(Self::Mapped(map))
            }
            Access::Copied => match copy(&file).map_err(read)? {
                Some(bytes) => Ok(Self::Copied(bytes)),
                None => Err(Error::Changed {
                    path: path.to_owned(),
                }),
            },
        }
    }

    /// Releases the pages of `range` in a mapped file. They are loaded from the
    /// file again on the next access.
    pub(crate) fn release(&self, range: &Range<usize>) {
        let Self::Mapped(map) = self else { return };
        #[cfg(unix)]
        {
            let start = range.start - range.start % FAULT_AROUND;
            let end = range.end.next_multiple_of(FAULT_AROUND).min(map.len());
            // SAFETY: the map is shared and read-only, so a released page holds
            // nothing that is not in the file.
            let released = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start)
            };
            if let Err(error) = released {
                tracing::debug!(%error, "pages of a checkpoint stay resident");
            }
        }
        #[cfg(not(unix))]
        let _ = (map, range);
    }
}

/// The content of `file`, or `None` if the file changed during the copy.
fn copy(file: &File) -> io::Result<Option<Vec<u8>>> {
    let before = file.metadata()?;
    let bytes = read_exactly(file, before.len())?;
    let after = file.metadata()?;
    let unchanged = before.len() == after.len() && before.modified().ok() == after.modified().ok();
    Ok(bytes.filter(|_| unchanged))
}

/// The bytes of `reader`, or `None` if there are not exactly `length` of them.
/// Never reads more than one byte beyond `length`.
fn read_exactly(reader: impl Read, length: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let capacity = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // One more byte, so that the read that finds the end does not grow the buffer.
    bytes.try_reserve_exact(capacity.saturating_add(1))?;
    reader
        .take(length.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() == capacity).then_some(bytes))
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Mapped(map) => map,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// SHA-256, in hexadecimal, of the concatenated files.
pub(crate) fn sha256(files: &[Bytes]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        for start in (0..file.len()).step_by(HASH_CHUNK) {
            let range = start..file.len().min(start + HASH_CHUNK);
            hash.update(&file[range.clone()]);
            file.release(&range);
        }
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_shrinks_or_grows_during_the_copy_is_detected() {
        let read = |content: &[u8], length| read_exactly(content, length).unwrap();
        assert_eq!(read(b"four", 4).as_deref(), Some(&b"four"[..]));
        assert_eq!(read(b"", 0).as_deref(), Some(&b""[..]));
        assert_eq!(read(b"fou", 4), None, "the file was truncated");
        assert_eq!(read(b"four and more", 4), None, "the file has grown");
    }

    #[test]
    fn a_length_beyond_any_memory_is_an_error() {
        let error = read_exactly(&b""[..], u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
