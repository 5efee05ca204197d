//! From the logits of an image to its answer: the best classes, and the most
//! specific category that is probably right.

use serde::Serialize;
use weights::{Activation, Labels};

use super::category::{Categories, Category, CategoryScore, rounded};
use super::error::Error;
use super::top_k::{Scale, top_k};

/// The probability that a category needs unless a client says another.
pub const MIN_CONFIDENCE: f64 = 0.8;

/// The predictions of an answer unless a client says how many.
pub const TOP_K: usize = 5;

/// What an answer contains.
#[derive(Clone, Copy, Debug)]
pub struct AnswerOptions {
    /// Most predictions.
    pub top_k: usize,
    /// The lowest probability of a prediction.
    pub threshold: f64,
    /// The lowest probability of the category.
    pub min_confidence: f64,
}

/// A probability that a person wrote: a number from 0 to 1.
#[must_use]
pub fn probability(text: &str) -> Option<f64> {
    text.parse().ok().filter(|p| (0.0..=1.0).contains(p))
}

/// One class and its value.
#[derive(Debug, Serialize)]
pub struct Prediction<'a> {
    /// Position among the network's outputs.
    pub index: usize,
    /// `WordNet` id; null where the labels have none.
    pub wnid: Option<&'a str>,
    /// Its name.
    pub label: &'a str,
    /// 0 to 1, rounded to six decimals. A regression has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The output of a regression, rounded to six decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// The answer for one image. The order of the fields is part of the contract.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    /// What made the probabilities of the logits.
    pub activation: Activation,
    /// The best classes, best first.
    pub predictions: Vec<Prediction<'a>>,
    /// The most specific category that is probable enough; null if none is.
    /// Absent without a hierarchy, and where probabilities do not sum to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Option<CategoryScore<'a>>>,
    /// The classes and categories that were asked for, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<CategoryScore<'a>>>,
    /// Present only where `top_k` asked for more classes than there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<Clamped>,
}

/// A `top_k` larger than the number of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Clamped {
    /// As requested.
    pub requested: usize,
    /// The number of classes.
    pub returned: usize,
}

/// The classes and categories that an answer is restricted to.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Indices of the categories, in the order of the request.
    asked: Vec<usize>,
    /// The classes of all of them, ascending.
    classes: Vec<usize>,
}

impl Selection {
    /// The categories that `texts` name: each is one name or id, or several
    /// separated by commas. `None` if there are no texts.
    ///
    /// # Errors
    /// [`Error::UnknownLabel`], [`Error::AmbiguousLabel`].
    pub fn find(texts: &[String], categories: &Categories) -> Result<Option<Self>, Error> {
        if texts.is_empty() {
            return Ok(None);
        }
        let mut asked = Vec::new();
        let mut classes = Vec::new();
        for text in texts {
            // Some names have commas.
            let names: Vec<&str> = match categories.has(text) {
                true => vec![text],
                false => text.split(',').collect(),
            };
            for name in names {
                let index = categories.find(name.trim())?;
                if asked.contains(&index) {
                    continue;
                }
                asked.push(index);
                classes.extend(
                    categories
                        .get(index)
                        .into_iter()
                        .flat_map(Category::classes),
                );
            }
        }
        classes.sort_unstable();
        classes.dedup();
        Ok(Some(Self { asked, classes }))
    }
}

/// What the logits of a model mean.
#[derive(Clone, Copy, Debug)]
pub struct Interpretation<'a> {
    /// Its classes, in the order of the logits.
    pub labels: &'a Labels,
    /// The categories of these classes.
    pub categories: &'a Categories,
    /// What turns the logits into values.
    pub scale: Scale,
}

