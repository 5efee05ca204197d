//! The classes of a model by all their names: `WordNet` id, label, synonym, index.
//! A name that stands for several classes is not guessed.

use std::collections::{BTreeMap, HashMap};

use weights::Labels;

/// Names that published lists of labels give to two classes of ImageNet.
const SHARED: [(&str, [&str; 2]); 2] = [
    ("crane", ["n02012849", "n03126707"]),
    ("maillot", ["n03710637", "n03710721"]),
];

/// Classes by their names.
pub(super) struct ClassNames {
    /// The indices of the classes with each name, and what it is of them.
    by_name: HashMap<String, BTreeMap<usize, &'static str>>,
    labels: Vec<String>,
    /// Whether the labels are only numbered: `class_0`, `class_1`, ...
    numbered: bool,
}

/// The classes with one name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    One(usize),
    /// More than one, as text.
    Several(String),
}

impl ClassNames {
    pub(super) fn new(labels: &Labels) -> Self {
        let mut names = Self {
            by_name: HashMap::new(),
            labels: labels.iter().map(|label| label.name.clone()).collect(),
            numbered: *labels == Labels::numbered(labels.len()),
        };
        for (index, label) in labels.iter().enumerate() {
            if let Some(wnid) = &label.wnid {
                names.add(wnid, index, "WordNet ID");
            }
            names.add(&label.name, index, "label");
            // `tench, Tinca tinca`
            for synonym in label.name.split(", ") {
                names.add(synonym, index, "synonym");
            }
            for (name, wnids) in SHARED {
                if wnids.iter().any(|wnid| label.wnid.as_deref() == Some(wnid)) {
                    names.add(name, index, "name in other lists");
                }
            }
            names.add(&index.to_string(), index, "index");
        }
        names
    }

    fn add(&mut self, name: &str, index: usize, what: &'static str) {
        let classes = self.by_name.entry(normalized(name)).or_default();
        classes.entry(index).or_insert(what);
    }

    /// The class called `name`.
    pub(super) fn find(&self, name: &str) -> Found {
        let Some(classes) = self.by_name.get(&normalized(name)) else {
            return Found::Nothing;
        };
        let meaning = |(&index, what): (&usize, &&str)| {
            format!("class {index} (`{}`) by its {what}", self.labels[index])
        };
        match classes.first_key_value() {
            Some((index, _)) if classes.len() == 1 => Found::One(*index),
            _ => Found::Several(classes.iter().map(meaning).collect::<Vec<_>>().join(" or ")),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.labels.len()
    }

    /// Whether the classes have no names but their number.
    pub(super) fn are_numbered(&self) -> bool {
        self.numbered
    }
}

/// Names are compared without case, and spaces are equal to underscores.
fn normalized(name: &str) -> String {
    name.trim().to_lowercase().replace(' ', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_found_by_wnid_name_or_index() {
        let names = ClassNames::new(&Labels::imagenet1k());
        for class in ["n01440764", "tench", "Tench", "0"] {
            assert_eq!(names.find(class), Found::One(0), "{class}");
        }
        assert_eq!(names.find("great_white_shark"), Found::One(2));
        assert_eq!(names.find("tiger"), Found::One(292));
        assert_eq!(names.find("crane_bird"), Found::One(134));
        assert_eq!(names.find("unicorn"), Found::Nothing);
        let synonyms = Labels::from_names(["tench, Tinca tinca".to_owned()]);
        assert_eq!(
            ClassNames::new(&synonyms).find("Tinca tinca"),
            Found::One(0)
        );
    }

    #[test]
    fn a_name_of_two_classes_is_not_guessed() {
        let names = ClassNames::new(&Labels::imagenet1k());
        for (name, meanings) in [
            (
                "crane",
                "class 134 (`crane bird`) by its name in other lists or class 517 (`crane`) by its label",
            ),
            (
                "maillot",
                "class 638 (`maillot`) by its label or class 639 (`maillot tank suit`) by its name in other lists",
            ),
            (
                "Cardigan",
                "class 264 (`Cardigan`) by its label or class 474 (`cardigan`) by its label",
            ),
        ] {
            assert_eq!(names.find(name), Found::Several(meanings.into()));
        }
        // each digit is its own index
        let digits = Labels::from_names((0..10).map(|digit| digit.to_string()));
        assert_eq!(ClassNames::new(&digits).find("7"), Found::One(7));
        // sorted as text, "2" is the fourth
        let sorted = Labels::from_names(["0", "1", "10", "2"].map(str::to_owned));
        assert_eq!(
            ClassNames::new(&sorted).find("2"),
            Found::Several("class 2 (`10`) by its index or class 3 (`2`) by its label".into())
        );
    }
}
