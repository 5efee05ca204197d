//! A checkpoint file's bytes: part of the program, or mapped from disk and
//! let go of page by page once read, so that a file never counts twice
//! against the memory of the process that loads it.

use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The kernel maps up to this many bytes around a page that is touched.
const FAULT_AROUND: usize = 1 << 16;
/// Bytes hashed between two releases.
const HASHED_AT_ONCE: usize = 1 << 20;

/// Bytes that outlive every read of a checkpoint.
pub(crate) enum Bytes {
    /// Built into the program.
    Static(&'static [u8]),
    /// A file's.
    Mapped(Mmap),
}

impl Bytes {
    /// Maps a regular file; anything else (a pipe, a device) could block for
    /// ever and is refused.
    pub(crate) fn map(path: &Path) -> Result<Self> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        if !path.metadata().map_err(read)?.is_file() {
            return Err(read(std::io::Error::other("not a regular file")));
        }
        let file = std::fs::File::open(path).map_err(read)?;
        // SAFETY: the map is read-only, and what is parsed out of it is copied
        // before it is used. A file that another process shortens meanwhile
        // is the caveat of every memory-mapped checkpoint.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        Ok(Self::Mapped(map))
    }

    /// Lets go of the pages of `range`; they come back from the file when
    /// they are read again.
    pub(crate) fn release(&self, range: &Range<usize>) {
        let Self::Mapped(map) = self else { return };
        #[cfg(unix)]
        {
            let start = range.start - range.start % FAULT_AROUND;
            let end = range.end.next_multiple_of(FAULT_AROUND).min(map.len());
            // SAFETY: the map is shared and read-only, so that a dropped page
            // holds nothing that the file does not.
            let dropped = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start)
            };
            if let Err(error) = dropped {
                tracing::debug!(%error, "pages of a checkpoint stay resident");
            }
        }
        #[cfg(not(unix))]
        let _ = (map, range);
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

/// SHA-256 in hexadecimal of the files' bytes, one file after another.
pub(crate) fn sha256(files: &[Bytes]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        for start in (0..file.len()).step_by(HASHED_AT_ONCE) {
            let range = start..file.len().min(start + HASHED_AT_ONCE);
            hash.update(&file[range.clone()]);
            file.release(&range);
        }
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
