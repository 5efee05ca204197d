//! The configuration file: TOML whose keys are the flags of `resnet serve`, and
//! one `[[model]]` table for each model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::errors::{ConfigErrors, Origin};
use crate::config::value::{Fields, Given, Item, SCALAR, Value, unknown_key};

/// What a configuration file contains, without an interpretation of the values.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    path: PathBuf,
    settings: BTreeMap<String, Given>,
    models: Vec<Fields>,
}

impl ConfigFile {
    /// Reads the file. `known` are the keys that it may contain besides
    /// `model`. Everything wrong with it is added to the errors; what is
    /// returned is the rest.
    pub fn read(path: &Path, known: &[&str], errors: &mut ConfigErrors) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
            let reason = format!("the file cannot be read: {error}");
            errors.add(Origin::Flag("config"), &path.display().to_string(), reason);
            String::new()
        });
        let source = Source { path, text: &text };
        let (root, syntax) = DeTable::parse_recoverable(&text);
        for error in &syntax {
            let line = source.line(error.span().map_or(0, |span| span.start));
            errors.add(source.origin(line, ""), "", error.message());
        }
        let mut file = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        for (key, value) in source.table(root.get_ref(), "") {
            match value.item {
                _ if key == "model" => file.add_models(value),
                _ if !known.contains(&key.as_str()) => {
                    errors.add(value.origin, "", unknown_key(&key, known));
                }
                Item::Scalar(text) => {
                    let origin = value.origin;
                    file.settings.insert(key, Given { origin, text });
                }
                other => errors.add(value.origin, "", other.wrong_type(SCALAR)),
            }
        }
        file
    }

    /// `model = "SOURCE"`, `model = ["NAME=SOURCE", ...]` or `[[model]]`.
    fn add_models(&mut self, value: Value) {
        let Value { origin, item } = value;
        match item {
            Item::List(models) => {
                for model in models {
                    self.add_models(model);
                }
            }
            Item::Table(values) => self.models.push(Fields { origin, values }),
            Item::Scalar(source) => self.models.push(Fields::of_source(origin, &source)),
        }
    }

    /// The text of a setting, if the file has it.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<Given> {
        self.settings.get(name).cloned()
    }

    /// The `[[model]]` tables in their order.
    #[must_use]
    pub(super) fn models(&self) -> &[Fields] {
        &self.models
    }

    /// A path of the file: relative ones start at the file's folder.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// The text that is parsed, for line numbers.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// The line of a byte, counted from 1.
    fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    fn origin(&self, line: usize, key: &str) -> Origin {
        Origin::File {
            path: self.path.to_owned(),
            line,
            key: key.to_owned(),
        }
    }

    fn table(&self, table: &DeTable<'_>, parent: &str) -> BTreeMap<String, Value> {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name = AsRef::<str>::as_ref(key.get_ref()).to_owned();
            let path = match parent {
                "" => name.clone(),
                _ => format!("{parent}.{name}"),
            };
            let line = self.line(key.span().start);
            (name, self.value(value.get_ref(), line, &path))
        };
        table.iter().map(entry).collect()
    }

    fn value(&self, value: &DeValue<'_>, line: usize, key: &str) -> Value {
        let item = match value {
            DeValue::String(text) => Item::Scalar(text.to_string()),
            DeValue::Integer(number) => Item::Scalar(
                i64::from_str_radix(number.as_str(), number.radix())
                    .map_or_else(|_| number.to_string(), |number| number.to_string()),
            ),
            DeValue::Float(number) => Item::Scalar(number.to_string()),
            DeValue::Boolean(flag) => Item::Scalar(flag.to_string()),
            DeValue::Datetime(time) => Item::Scalar(time.to_string()),
            DeValue::Array(values) => Item::List(
                values
                    .iter()
                    .map(|value| self.value(value.get_ref(), self.line(value.span().start), key))
                    .collect(),
            ),
            DeValue::Table(table) => Item::Table(self.table(table, key)),
        };
        Value {
            origin: self.origin(line, key),
            item,
        }
    }
}
