//! Reads a labelled dataset: images with the class of each, as a folder for each
//! class or as a CSV file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use weights::Labels;

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

/// Classes by all their names.
struct ClassNames {
    by_name: HashMap<String, usize>,
    count: usize,
    /// Whether the labels are only numbered: `class_0`, `class_1`, ...
    numbered: bool,
}

impl ClassNames {
    fn new(labels: &Labels) -> Self {
        let mut by_name = HashMap::new();
        for (index, label) in labels.iter().enumerate() {
            by_name.entry(index.to_string()).or_insert(index);
            by_name.entry(normalized(&label.name)).or_insert(index);
        }
        for (index, label) in labels.iter().enumerate() {
            if let Some(wnid) = &label.wnid {
                by_name.insert(wnid.to_lowercase(), index);
            }
        }
        Self {
            by_name,
            count: labels.len(),
            numbered: *labels == Labels::numbered(labels.len()),
        }
    }

    fn find(&self, class: &str, at: &dyn Fn() -> String) -> Result<usize, Error> {
        let found = self.by_name.get(&normalized(class)).copied();
        found.ok_or_else(|| Error::UnknownClass {
            at: at(),
            class: class.to_owned(),
            count: self.count,
        })
    }
}

/// Names are compared without case, and spaces are equal to underscores.
fn normalized(name: &str) -> String {
    name.trim().to_lowercase().replace(' ', "_")
}

fn read_folders(path: &Path, names: &ClassNames) -> Result<Dataset, Error> {
    let folders = class_folders(path).map_err(read_error(path))?;
    let mut dataset = Dataset::default();
    let in_order = names.numbered && folders.len() == names.count;
    for (position, folder) in folders.iter().enumerate() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let class = match names.find(&name, &|| folder.display().to_string()) {
            // the classes have no names: their order is that of the folders,
            // as torchvision's `ImageFolder` numbers them
            Err(_) if in_order => position,
            found => found?,
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
        match names.find(class, &at) {
            Ok(class) => {
                dataset.images.push(image);
                dataset.classes.push(class);
            }
            // the header, if there is one, names no existing image
            Err(_) if is_first && !image.exists() => {}
            Err(error) => return Err(error),
        }
        is_first = false;
    }
    if dataset.images.is_empty() {
        let place = path.display().to_string();
        return Err(images::Error::NoImages { place }.into());
    }
    Ok(dataset)
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
    fn a_class_is_found_by_wnid_name_or_index() {
        let labels = Labels::imagenet1k();
        let names = ClassNames::new(&labels);
        for class in ["n01440764", "tench", "Tench", "0"] {
            assert_eq!(names.find(class, &String::new).unwrap(), 0, "{class}");
        }
        assert_eq!(names.find("great_white_shark", &String::new).unwrap(), 2);
        let error = names
            .find("unicorn", &|| "here".into())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("here") && error.contains("unicorn"),
            "{error}"
        );
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
