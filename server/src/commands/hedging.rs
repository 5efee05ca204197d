//! How often the categories of answers are right, and how much they say.

use serde::Serialize;

use crate::commands::accuracy::Accuracy;
use crate::core::category::CategoryScore;

/// The categories of labelled images so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hedging {
    images: usize,
    named: usize,
    right: usize,
    classes: usize,
    bits: f64,
}

/// The figures of a [`Hedging`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The lowest probability of a category.
    pub min_confidence: f64,
    /// The images without a category.
    pub without: usize,
    /// The share of categories that contain the class of their image.
    pub right: Accuracy,
    /// The share of categories that are a class, in percent.
    pub classes_percent: f64,
    /// Mean information of all images in bits: log2 of the number of classes
    /// over those of the category, 0 without a category.
    pub bits: f64,
}

impl Hedging {
    /// Adds the category of an image of class `class`, of `classes` classes.
    pub fn add(&mut self, category: Option<&CategoryScore>, class: usize, classes: usize) {
        self.images += 1;
        let Some(category) = category else { return };
        self.named += 1;
        self.right += usize::from(category.classes.contains(&class));
        self.classes += usize::from(category.classes.len() == 1);
        self.bits += (classes as f64 / category.classes.len() as f64).log2();
    }

    /// The figures of the images so far; `None` without any.
    #[must_use]
    pub fn figures(&self, min_confidence: f64) -> Option<Figures> {
        (self.images > 0).then(|| Figures {
            min_confidence,
            without: self.images - self.named,
            right: Accuracy::of(self.right, self.named),
            classes_percent: 100.0 * self.classes as f64 / self.named.max(1) as f64,
            bits: self.bits / self.images as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_is_measured_over_all_images() {
        let of = |classes| CategoryScore {
            wnid: None,
            name: "",
            probability: 1.0,
            classes,
        };
        let mut hedging = Hedging::default();
        assert_eq!(hedging.figures(0.8), None);
        hedging.add(Some(&of(&[3])), 3, 8);
        hedging.add(Some(&of(&[2, 3])), 5, 8);
        hedging.add(Some(&of(&[2, 3])), 3, 8);
        hedging.add(None, 3, 8);
        let figures = hedging.figures(0.8).unwrap();
        assert_eq!(figures.without, 1);
        assert!((figures.right.percent - 200.0 / 3.0).abs() < 1e-9);
        assert!((figures.classes_percent - 100.0 / 3.0).abs() < 1e-9);
        // 3 + 2 + 2 + 0 bits
        assert!((figures.bits - 7.0 / 4.0).abs() < 1e-9);
    }
}
