//! Reads a labelled dataset: images with the class of each, as a folder for each
//! class or as a CSV file.

use std::io;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use weights::Labels;

use crate::commands::class_names::{ClassNames, Found};
use crate::commands::images;

/// Images and, in the same order, their classes.
#[derive(Debug, Default)]
pub struct Dataset {
    /// Image files.
    pub images: Vec<PathBuf>,
    /// Index of each image's class in the logits.
    pub classes: Vec<usize>,
}

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is not CSV.
    #[error("{} is not a valid CSV file: {source}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// The error of the parser.
        source: csv::Error,
    },
    /// A class that the model does not have.
    #[error(
        "{at}: `{class}` is not a class of this model; use the WordNet ID, label or index of \
         one of its {count} classes"
    )]
    UnknownClass {
        /// Folder, or file and line.
        at: String,
        /// The class as given.
        class: String,
        /// How many classes the model has.
        count: usize,
    },
    /// A name of several classes.
    #[error(
        "{at}: `{class}` could be {meanings}; use the WordNet ID or the index in the CSV file, or rename the folder"
    )]
    AmbiguousClass {
        /// Folder, or file and line.
        at: String,
        /// The class as given.
        class: String,
        /// The classes that it could be, and why.
        meanings: String,
    },
    /// A line that does not have two fields.
    #[error(
        "{at}: expected `image,class`, found {found} field(s); put a field that contains a \
         comma between double quotes"
    )]
    Fields {
        /// File and line.
        at: String,
        /// The number of fields.
        found: usize,
    },
    /// No images.
    #[error(transparent)]
    Images(#[from] images::Error),
}

/// Reads a dataset: a folder with a folder of images for each class, or a CSV
/// file whose image paths are relative to the folder of the file.
///
/// # Errors
/// A dataset that cannot be read, or a class that the model does not have.
pub fn read(path: &Path, labels: &Labels) -> Result<Dataset, Error> {
    let names = ClassNames::new(labels);
    if path.is_dir() {
        read_folders(path, &names)
    } else {
        read_csv(path, &names)
    }
}

fn read_folders(path: &Path, names: &ClassNames) -> Result<Dataset, Error> {
    let folders = class_folders(path).map_err(read_error(path))?;
    let mut dataset = Dataset::default();
    let in_order = names.are_numbered() && folders.len() == names.count();
    for (position, folder) in folders.iter().enumerate() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let at = || folder.display().to_string();
        let class = match names.find(&name) {
            // the classes have no names: their order is that of the folders,
            // as torchvision's `ImageFolder` numbers them
            Found::Nothing if in_order => position,
            Found::One(index) if in_order && index != position => {
                return Err(Error::AmbiguousClass {
                    at: at(),
                    class: name.into_owned(),
                    meanings: format!(
                        "class {index} by its name or class {position} by the order of the folders"
                    ),
                });
            }
            found => class_of(found, &name, names, &at)?,
        };
        let found = images::search(folder);
        if found.files.is_empty() && found.unreadable == 0 {
            let place = folder.display().to_string();
            return Err(images::Error::NoImages { place }.into());
        }
        let count = found.files.len();
        dataset.classes.extend(std::iter::repeat_n(class, count));
        dataset.images.extend(found.files);
    }
    if dataset.images.is_empty() {
        let place = format!("{} (it needs a folder for each class)", path.display());
        return Err(images::Error::NoImages { place }.into());
    }
    Ok(dataset)
}

/// The class that a name stands for.
fn class_of(
    found: Found,
    class: &str,
    names: &ClassNames,
    at: &dyn Fn() -> String,
) -> Result<usize, Error> {
    match found {
        Found::One(index) => Ok(index),
        Found::Several(meanings) => Err(Error::AmbiguousClass {
            at: at(),
            class: class.to_owned(),
            meanings,
        }),
        Found::Nothing => Err(Error::UnknownClass {
            at: at(),
            class: class.to_owned(),
            count: names.count(),
        }),
    }
}

/// The folders in a folder, sorted by name.
fn class_folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path)?;
    let mut folders = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    Ok(folders)
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Read { path, source }
}

fn read_csv(path: &Path, names: &ClassNames) -> Result<Dataset, Error> {
    let csv_error = |source| Error::Csv {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read(path).map_err(read_error(path))?;
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(text.as_slice());
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut dataset = Dataset::default();
    let mut is_first = true;
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        if record.iter().all(str::is_empty) {
            continue;
        }
        let at = || format!("{}:{}", path.display(), line(&text, &record));
        let (image, class) = fields(&record, &at)?;
        let image = folder.join(image);
        let is_header = is_first && !image.exists() && is_heading(class, names);
        is_first = false;
        if is_header {
            continue;
        }
        dataset
            .classes
            .push(class_of(names.find(class), class, names, &at)?);
        dataset.images.push(image);
    }
    if dataset.images.is_empty() {
        let place = path.display().to_string();
        return Err(images::Error::NoImages { place }.into());
    }
    Ok(dataset)
}

/// Names of the second column.
const HEADINGS: [&str; 8] = [
    "class",
    "label",
    "category",
    "target",
    "wnid",
    "synset",
    "class_name",
    "class_id",
];

/// Whether the second field of the first line, whose first field names no existing
/// image, is the name of the column.
fn is_heading(class: &str, names: &ClassNames) -> bool {
    let heading = class.trim().to_lowercase().replace(' ', "_");
    HEADINGS.contains(&heading.as_str()) || matches!(names.find(class), Found::Nothing)
}

