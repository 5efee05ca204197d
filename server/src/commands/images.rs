//! Finds the image files that a command line, a list of files, or a folder
//! names.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use preprocess::EXTENSIONS;

use crate::commands::output;

/// Standard input, where a file is expected.
pub const STDIN: &str = "-";

/// Files that a warning names, at most.
const NAMED: usize = 5;

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
    /// The list of files cannot be read.
    #[error("the list of files {} cannot be read: {source}", path.display())]
    List {
        /// Where the list is.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Standard input was named twice.
    #[error("`-` names standard input, which can be read only once; name it once")]
    StdinTwice,
}

/// All given files, and the images in all given folders. A file that was named
/// is an image whatever its extension.
///
/// # Errors
/// When there are no images at all, or standard input is named twice.
pub fn find(paths: &[PathBuf]) -> Result<Found, Error> {
    let is_stdin = |path: &&PathBuf| path.as_os_str() == STDIN;
    if paths.iter().filter(is_stdin).count() > 1 {
        return Err(Error::StdinTwice);
    }
    let mut found = Found::default();
    for path in paths {
        if path.is_dir() && path.as_os_str() != STDIN {
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

/// The paths of a list: one on each line, or ended by NUL bytes, as `find
/// -print0` writes them. `-` is standard input.
///
/// # Errors
/// A list that cannot be read.
pub fn read_list(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut text = Vec::new();
    let read = match path.as_os_str() == STDIN {
        true => io::stdin().lock().read_to_end(&mut text).map(|_| ()),
        false => std::fs::read(path).map(|list| text = list),
    };
    read.map_err(|source| Error::List {
        path: path.to_owned(),
        source,
    })?;
    Ok(paths(&text))
}

fn paths(list: &[u8]) -> Vec<PathBuf> {
    let separator = if list.contains(&0) { 0 } else { b'\n' };
    let lines = list.split(|&byte| byte == separator);
    lines
        .map(|line| match separator {
            0 => line,
            _ => line.strip_suffix(b"\r").unwrap_or(line),
        })
        .filter(|line| !line.is_empty())
        .map(|line| PathBuf::from(OsString::from_vec(line.to_vec())))
        .collect()
}

/// The images in a folder and its subfolders, in the order of their names.
/// Symbolic links to folders are not followed. A folder that cannot be read is
/// reported on standard error and skipped, and so are files that are no images.
#[must_use]
pub fn search(folder: &Path) -> Found {
    let mut found = Found::default();
    let mut skipped = BTreeMap::<&str, Vec<PathBuf>>::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                output::warn(format_args!("a folder is skipped: {error}"));
                found.unreadable += 1;
                continue;
            }
        };
        match reason_to_skip(&entry) {
            None => found.files.push(entry.into_path()),
            Some(Skip::Folder) => {}
            Some(Skip::File(reason)) => skipped.entry(reason).or_default().push(entry.into_path()),
        }
    }
    for (reason, files) in skipped {
        warn_skipped(folder, reason, &files);
    }
    found
}

fn warn_skipped(folder: &Path, reason: &str, files: &[PathBuf]) {
    let name = |file: &PathBuf| {
        let name = file.strip_prefix(folder).unwrap_or(file);
        name.display().to_string()
    };
    let mut names: Vec<String> = files.iter().take(NAMED).map(name).collect();
    if files.len() > NAMED {
        names.push(format!("and {} more", files.len() - NAMED));
    }
    let folder = folder.display();
    let names = names.join(", ");
    output::warn(format_args!("skipped in {folder}, {reason}: {names}"));
}

enum Skip {
    Folder,
    /// With the reason.
    File(&'static str),
}

fn reason_to_skip(entry: &DirEntry) -> Option<Skip> {
    let path = entry.path();
    let extension = path.extension().and_then(OsStr::to_str);
    let extension = extension.unwrap_or_default().to_lowercase();
    let is_image = EXTENSIONS.contains(&extension.as_str());
    // follows a symbolic link; a broken one is reported when it is read
    match path.metadata() {
        Ok(found) if found.is_dir() => return Some(Skip::Folder),
        Ok(found) if !found.is_file() => return Some(Skip::File("not regular files")),
        _ => {}
    }
    if entry.file_name().as_bytes().starts_with(b"._") {
        return Some(Skip::File("metadata of macOS (AppleDouble)"));
    }
    match is_image {
        true => None,
        false => Some(Skip::File("extensions of no supported image format")),
    }
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
        let folder = folder("find", &["z.JPG", "b/a.png", "notes.txt", "._z.JPG"]);
        let found = find(&[folder.clone(), PathBuf::from("no-such-file")]).unwrap();
        let expected = [
            folder.join("b/a.png"),
            folder.join("z.JPG"),
            PathBuf::from("no-such-file"),
        ];
        let named = find(&[folder.join("._z.JPG"), folder.clone()]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.files, expected);
        assert_eq!(named.files.len(), 3);
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

    #[test]
    fn a_list_has_lines_or_nul_bytes_and_any_bytes_in_names() {
        let bytes = |list: &[u8]| -> Vec<Vec<u8>> {
            let paths = paths(list).into_iter();
            paths.map(|path| path.into_os_string().into_vec()).collect()
        };
        assert_eq!(bytes(b"a.jpg\r\n\nb c.png\n"), [&b"a.jpg"[..], b"b c.png"]);
        assert_eq!(bytes(b"a\nb.jpg\0c\xff\0"), [&b"a\nb.jpg"[..], b"c\xff"]);
        assert!(bytes(b"").is_empty());
    }

    #[test]
    fn standard_input_is_named_once() {
        let once = find(&[PathBuf::from(STDIN)]).unwrap();
        assert_eq!(once.files, [PathBuf::from(STDIN)]);
        let twice = find(&[PathBuf::from(STDIN), PathBuf::from(STDIN)]);
        assert!(matches!(twice, Err(Error::StdinTwice)));
    }
}
