//! The classes of a model and the categories above them: the most specific one
//! that an image certainly belongs to, and those that a name means.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;
use weights::{Hierarchy, Labels};

use super::error::Error;

/// Names in an error that are similar to an unknown one.
const SIMILAR: usize = 3;

/// The lowest similarity of such a name (Jaro and Winkler), from 0 to 1.
const LEAST_SIMILARITY: f64 = 0.75;

/// The longest text for which similar names are looked for, in bytes.
const LONGEST_NAME: usize = 100;

/// A class, or a category with the classes below it.
#[derive(Debug)]
pub struct Category {
    id: Option<String>,
    name: String,
    /// Indices of its classes, ascending.
    classes: Vec<usize>,
    /// The deeper of two categories with the same classes is the answer.
    level: usize,
}

/// A category and the probability that an image belongs to it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CategoryScore<'a> {
    /// `WordNet` id; null for a class whose label has none.
    pub wnid: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// 0 to 1, rounded to six decimals.
    pub probability: f64,
    /// Indices of its classes, ascending.
    #[serde(skip)]
    pub classes: &'a [usize],
}

/// The classes of a model and their categories.
#[derive(Debug)]
pub struct Categories {
    /// Fewest classes first, then the deepest.
    sorted: Vec<Category>,
    /// By `WordNet` id and by name.
    by_name: HashMap<String, Vec<usize>>,
    /// By name in lower case with spaces.
    by_plain_name: HashMap<String, Vec<usize>>,
    has_hierarchy: bool,
}

impl Categories {
    /// The classes of `labels`, and the categories above them in `hierarchy`,
    /// without one in `WordNet`.
    #[must_use]
    pub fn new(labels: &Labels, hierarchy: Option<&Hierarchy>) -> Self {
        let mut sorted = categories_above(labels, hierarchy);
        let has_hierarchy = !sorted.is_empty();
        sorted.extend(labels.iter().enumerate().map(|(index, label)| Category {
            id: label.wnid.clone(),
            name: label.name.clone(),
            classes: vec![index],
            level: usize::MAX,
        }));
        sorted.sort_by_key(|category| (category.classes.len(), Reverse(category.level)));
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut by_plain_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, Category { id, name, .. }) in sorted.iter().enumerate() {
            for key in id.iter().chain([name]) {
                by_name.entry(key.clone()).or_default().push(index);
            }
            by_plain_name.entry(plain(name)).or_default().push(index);
        }
        Self {
            sorted,
            by_name,
            by_plain_name,
            has_hierarchy,
        }
    }

    /// Whether there are categories above the classes.
    #[must_use]
    pub fn has_hierarchy(&self) -> bool {
        self.has_hierarchy
    }

    /// The category with the fewest classes of those with a probability of at
    /// least `min_confidence`: the most informative answer that is probably
    /// right (after Deng et al. 2012, "Hedging your bets"). Of several with as
    /// many classes it is the most probable one, then the deepest.
    ///
    /// `probabilities` are those of the classes, `[classes]`. `None` if no
    /// category is so probable.
    #[must_use]
    pub fn most_specific(
        &self,
        probabilities: &[f64],
        min_confidence: f64,
    ) -> Option<CategoryScore<'_>> {
        let mut best: Option<(f64, &Category)> = None;
        for category in &self.sorted {
            if best.is_some_and(|(_, best)| best.classes.len() < category.classes.len()) {
                break;
            }
            let sum = category.probability(probabilities);
            if sum >= min_confidence && best.is_none_or(|(most, _)| sum > most) {
                best = Some((sum, category));
            }
        }
        best.map(|(sum, category)| category.score(sum))
    }

    /// The category with this `WordNet` id or name: its index. Names are compared without
    /// case and with spaces for underscores if none is the same.
    ///
    /// # Errors
    /// [`Error::UnknownLabel`] with similar names, [`Error::AmbiguousLabel`] for
    /// a name of categories with different classes.
    pub fn find(&self, name: &str) -> Result<usize, Error> {
        let found = self.by_name.get(name);
        let found = found.or_else(|| self.by_plain_name.get(&plain(name)));
        let Some(found) = found else {
            return Err(Error::UnknownLabel {
                label: shortened(name),
                similar: self.similar(name),
            });
        };
        // Deeper categories come first.
        let first = found[0];
        let same = |&index: &usize| self.sorted[index].classes == self.sorted[first].classes;
        if found.iter().all(same) {
            return Ok(first);
        }
        let meanings: Vec<String> = found.iter().map(|&i| self.sorted[i].described()).collect();
        Err(Error::AmbiguousLabel {
            label: name.to_owned(),
            meanings: meanings.join(", "),
        })
    }

    /// The category with an index from [`Categories::find`].
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Category> {
        self.sorted.get(index)
    }

    /// Whether a text is the name or id of a category.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.by_plain_name.contains_key(&plain(name))
    }

    /// The names that are most similar to `name`, quoted; empty if none is.
    fn similar(&self, name: &str) -> String {
        if name.len() > LONGEST_NAME {
            return String::new();
        }
        let name = plain(name);
        let mut scored: Vec<(f64, &str)> = self
            .sorted
            .iter()
            .map(|c| {
                (
                    strsim::jaro_winkler(&name, &plain(&c.name)),
                    c.name.as_str(),
                )
            })
            .filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY)
            .collect();
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let names = scored.iter().take(SIMILAR);
        let quoted: Vec<String> = names.map(|(_, name)| format!("`{name}`")).collect();
        quoted.join(", ")
    }
}

