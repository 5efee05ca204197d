//! Photos with the class each of them shows: folders named by class, or a CSV.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use weights::Labels;

use super::photos;

/// Photos and, in the same order, the indices of their classes.
#[derive(Debug)]
pub struct Labelled {
    /// Files.
    pub photos: Vec<PathBuf>,
    /// Positions among the network's outputs.
    pub classes: Vec<usize>,
}

/// Why the data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A class that the network does not know.
    #[error("{at}: `{class}` is no wnid, label or index of this model's {known} classes")]
    Class {
        /// Folder, or file and line.
        at: String,
        /// As it was written.
        class: String,
        /// How many there are.
        known: usize,
    },
    /// A line without a comma.
    #[error("{at}: expected `photo,class`")]
    Line {
        /// File and line.
        at: String,
    },
    /// A folder without photos.
    #[error(transparent)]
    Photos(#[from] photos::Error),
}

/// The photos of `data`: a folder of class folders, or a CSV file whose
/// photos are relative to its own folder.
///
/// # Errors
/// Data that cannot be read, a class the network does not have.
pub fn read(data: &Path, labels: &Labels) -> Result<Labelled, Error> {
    let names = Names::new(labels);
    if data.is_dir() {
        folders(data, &names)
    } else {
        csv(data, &names)
    }
}

/// Classes by every spelling that names them.
struct Names {
    by_spelling: HashMap<String, usize>,
    classes: usize,
    /// Whether the labels are `class_0`, `class_1`, ...
    are_numbers: bool,
}

impl Names {
    fn new(labels: &Labels) -> Self {
        let mut names = HashMap::new();
        for (index, label) in labels.iter().enumerate() {
            names.entry(index.to_string()).or_insert(index);
            names.entry(spelling(&label.name)).or_insert(index);
        }
        for (index, label) in labels.iter().enumerate() {
            if let Some(wnid) = &label.wnid {
                names.insert(wnid.to_lowercase(), index);
            }
        }
        Self {
            by_spelling: names,
            classes: labels.len(),
            are_numbers: *labels == Labels::numbered(labels.len()),
        }
    }

    fn find(&self, class: &str, at: &dyn Fn() -> String) -> Result<usize, Error> {
        let found = self.by_spelling.get(&spelling(class)).copied();
        found.ok_or_else(|| Error::Class {
            at: at(),
            class: class.to_owned(),
            known: self.classes,
        })
    }
}

/// Upper case and spaces do not count.
fn spelling(name: &str) -> String {
    name.trim().to_lowercase().replace(' ', "_")
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Read {
        path: path.to_owned(),
        source,
    }
}

fn folders(data: &Path, names: &Names) -> Result<Labelled, Error> {
    let entries = std::fs::read_dir(data).map_err(read_error(data))?;
    let mut folders = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(read_error(data))?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    let mut all = Labelled {
        photos: Vec::new(),
        classes: Vec::new(),
    };
    let in_order = names.are_numbers && folders.len() == names.classes;
    for (at, folder) in folders.iter().enumerate() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let class = match names.find(&name, &|| folder.display().to_string()) {
            // nothing but their number is known of the classes: the folders'
            // order is the training's, as torchvision's `ImageFolder` has it
            Err(_) if in_order => at,
            found => found?,
        };
        let photos = photos::find(std::slice::from_ref(folder))?;
        all.classes.extend(std::iter::repeat_n(class, photos.len()));
        all.photos.extend(photos);
    }
    if all.photos.is_empty() {
        let place = format!("{} (it has no class folders)", data.display());
        return Err(photos::Error::Nothing { place }.into());
    }
    Ok(all)
}

fn csv(data: &Path, names: &Names) -> Result<Labelled, Error> {
    let text = std::fs::read_to_string(data).map_err(read_error(data))?;
    let base = data.parent().unwrap_or(Path::new(""));
    let mut all = Labelled {
        photos: Vec::new(),
        classes: Vec::new(),
    };
    for (i, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let at = || format!("{}:{}", data.display(), i + 1);
        let (photo, class) = line
            .rsplit_once(',')
            .ok_or_else(|| Error::Line { at: at() })?;
        match names.find(class.trim_matches('"'), &at) {
            Ok(class) => {
                all.photos.push(base.join(photo.trim().trim_matches('"')));
                all.classes.push(class);
            }
            // a first line that names the columns
            Err(_) if i == 0 && all.photos.is_empty() && !base.join(photo).exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_goes_by_wnid_name_or_index() {
        let labels = Labels::imagenet1k();
        let names = Names::new(&labels);
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
    fn a_csv_may_name_its_columns() {
        let file = std::env::temp_dir().join(format!("resnet-csv-{}.csv", std::process::id()));
        std::fs::write(
            &file,
            "photo,class\na.jpg,tench\n\nsub/b.jpg,\"n01443537\"\n",
        )
        .unwrap();
        let read = read(&file, &Labels::imagenet1k());
        std::fs::write(&file, "photo,class\na.jpg,unicorn\n").unwrap();
        let wrong = super::read(&file, &Labels::imagenet1k())
            .unwrap_err()
            .to_string();
        std::fs::remove_file(&file).unwrap();
        let Labelled { photos, classes } = read.unwrap();
        assert_eq!(classes, [0, 1]);
        assert!(photos[1].ends_with("sub/b.jpg"));
        assert!(wrong.contains(":2"), "{wrong}");
    }
}