/// The line of a record, counted from 1. The position of a record is before the
/// empty lines that precede it.
fn line(text: &[u8], record: &StringRecord) -> usize {
    let Some(position) = record.position() else {
        return 0;
    };
    let rest = &text[(position.byte() as usize).min(text.len())..];
    let empty = rest.iter().take_while(|byte| b"\r\n".contains(byte));
    position.line() as usize + empty.filter(|&&byte| byte == b'\n').count()
}

/// The image and the class of a record.
fn fields<'a>(
    record: &'a StringRecord,
    at: &dyn Fn() -> String,
) -> Result<(&'a str, &'a str), Error> {
    // quotes after a space are part of the field in CSV
    let field = |i: usize| record[i].trim_matches('"');
    match record.len() {
        2 => Ok((field(0), field(1))),
        found => Err(Error::Fields { at: at(), found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dataset of a CSV file with this content.
    fn read_text(name: &str, text: &str) -> Result<Dataset, String> {
        let file = std::env::temp_dir().join(format!("resnet-{name}-{}.csv", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let dataset = read(&file, &Labels::imagenet1k());
        std::fs::remove_file(&file).unwrap();
        dataset.map_err(|error| error.to_string())
    }

    #[test]
    fn a_csv_file_may_have_a_header() {
        let text = "photo,class\na.jpg,tench\n\nsub/b.jpg,\"n01443537\"\n";
        let Dataset { images, classes } = read_text("csv", text).unwrap();
        assert_eq!(classes, [0, 1]);
        assert!(images[1].ends_with("sub/b.jpg"));
        let wrong = read_text("csv", "photo,class\na.jpg,unicorn\n").unwrap_err();
        assert!(wrong.contains(":2"), "{wrong}");
        let second = read_text("csv", "a.jpg,tench\nphoto,class\n").unwrap_err();
        assert!(second.contains(":2"), "{second}");
    }

    #[test]
    fn a_header_may_be_the_name_of_a_class_and_an_ambiguous_class_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.csv");
        let labels = Labels::from_names(["label", "2", "7"].map(str::to_owned));
        let read_text = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read(&file, &labels).map_err(|error| error.to_string())
        };
        assert_eq!(read_text("image,label\na.jpg,7\n").unwrap().classes, [2]);
        // label "2" is class 1, index 2 is label "7"
        let error = read_text("image,label\na.jpg,2\n").unwrap_err();
        assert!(
            error.contains(
                ":2: `2` could be class 1 (`2`) by its label or class 2 (`7`) by its index"
            ),
            "{error}"
        );
    }

    #[test]
    fn folders_of_digits_without_labels_are_refused_where_order_and_index_differ() {
        let folder = tempfile::tempdir().unwrap();
        let of = |count: usize| {
            for class in 0..count {
                let class = folder.path().join(class.to_string());
                std::fs::create_dir_all(&class).unwrap();
                std::fs::write(class.join("a.png"), b"").unwrap();
            }
            let read = read(folder.path(), &Labels::numbered(count));
            read.map_err(|error| error.to_string())
        };
        assert_eq!(of(10).unwrap().classes, (0..10).collect::<Vec<_>>());
        // 0, 1, 10, 2, ...
        let error = of(11).unwrap_err();
        assert!(
            error.contains("class 10 by its name or class 2 by the order"),
            "{error}"
        );
    }

    #[test]
    fn quotes_commas_and_a_byte_order_mark_are_read() {
        let text = "\u{feff}\"a, \"\"b\"\".jpg\",\"tench\"\r\n c.jpg , \"great white shark\" \r\n";
        let Dataset { images, classes } = read_text("csv-quotes", text).unwrap();
        assert_eq!(classes, [0, 2]);
        assert!(images[0].ends_with("a, \"b\".jpg"), "{images:?}");
        assert!(images[1].ends_with("c.jpg"), "{images:?}");
    }

    #[test]
    fn a_line_has_two_fields() {
        let error = read_text("csv-fields", "a.jpg,tench\n\nb.jpg\n").unwrap_err();
        assert!(
            error.contains(":3: expected `image,class`, found 1"),
            "{error}"
        );
        let error = read_text("csv-fields", "a,b.jpg,tench\n").unwrap_err();
        assert!(error.contains("found 3 field(s)"), "{error}");
        let error = read_text("csv-fields", "image,class\n").unwrap_err();
        assert!(error.contains("no image files"), "{error}");
    }

    #[test]
    fn class_folders_are_read_in_order() {
        let folder = std::env::temp_dir().join(format!("resnet-dataset-{}", std::process::id()));
        for file in ["tench/b.png", "tench/a.jpg", "n01443537/c.gif", "file.png"] {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let dataset = read(&folder, &Labels::imagenet1k());
        let numbered = read(&folder, &Labels::numbered(2)).unwrap();
        std::fs::create_dir(folder.join("0")).unwrap();
        let empty = read(&folder, &Labels::imagenet1k()).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        let dataset = dataset.unwrap();
        assert_eq!(dataset.classes, [1, 0, 0]);
        assert!(dataset.images[1].ends_with("tench/a.jpg"));
        assert_eq!(numbered.classes, [0, 1, 1]);
        assert!(empty.to_string().contains("no image files"), "{empty}");
    }
}