impl Category {
    /// Indices of its classes, ascending.
    #[must_use]
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// The probability that an image belongs to it.
    #[must_use]
    pub fn probability(&self, probabilities: &[f64]) -> f64 {
        let of_class = |&class: &usize| probabilities.get(class).copied().unwrap_or(0.0);
        self.classes.iter().map(of_class).sum()
    }

    /// Its score with a probability that is rounded here.
    #[must_use]
    pub fn score(&self, probability: f64) -> CategoryScore<'_> {
        CategoryScore {
            wnid: self.id.as_deref(),
            name: &self.name,
            probability: rounded(probability),
            classes: &self.classes,
        }
    }

    fn described(&self) -> String {
        let id = self.id.as_deref().unwrap_or("no id");
        match self.classes.len() {
            1 => format!("{id} (a class)"),
            count => format!("{id} ({count} classes)"),
        }
    }
}

/// A number with six decimals, as responses have it.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The categories with a name and at least one class below.
fn categories_above(labels: &Labels, hierarchy: Option<&Hierarchy>) -> Vec<Category> {
    let graph = hierarchy.unwrap_or_else(|| Hierarchy::wordnet());
    let mut classes = vec![Vec::new(); graph.categories().len()];
    for (class, label) in labels.iter().enumerate() {
        let id = match &label.wnid {
            Some(wnid) => wnid,
            None if hierarchy.is_some() => &label.name,
            None => continue,
        };
        if let Some(index) = graph.find(id) {
            classes[index].push(class);
            graph
                .above(index)
                .for_each(|index| classes[index].push(class));
        }
    }
    let categories = graph.categories().iter().zip(classes);
    let useful =
        categories.filter(|(category, classes)| !category.name.is_empty() && !classes.is_empty());
    let with_classes = |(category, classes): (&weights::Category, Vec<usize>)| Category {
        id: Some(category.id.clone()),
        name: category.name.clone(),
        classes,
        level: category.level,
    };
    useful.map(with_classes).collect()
}

/// How names are compared.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace('_', " ")
}

