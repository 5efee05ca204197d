//! Finds image files in folders.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use preprocess::EXTENSIONS;

use crate::commands::output;

/// Image files, and what could not be searched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The number of folders that could not be read.
    pub unreadable: usize,
}

/// Why there is nothing to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folders contain no image files.
    #[error(
        "no image files in {place}; files with these extensions are images: {}",
        EXTENSIONS.join(", ")
    )]
    NoImages {
        /// Which folders were searched.
        place: String,
    },
}

/// All given files, and the images in all given folders. A file that was named
/// is an image whatever its extension.
///
/// # Errors
/// When there are no images at all.
pub fn find(paths: &[PathBuf]) -> Result<Found, Error> {
    let mut found = Found::default();
    for path in paths {
        if path.is_dir() {
            let folder = search(path);
            found.files.extend(folder.files);
            found.unreadable += folder.unreadable;
        } else {
            // a missing file is reported when it is read
            found.files.push(path.clone());
        }
    }
    if found.files.is_empty() {
        let named: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Error::NoImages {
            place: named.join(", "),
        });
    }
    Ok(found)
}

/// The images in a folder and its subfolders, in the order of their names.
/// Symbolic links to folders are not followed. A folder that cannot be read is
/// reported on standard error and skipped.
#[must_use]
pub fn search(folder: &Path) -> Found {
    let mut found = Found::default();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        match entry {
            Ok(entry) if is_image(&entry) => found.files.push(entry.into_path()),
            Ok(_) => {}
            Err(error) => {
                output::warn(format_args!("a folder is skipped: {error}"));
                found.unreadable += 1;
            }
        }
    }
    found
}

fn is_image(entry: &DirEntry) -> bool {
    let extension = entry.path().extension().and_then(OsStr::to_str);
    let extension = extension.unwrap_or_default().to_lowercase();
    // `is_dir` follows a symbolic link
    EXTENSIONS.contains(&extension.as_str()) && !entry.path().is_dir()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(name: &str, files: &[&str]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("resnet-{name}-{}", std::process::id()));
        for file in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        folder
    }

    #[test]
    fn folders_are_searched_and_named_files_are_always_taken() {
        let folder = folder("find", &["z.JPG", "b/a.png", "notes.txt"]);
        let found = find(&[folder.clone(), PathBuf::from("no-such-file")]).unwrap();
        let expected = [
            folder.join("b/a.png"),
            folder.join("z.JPG"),
            PathBuf::from("no-such-file"),
        ];
        let nothing = find(&[folder.join("b/a.png"), folder.clone()]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.files, expected);
        assert_eq!(nothing.files.len(), 3);
    }

    #[test]
    fn symbolic_links_to_files_are_followed_and_to_folders_not() {
        let folder = folder("links", &["a/1.png", "b/2.png"]);
        symlink(folder.join("b"), folder.join("a/loop.png")).unwrap();
        symlink(folder.join("b/2.png"), folder.join("a/3.png")).unwrap();
        let found = search(&folder.join("a"));
        let expected = vec![folder.join("a/1.png"), folder.join("a/3.png")];
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.files, expected);
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_counted_and_skipped() {
        // a missing folder fails as one without permission does, also for root
        assert_eq!(
            search(Path::new("/no/such/folder")),
            Found {
                files: Vec::new(),
                unreadable: 1
            }
        );
    }

    #[test]
    fn a_folder_without_images_is_an_error() {
        let folder = folder("no-images", &["notes.txt"]);
        let error = find(std::slice::from_ref(&folder)).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(error.contains("resnet-no-images"), "{error}");
        assert!(error.contains("jpg, jpeg,"), "{error}");
    }
}