impl<'a> Interpretation<'a> {
    /// The answer for an image with these `logits` `[classes]`.
    #[must_use]
    pub fn answer(
        self,
        logits: &[f32],
        selection: Option<&Selection>,
        options: AnswerOptions,
    ) -> Answer<'a> {
        let activation = self.scale.activation;
        let values = self.scale.values(logits);
        let order = match selection {
            Some(selection) => top_k(logits, selection.classes.iter().copied(), options.top_k),
            None => top_k(logits, 0..logits.len(), options.top_k),
        };
        let regression = activation == Activation::None;
        let certain = |&index: &usize| regression || values[index] >= options.threshold;
        let order = order.into_iter().filter(certain);
        let hedged = self.categories.has_hierarchy() && activation == Activation::Softmax;
        let category = || {
            self.categories
                .most_specific(&values, options.min_confidence)
        };
        Answer {
            activation,
            predictions: order.map(|index| self.prediction(index, &values)).collect(),
            category: hedged.then(category),
            labels: selection.and_then(|selection| self.scores(selection, &values)),
            top_k: (options.top_k > logits.len()).then_some(Clamped {
                requested: options.top_k,
                returned: logits.len(),
            }),
        }
    }

    /// The class at `index`, which must exist; `values` are those of all classes
    /// ([`Scale::values`]).
    #[must_use]
    pub fn prediction(self, index: usize, values: &[f64]) -> Prediction<'a> {
        let label = self.labels.get(index);
        let value = rounded(values[index]);
        let regression = self.scale.activation == Activation::None;
        Prediction {
            index,
            wnid: label.and_then(|label| label.wnid.as_deref()),
            label: label.map_or("", |label| &label.name),
            probability: (!regression).then_some(value),
            value: regression.then_some(value),
        }
    }

    /// The selected categories with their probabilities. With a sigmoid, the
    /// classes of a category do not exclude each other: its probability is at
    /// least that of its most probable class. A regression has none.
    fn scores(self, selection: &Selection, values: &[f64]) -> Option<Vec<CategoryScore<'a>>> {
        let categories = selection.asked.iter();
        let categories = categories.filter_map(|&index| self.categories.get(index));
        let score = |category: &'a Category| match self.scale.activation {
            Activation::Softmax => Some(category.score(category.probability(values))),
            Activation::Sigmoid => {
                let each = category.classes().iter().map(|&class| values[class]);
                Some(category.score(each.fold(0.0, f64::max)))
            }
            Activation::None => None,
        };
        categories.map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weights::Hierarchy;

    const OPTIONS: AnswerOptions = AnswerOptions {
        top_k: 3,
        threshold: 0.0,
        min_confidence: MIN_CONFIDENCE,
    };

    /// Cat, dog and boat with probabilities 0.5, 0.375 and 0.125.
    fn json(activation: Activation, only: &[&str], options: AnswerOptions) -> String {
        let labels = Labels::from_names(["cat", "dog", "boat"].map(str::to_owned));
        let text = "cat\t\tpet\ndog\t\tpet\npet\tpet\nboat\t\n";
        let categories = Categories::new(&labels, Some(&Hierarchy::parse(text).unwrap()));
        let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
        let selection = Selection::find(&only, &categories).unwrap();
        let scale = Scale {
            activation,
            temperature: 2.0,
        };
        let interpretation = Interpretation {
            labels: &labels,
            categories: &categories,
            scale,
        };
        let logits = [4_f32, 3.0, 1.0].map(|weight| 2.0 * weight.ln());
        let answer = interpretation.answer(&logits, selection.as_ref(), options);
        serde_json::to_string(&answer).unwrap()
    }

    #[test]
    fn keys_keep_their_order_and_values_have_six_decimals() {
        let found = json(
            Activation::Softmax,
            &["pet,boat"],
            AnswerOptions {
                top_k: 9,
                ..OPTIONS
            },
        );
        assert_eq!(
            found,
            r#"{"activation":"softmax","predictions":[{"index":0,"wnid":null,"label":"cat","probability":0.5},{"index":1,"wnid":null,"label":"dog","probability":0.375},{"index":2,"wnid":null,"label":"boat","probability":0.125}],"category":{"wnid":"pet","name":"pet","probability":0.875},"labels":[{"wnid":"pet","name":"pet","probability":0.875},{"wnid":null,"name":"boat","probability":0.125}],"top_k":{"requested":9,"returned":3}}"#
        );
        let sigmoid = json(Activation::Sigmoid, &["pet"], OPTIONS);
        assert_eq!(
            sigmoid,
            r#"{"activation":"sigmoid","predictions":[{"index":0,"wnid":null,"label":"cat","probability":0.8},{"index":1,"wnid":null,"label":"dog","probability":0.75}],"labels":[{"wnid":"pet","name":"pet","probability":0.8}]}"#
        );
        let regression = json(
            Activation::None,
            &["dog"],
            AnswerOptions {
                threshold: 1.0,
                ..OPTIONS
            },
        );
        assert_eq!(
            regression,
            r#"{"activation":"none","predictions":[{"index":1,"wnid":null,"label":"dog","value":2.197225}]}"#
        );
    }

    #[test]
    fn options_limit_the_predictions_and_the_category() {
        let with = |options| json(Activation::Softmax, &[], options);
        let threshold = with(AnswerOptions {
            threshold: 0.375,
            ..OPTIONS
        });
        assert!(
            threshold.contains("dog") && !threshold.contains("boat"),
            "{threshold}"
        );
        let none = with(AnswerOptions {
            top_k: 0,
            min_confidence: 0.9,
            ..OPTIONS
        });
        assert_eq!(
            none,
            r#"{"activation":"softmax","predictions":[],"category":null}"#
        );
        let cat = with(AnswerOptions {
            top_k: 0,
            min_confidence: 0.49,
            ..OPTIONS
        });
        assert!(
            cat.contains(r#""category":{"wnid":null,"name":"cat","probability":0.5}"#),
            "{cat}"
        );
    }

    #[test]
    fn a_selection_names_each_category_once() {
        let labels = Labels::from_names(["cat, house", "dog"].map(str::to_owned));
        let categories = Categories::new(&labels, None);
        let find = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            Selection::find(&texts, &categories).map(|found| found.unwrap().classes)
        };
        assert_eq!(find(&["cat, house", "dog", "dog,dog"]).unwrap(), [0, 1]);
        assert_eq!(find(&[" dog "]).unwrap(), [1]);
        for unknown in ["bird", "dog,bird", "dog,"] {
            assert!(
                matches!(find(&[unknown]), Err(Error::UnknownLabel { .. })),
                "{unknown}"
            );
        }
        assert!(Selection::find(&[], &categories).unwrap().is_none());
    }
}
