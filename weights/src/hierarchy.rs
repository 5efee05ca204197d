//! The categories above the classes of a model, such as WordNet's nouns above
//! the classes of ImageNet: a directed graph without cycles, in a small file
//! format.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use crate::error::{Error, Result};
use crate::labels::{Label, Labels};

/// Largest file of a hierarchy in bytes.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Most lines of a hierarchy.
const MAX_CATEGORIES: usize = 100_000;

/// Most categories above one category; WordNet has up to 19.
const MAX_ABOVE: usize = 256;

/// A category, or a class as the place where it stands below its categories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// `WordNet` id; any unique text in another hierarchy.
    pub id: String,
    /// Name for people. Empty if it says nothing to them, as for "whole", and
    /// for classes, whose names are in the labels.
    pub name: String,
    /// Length of the longest path to a category without parents.
    pub level: usize,
    parents: Vec<u32>,
    /// All categories above it, ascending.
    above: Vec<u32>,
}

/// Categories by id, each with those above it.
///
/// The text format has one category on each line, in any order:
///
/// ```text
/// # a comment
/// animal<TAB>animal
/// pet<TAB>pet<TAB>animal
/// n02121808<TAB>domestic cat<TAB>animal,pet
/// n02123045<TAB><TAB>n02121808
/// ```
///
/// The fields are the id, the name and the ids of the parents, separated by
/// commas. A line without a name connects others and is never an answer. The
/// id of a class is the `WordNet` id of its label, or its name if the label has
/// none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    categories: Vec<Category>,
    by_id: HashMap<String, u32>,
}

impl Hierarchy {
    /// The nouns of `WordNet` 3.0 above the classes of ImageNet-1k, with names
    /// for people.
    #[must_use]
    pub fn wordnet() -> &'static Self {
        static WORDNET: LazyLock<Hierarchy> = LazyLock::new(|| {
            // A test parses the file.
            Hierarchy::parse(include_str!("../hierarchy.tsv")).unwrap_or_default()
        });
        &WORDNET
    }

    /// Reads a file in the text format.
    ///
    /// # Errors
    /// When the file cannot be read, is too large, or [`Hierarchy::parse`] fails.
    pub fn from_file(path: &Path) -> Result<Self> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let invalid =
            |reason: String| Error::field(&path.display().to_string(), "hierarchy", reason);
        let mut text = String::new();
        let mut file = File::open(path).map_err(read)?.take(MAX_FILE_BYTES + 1);
        if file.read_to_string(&mut text).map_err(read)? as u64 > MAX_FILE_BYTES {
            return Err(invalid(format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        Self::parse(&text).map_err(invalid)
    }

    /// The classes of `labels` that have no line here, so that no category is above
    /// them.
    pub fn without_line<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a Label> {
        labels.iter().filter(|label| {
            self.find(label.wnid.as_ref().unwrap_or(&label.name))
                .is_none()
        })
    }

    /// Parses the text format.
    ///
    /// # Errors
    /// Which line or category is wrong: no id, an id that occurs twice, a parent
    /// that does not exist, a cycle, or more categories than supported.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut categories = Vec::new();
        let mut parents = Vec::new();
        let mut by_id = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (category, above) =
                line_of(line).map_err(|reason| format!("line {}: {reason}", number + 1))?;
            let index = categories.len() as u32;
            if by_id.insert(category.id.clone(), index).is_some() {
                return Err(format!("`{}` has two lines", category.id));
            }
            if categories.len() == MAX_CATEGORIES {
                return Err(format!("it has more than {MAX_CATEGORIES} categories"));
            }
            categories.push(category);
            parents.push(above);
        }
        for (category, names) in categories.iter_mut().zip(parents) {
            for name in names {
                let parent = by_id.get(name).ok_or_else(|| {
                    format!(
                        "`{}` has the parent `{name}`, which has no line",
                        category.id
                    )
                })?;
                category.parents.push(*parent);
            }
        }
        let mut hierarchy = Self { categories, by_id };
        hierarchy.connect()?;
        Ok(hierarchy)
    }

    /// Text that [`Hierarchy::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let line = |category: &Category| {
            let parents = category.parents.iter();
            let ids = parents.map(|&parent| self.categories[parent as usize].id.as_str());
            let ids: Vec<&str> = ids.collect();
            format!("{}\t{}\t{}\n", category.id, category.name, ids.join(","))
        };
        self.categories.iter().map(line).collect()
    }

    /// The index of a category.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).map(|&index| index as usize)
    }

    /// All categories, in the order of the text.
    #[must_use]
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The indices of all categories above one, ascending.
    pub fn above(&self, index: usize) -> impl Iterator<Item = usize> {
        let above = self.categories.get(index).into_iter();
        above.flat_map(|category| category.above.iter().map(|&index| index as usize))
    }

    /// Computes the level of each category and the categories above it, parents
    /// first.
    fn connect(&mut self) -> std::result::Result<(), String> {
        let mut children = vec![Vec::new(); self.categories.len()];
        let mut waiting = Vec::with_capacity(self.categories.len());
        for (index, category) in self.categories.iter().enumerate() {
            waiting.push(category.parents.len());
            for &parent in &category.parents {
                children[parent as usize].push(index);
            }
        }
        let is_root = |&index: &usize| waiting[index] == 0;
        let mut ready: Vec<usize> = (0..waiting.len()).filter(is_root).collect();
        while let Some(index) = ready.pop() {
            self.connect_one(index)?;
            for &child in &children[index] {
                waiting[child] -= 1;
                if waiting[child] == 0 {
                    ready.push(child);
                }
            }
        }
        match waiting.iter().position(|&parents| parents > 0) {
            Some(index) => Err(format!(
                "`{}` is above itself, or below a category that is",
                self.categories[index].id
            )),
            None => Ok(()),
        }
    }

    fn connect_one(&mut self, index: usize) -> std::result::Result<(), String> {
        let mut above = BTreeSet::new();
        let mut level = 0;
        for &parent in &self.categories[index].parents {
            let parent_category = &self.categories[parent as usize];
            above.insert(parent);
            above.extend(&parent_category.above);
            level = level.max(parent_category.level + 1);
        }
        let category = &mut self.categories[index];
        if above.len() > MAX_ABOVE {
            return Err(format!(
                "`{}` has {} categories above it; at most {MAX_ABOVE} are supported",
                category.id,
                above.len()
            ));
        }
        category.above = above.into_iter().collect();
        category.level = level;
        Ok(())
    }
}

