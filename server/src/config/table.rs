//! A `[[model]]` table of the configuration file.

use std::collections::BTreeMap;

use crate::config::errors::{ConfigErrors, Origin};
use crate::config::file::ConfigFile;
use crate::config::name::{NAME_RULE, is_name};
use crate::config::settings::Settings;
use crate::config::source::derive_name;
use crate::config::units;
use crate::config::value::{Fields, Given, Item, SCALAR, Value, unknown_key};
use crate::core::spec::{LoadPolicy, ModelSource, VersionPolicy};
use crate::core::tensor::FloatRange;
use crate::core::versions::versions_in;

/// The keys of a table.
const KEYS: [&str; 14] = [
    "name",
    "source",
    "versions",
    "labels",
    "device",
    "dtype",
    "isa",
    "engine",
    "max-batch",
    "aliases",
    "traffic",
    "load",
    "floats",
    "default",
];

/// The largest weight of a version, so that a sum of weights cannot overflow.
const LARGEST_WEIGHT: u32 = 1_000_000;

/// One table, with known keys only.
#[derive(Clone, Debug)]
pub(super) struct Table {
    origin: Origin,
    fields: BTreeMap<String, Value>,
}

impl Table {
    /// A table of the file. Unknown keys are added to the errors.
    pub(super) fn new(fields: &Fields, errors: &mut ConfigErrors) -> Self {
        let Fields { origin, mut values } = fields.clone();
        values.retain(|key, value| {
            let known = KEYS.contains(&key.as_str());
            if !known {
                errors.add(value.origin.clone(), "", unknown_key(key, &KEYS));
            }
            known
        });
        Self {
            origin,
            fields: values,
        }
    }

    /// Where the table starts.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A single value.
    pub(super) fn scalar(&self, key: &str, errors: &mut ConfigErrors) -> Option<Given> {
        given(self.fields.get(key)?, errors)
    }

    /// Whether the table has a key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// The source as the file says it, where a relative path that exists
    /// starts at the file's folder.
    pub(super) fn source(&self, file: &ConfigFile, errors: &mut ConfigErrors) -> Option<Given> {
        let mut source = self.scalar("source", errors)?;
        let path = file.resolve(&source.text);
        if source.text != weights::DEFAULT_NAME && path.exists() {
            source.text = path.to_string_lossy().into_owned();
        }
        Some(source)
    }

    /// The name, given or derived from the source.
    pub(super) fn name(&self, source: Option<&Given>, errors: &mut ConfigErrors) -> Option<String> {
        if let Some(name) = self.fields.get("name") {
            let name = given(name, errors)?;
            if !is_name(&name.text) {
                errors.add(
                    name.origin,
                    &name.text,
                    format!("invalid name: {NAME_RULE}"),
                );
                return None;
            }
            return Some(name.text);
        }
        let Some(source) = source else {
            // a source of the wrong type has been reported
            if !self.has("source") {
                errors.add(
                    self.origin.clone(),
                    "",
                    "the table needs `name` or `source`",
                );
            }
            return None;
        };
        derive_name(&source.text)
            .map_err(|reason| errors.add(source.origin.clone(), &source.text, reason))
            .ok()
    }

    /// Other names of the model.
    pub(super) fn aliases(&self, errors: &mut ConfigErrors) -> Vec<String> {
        let mut aliases = Vec::new();
        for alias in self.list("aliases", errors) {
            if is_name(&alias.text) {
                aliases.push(alias.text);
            } else {
                errors.add(
                    alias.origin,
                    &alias.text,
                    format!("invalid alias: {NAME_RULE}"),
                );
            }
        }
        aliases
    }

    /// When the model is loaded.
    pub(super) fn load(&self, settings: &mut Settings) -> LoadPolicy {
        let given = self.scalar("load", &mut settings.errors);
        given.map_or_else(LoadPolicy::default, |given| {
            settings.parse(&given, |text| match text {
                "start" => Ok(LoadPolicy::AtStart),
                "on-demand" => Ok(LoadPolicy::OnDemand),
                _ => Err("must be start or on-demand"),
            })
        })
    }

    /// What floats mean that are sent as an image.
    pub(super) fn floats(&self, settings: &mut Settings) -> FloatRange {
        let given = self.scalar("floats", &mut settings.errors);
        given.map_or_else(FloatRange::default, |given| {
            settings.parse(&given, |text| match text {
                "normalised" | "normalized" => Ok(FloatRange::Normalised),
                "0..1" => Ok(FloatRange::Unit),
                "0..255" => Ok(FloatRange::Bytes),
                _ => Err("must be normalised, 0..1 or 0..255"),
            })
        })
    }

    /// Whether the table says that its model is the default.
    pub(super) fn is_default(&self, settings: &mut Settings) -> bool {
        let given = self.scalar("default", &mut settings.errors);
        given.is_some_and(|given| {
            settings.parse(&given, |text| {
                text.parse::<bool>().map_err(|_| "must be true or false")
            })
        })
    }

