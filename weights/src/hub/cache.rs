//! The cache of repositories on disk, in the layout of Hugging Face's libraries:
//!
//! ```text
//! models--ORGANISATION--NAME/
//!   refs/REVISION              the commit of a branch or tag
//!   blobs/ETAG                 contents; those of large files by their SHA-256
//!   snapshots/COMMIT/FILE      links to the blobs
//!   .no_exist/COMMIT/FILE      files that the commit does not have
//! .locks/models--.../ETAG.lock
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of one repository.
pub(super) struct RepositoryCache {
    cache: PathBuf,
    name: String,
}

impl RepositoryCache {
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        Self {
            cache: cache.to_owned(),
            name: format!("models--{}", id.replace('/', "--")),
        }
    }

    fn folder(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    /// The commit that a branch or a tag pointed to.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder().join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Remembers the commit of a branch or a tag.
    pub(super) fn refer(&self, revision: &str, commit: &str) -> io::Result<()> {
        write(&self.folder().join("refs").join(revision), commit)
    }

    /// The folder with the files of a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder().join("blobs").join(etag)
    }

    /// Whether it is known that the commit has no such file.
    pub(super) fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.marker(commit, file).exists()
    }

    /// Remembers that the commit has no such file.
    pub(super) fn remember_absent(&self, commit: &str, file: &str) -> io::Result<()> {
        write(&self.marker(commit, file), "")
    }

    fn marker(&self, commit: &str, file: &str) -> PathBuf {
        self.folder().join(".no_exist").join(commit).join(file)
    }

    /// Links a file of a commit to its blob.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> io::Result<PathBuf> {
        let path = self.snapshot(commit).join(file);
        let blob = self.blob(etag);
        if path.exists() {
            return Ok(path);
        }
        fs::create_dir_all(self.snapshot(commit))?;
        // a link to a blob that was removed
        let _ = fs::remove_file(&path);
        match link_to(&blob, etag, &path) {
            // another process was faster
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.exists() => Ok(path),
            linked => linked.map(|()| path),
        }
    }

    /// The file that a process locks while it downloads a blob.
    pub(super) fn lock_file(&self, etag: &str) -> io::Result<File> {
        let folder = self.cache.join(".locks").join(&self.name);
        fs::create_dir_all(&folder)?;
        File::create(folder.join(format!("{etag}.lock")))
    }
}

/// Removes a file of a snapshot, and its blob.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let blob = path.canonicalize();
    fs::remove_file(path)?;
    match blob {
        Ok(blob) if blob != path && blob.exists() => fs::remove_file(blob),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn link_to(_: &Path, etag: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), path)
}

#[cfg(not(unix))]
fn link_to(blob: &Path, _: &str, path: &Path) -> io::Result<()> {
    fs::copy(blob, path).map(drop)
}

/// Writes a small file at once, so that other processes never see a part of it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), text)?;
    file.persist(path)?;
    Ok(())
}