/// The category of a line, and the ids of its parents.
fn line_of(line: &str) -> std::result::Result<(Category, Vec<&str>), String> {
    let mut fields = line.split('\t').map(str::trim);
    let id = fields.next().unwrap_or_default();
    let name = fields.next().unwrap_or_default();
    let parents = fields.next().unwrap_or_default();
    if id.is_empty() {
        return Err("it has no id".into());
    }
    if fields.next().is_some() {
        return Err(format!(
            "`{id}` has more than three fields; they are id, name and parents"
        ));
    }
    let category = Category {
        id: id.to_owned(),
        name: name.to_owned(),
        level: 0,
        parents: Vec::new(),
        above: Vec::new(),
    };
    let parents = parents.split(',').map(str::trim);
    Ok((category, parents.filter(|id| !id.is_empty()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_imagenet_class_has_categories_with_names() {
        let wordnet = Hierarchy::wordnet();
        assert_eq!(wordnet.categories().len(), 1860);
        for label in Labels::imagenet1k().iter() {
            let index = wordnet.find(label.wnid.as_deref().unwrap()).unwrap();
            assert!(
                wordnet.categories()[index].name.is_empty(),
                "{}",
                label.name
            );
            assert!(wordnet.above(index).count() > 1, "{}", label.name);
        }
        let tabby = wordnet.find("n02123045").unwrap();
        let names: Vec<&str> = wordnet
            .above(tabby)
            .map(|index| wordnet.categories()[index].name.as_str())
            .collect();
        for name in ["domestic cat", "feline", "mammal", "animal"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for name in ["whole", "artifact", "entity", "object"] {
            let named = |category: &Category| category.name == name;
            assert!(!wordnet.categories().iter().any(named), "{name}");
        }
    }

    #[test]
    fn parents_may_follow_and_several_paths_count_once() {
        let text = "# pets\ncat\t\tpet,feline\r\n\npet\tpet\tanimal\nfeline\tfeline\tanimal\nanimal\tanimal\n";
        let hierarchy = Hierarchy::parse(text).unwrap();
        let cat = hierarchy.find("cat").unwrap();
        assert_eq!(hierarchy.above(cat).collect::<Vec<_>>(), [1, 2, 3]);
        let levels: Vec<usize> = hierarchy.categories().iter().map(|c| c.level).collect();
        assert_eq!(levels, [2, 1, 1, 0]);
        assert_eq!(Hierarchy::parse(&hierarchy.to_text()), Ok(hierarchy));
    }

    #[test]
    fn errors_name_the_line_or_the_category() {
        let long: String = (0..=MAX_ABOVE)
            .map(|i| format!("c{}\tc\tc{i}\n", i + 1))
            .collect();
        for (text, expected) in [
            ("a\ta\n\tb\ta\n", "line 2"),
            ("a\ta\t\textra\n", "line 1"),
            ("a\ta\na\tb\n", "`a` has two lines"),
            ("a\ta\tb\n", "parent `b`"),
            ("a\ta\tb\nb\tb\ta\n", "above itself"),
            ("a\ta\ta\n", "above itself"),
            (&format!("c0\tc\n{long}"), "at most 256"),
        ] {
            let error = Hierarchy::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