/// The start of a text that an error quotes.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imagenet() -> (Labels, Categories) {
        let labels = Labels::imagenet1k();
        let categories = Categories::new(&labels, None);
        (labels, categories)
    }

    /// The probabilities of ImageNet's classes: those named, and the rest
    /// spread over the others.
    fn probabilities(labels: &Labels, named: &[(&str, f64)]) -> Vec<f64> {
        let given: f64 = named.iter().map(|(_, probability)| probability).sum();
        let rest = (1.0 - given) / (labels.len() - named.len()) as f64;
        let of = |name: &str| named.iter().find(|(known, _)| *known == name);
        labels
            .iter()
            .map(|label| of(&label.name).map_or(rest, |(_, probability)| *probability))
            .collect()
    }

    #[test]
    fn cats_that_are_confused_are_a_domestic_cat() {
        let (labels, categories) = imagenet();
        let cats = [("tabby", 0.35), ("Egyptian cat", 0.34), ("tiger cat", 0.20)];
        let values = probabilities(&labels, &cats);
        let found = categories.most_specific(&values, 0.8).unwrap();
        assert_eq!(
            (found.wnid, found.name),
            (Some("n02121808"), "domestic cat")
        );
        assert_eq!(found.classes.len(), 5);
        // Siamese and Persian cat have a little of the rest.
        assert!((found.probability - 0.89).abs() < 0.001, "{found:?}");
        let more = categories.most_specific(&values, 0.9).unwrap();
        assert!(
            more.classes.len() > 5 && more.probability >= 0.9,
            "{more:?}"
        );
        let less = categories.most_specific(&values, 0.3).unwrap();
        assert_eq!((less.wnid, less.name), (Some("n02123045"), "tabby"));
    }

    #[test]
    fn a_class_that_is_certain_is_its_own_category() {
        let (labels, categories) = imagenet();
        let values = probabilities(&labels, &[("container ship", 0.81)]);
        let found = categories.most_specific(&values, 0.8).unwrap();
        assert_eq!(found.name, "container ship");
        assert_eq!(found.classes.len(), 1);
    }

    #[test]
    fn what_is_only_a_thing_has_no_category() {
        let (labels, categories) = imagenet();
        let things = [("desk", 0.3), ("crane bird", 0.3), ("pizza", 0.3)];
        let values = probabilities(&labels, &things);
        assert!(categories.most_specific(&values, 0.8).is_none());
    }

    #[test]
    fn of_equal_categories_the_most_probable_and_then_the_deepest_is_the_answer() {
        let text = "a\t\tleft\nb\t\tleft\nc\t\tright\nd\t\tright\nleft\tleft\tall\nright\touter\tall\n\
                    inner\tinner\tright\nall\tall\nroot\troot\n";
        let text = text
            .replace("c\t\tright", "c\t\tinner")
            .replace("d\t\tright", "d\t\tinner");
        let labels = Labels::from_names(["a", "b", "c", "d"].map(str::to_owned));
        let hierarchy = Hierarchy::parse(&text).unwrap();
        let categories = Categories::new(&labels, Some(&hierarchy));
        let name = |values: &[f64], least| categories.most_specific(values, least).unwrap().name;
        assert_eq!(name(&[0.2, 0.2, 0.3, 0.3], 0.4), "inner");
        assert_eq!(name(&[0.3, 0.3, 0.2, 0.2], 0.4), "left");
        assert_eq!(name(&[0.3, 0.3, 0.2, 0.2], 0.7), "all");
        assert_eq!(name(&[0.3, 0.3, 0.2, 0.2], 0.0), "a");
    }

    #[test]
    fn labels_without_wordnet_ids_have_no_categories() {
        let labels = Labels::from_names(["tabby", "tench"].map(str::to_owned));
        let categories = Categories::new(&labels, None);
        assert!(!categories.has_hierarchy());
        assert_eq!(
            categories
                .get(categories.find("Tabby").unwrap())
                .unwrap()
                .classes(),
            [0]
        );
    }

    #[test]
    fn categories_are_found_by_id_and_name() {
        let (_, categories) = imagenet();
        let classes = |name: &str| {
            categories
                .get(categories.find(name).unwrap())
                .unwrap()
                .classes()
                .len()
        };
        assert_eq!(classes("dog"), 118);
        assert_eq!(classes("n02084071"), 118);
        assert_eq!(classes("Domestic_Cat"), 5);
        assert_eq!(classes("n02123045"), 1);
        assert_eq!(classes("great white shark"), 1);
        // Only the case differs between the dog and the garment.
        assert_ne!(
            categories.find("Cardigan").unwrap(),
            categories.find("cardigan").unwrap()
        );
        let error = categories.find("CARDIGAN").unwrap_err().to_string();
        assert!(
            error.contains("n02113186") && error.contains("n02963159"),
            "{error}"
        );
        let error = categories.find("domestik cat").unwrap_err().to_string();
        assert!(error.contains("`domestic cat`"), "{error}");
        let error = categories
            .find(&"x".repeat(1 << 16))
            .unwrap_err()
            .to_string();
        assert!(error.len() < 300, "{error}");
    }
}