    /// Which versions are served, and the weight of each. Without `versions`,
    /// those in `traffic` are served, else the latest.
    pub(super) fn versions(
        &self,
        source: &ModelSource,
        settings: &mut Settings,
    ) -> (VersionPolicy, BTreeMap<u64, u32>) {
        let errors_before = settings.errors.iter().count();
        let versions = self.version_policy(settings);
        let traffic = self.traffic(settings);
        let policy = match versions {
            Some(policy) => policy,
            None if traffic.is_empty() => VersionPolicy::Latest,
            None => VersionPolicy::Only(traffic.keys().copied().collect()),
        };
        if settings.errors.iter().count() == errors_before {
            self.check_versions(&policy, &traffic, source, &mut settings.errors);
        }
        (policy, traffic)
    }

    fn version_policy(&self, settings: &mut Settings) -> Option<VersionPolicy> {
        let value = self.fields.get("versions")?;
        let reason = "must be latest, all, or an array of versions such as [1, 2]";
        let single = match &value.item {
            Item::Scalar(text) => text.as_str(),
            _ => "",
        };
        let policy = match single {
            "latest" => VersionPolicy::Latest,
            "all" => VersionPolicy::All,
            _ => {
                let mut numbers = Vec::new();
                for version in self.list("versions", &mut settings.errors) {
                    numbers
                        .push(settings.parse(&version, |text| version_number(text).ok_or(reason)));
                }
                if numbers.is_empty() && !settings.errors.concern(&value.origin) {
                    settings.errors.add(value.origin.clone(), "[]", reason);
                }
                numbers.sort_unstable();
                numbers.dedup();
                VersionPolicy::Only(numbers)
            }
        };
        Some(policy)
    }

    fn traffic(&self, settings: &mut Settings) -> BTreeMap<u64, u32> {
        let mut traffic = BTreeMap::new();
        let Some(value) = self.fields.get("traffic") else {
            return traffic;
        };
        let Item::Table(weights) = &value.item else {
            let reason = value
                .item
                .wrong_type("a table such as { \"1\" = 90, \"2\" = 10 }");
            settings.errors.add(value.origin.clone(), "", reason);
            return traffic;
        };
        let errors_before = settings.errors.iter().count();
        for (version, weight) in weights {
            let Some(number) = version_number(version) else {
                let reason = "is not a version: expected a positive integer in quotes";
                settings.errors.add(weight.origin.clone(), version, reason);
                continue;
            };
            if let Some(given) = given(weight, &mut settings.errors) {
                let weight = settings.parse(&given, |text| units::count(text, 0..=LARGEST_WEIGHT));
                traffic.insert(number, weight);
            }
        }
        let no_errors = settings.errors.iter().count() == errors_before;
        if no_errors && traffic.values().all(|&weight| weight == 0) {
            let reason = "the weights add up to 0; at least one version needs a positive weight";
            settings.errors.add(value.origin.clone(), "", reason);
        }
        traffic
    }

    /// Checks that every version that receives traffic is served.
    fn check_versions(
        &self,
        policy: &VersionPolicy,
        traffic: &BTreeMap<u64, u32>,
        source: &ModelSource,
        errors: &mut ConfigErrors,
    ) {
        let served = match (policy, source) {
            // a checkpoint is version 1, as is a folder without versions
            (VersionPolicy::Latest, _) | (_, ModelSource::Checkpoint(_)) => None,
            (VersionPolicy::Only(versions), _) => Some(versions.clone()),
            (VersionPolicy::All, ModelSource::Versioned(path)) => {
                let found = versions_in(path).unwrap_or_default();
                (!found.is_empty()).then_some(found)
            }
        };
        if let (ModelSource::Checkpoint(_), VersionPolicy::Only(versions)) = (source, policy)
            && *versions != [1]
        {
            let key = if self.has("versions") {
                "versions"
            } else {
                "traffic"
            };
            let reason = "the source has no versions: a single checkpoint is version 1; use a \
                          folder with a subfolder for each version";
            errors.add(self.fields[key].origin.clone(), "", reason);
            return;
        }
        for version in traffic.keys() {
            let is_served = match &served {
                Some(versions) => versions.contains(version),
                None => *version == 1 && *policy != VersionPolicy::Latest,
            };
            if !is_served {
                let reason = match policy {
                    VersionPolicy::Latest => {
                        "`versions` is latest, so traffic cannot be split; list the versions or \
                         set `versions` to all"
                            .to_owned()
                    }
                    _ => format!("version {version} is not served; add it to `versions`"),
                };
                errors.add(self.fields["traffic"].origin.clone(), "", reason);
                return;
            }
        }
    }

    /// The values of an array; a single value is an array of one.
    fn list(&self, key: &str, errors: &mut ConfigErrors) -> Vec<Given> {
        match self.fields.get(key) {
            None => Vec::new(),
            Some(Value {
                item: Item::List(values),
                ..
            }) => values
                .iter()
                .filter_map(|value| given(value, errors))
                .collect(),
            Some(value) => given(value, errors).into_iter().collect(),
        }
    }
}

/// A single value; another type is added to the errors.
fn given(value: &Value, errors: &mut ConfigErrors) -> Option<Given> {
    match &value.item {
        Item::Scalar(text) => Some(Given {
            origin: value.origin.clone(),
            text: text.clone(),
        }),
        other => {
            errors.add(value.origin.clone(), "", other.wrong_type(SCALAR));
            None
        }
    }
}

fn version_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|&number| number > 0)
}
