//! Values of the configuration file before they are interpreted.

use std::collections::BTreeMap;

use crate::config::errors::Origin;
use crate::config::name::split;

/// A setting as text.
#[derive(Clone, Debug)]
pub struct Given {
    /// Where it was given; the flag for a default.
    pub origin: Origin,
    /// The text.
    pub text: String,
}

/// A value with the place of its key.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) origin: Origin,
    pub(super) item: Item,
}

/// A value, numbers and booleans as text.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Scalar(String),
    List(Vec<Value>),
    Table(BTreeMap<String, Value>),
}

/// A table with its place.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) origin: Origin,
    pub(super) values: BTreeMap<String, Value>,
}

impl Fields {
    /// The table that `model = "NAME=SOURCE"` stands for.
    pub(super) fn of_source(origin: Origin, text: &str) -> Self {
        let (name, source) = split(text);
        let value = |text: &str| Value {
            origin: origin.clone(),
            item: Item::Scalar(text.to_owned()),
        };
        let name = name.map(|name| ("name".to_owned(), value(name)));
        let source = ("source".to_owned(), value(source));
        let values = name.into_iter().chain([source]).collect();
        Self { origin, values }
    }
}

/// What a setting has to be.
pub(super) const SCALAR: &str = "a string, a number or a boolean";

impl Item {
    /// Why a value of another type was expected.
    pub(super) fn wrong_type(&self, expected: &str) -> String {
        let found = match self {
            Self::Scalar(_) => "a single value",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
        };
        format!("must be {expected}, not {found}")
    }
}

/// The error text for a key that does not exist.
pub(super) fn unknown_key(key: &str, known: &[&str]) -> String {
    let similarity = |name: &&str| strsim::jaro_winkler(key, name);
    let nearest = known
        .iter()
        .copied()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .filter(|name| similarity(name) > 0.8);
    match nearest {
        Some(name) => format!("unknown key; did you mean `{name}`?"),
        None => format!("unknown key; expected one of {}", known.join(", ")),
    }
}
