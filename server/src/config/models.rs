//! Which models `serve` runs: those of the flags, of the configuration file and
//! of the model repository.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::config::errors::Origin;
use crate::config::limits::LARGEST_BATCH;
use crate::config::name::split;
use crate::config::repository::models_in;
use crate::config::run::{RunConfig, RunFlags};
use crate::config::settings::Settings;
use crate::config::source::{derive_name, model_source};
use crate::config::table::Table;
use crate::config::units;
use crate::config::value::Given;
use crate::core::spec::{LoadPolicy, ModelSource, ModelSpec, VersionPolicy};
use crate::core::tensor::FloatRange;

/// The flags that say which models are served, as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelsFlags {
    /// Model to serve: the built-in model's name, a checkpoint file, a folder,
    /// a Hugging Face repository, org/name or org/name@revision, or an address,
    /// s3://bucket/folder; with @sha256:DIGEST only these weights; repeat the
    /// flag for several models and name them with NAME=SOURCE; the first one
    /// answers /classify [default: resnet50_thin]
    #[arg(
        long,
        visible_alias = "weights",
        env = "RESNET_MODEL",
        value_name = "[NAME=]SOURCE"
    )]
    model: Vec<String>,

    /// Model repository: a folder with NAME/ or NAME/VERSION/ for each model
    #[arg(long, env = "RESNET_MODELS", value_name = "FOLDER")]
    models: Option<PathBuf>,

    /// Name of the model that answers /classify [default: the first --model]
    #[arg(long, env = "RESNET_DEFAULT_MODEL", value_name = "NAME")]
    default_model: Option<String>,

    /// File with the class names of the only model: a JSON array or object, or
    /// one name per line
    #[arg(long, env = "RESNET_LABELS", value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// The models to serve.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// One specification for each model, with unique names and aliases.
    pub specs: Vec<ModelSpec>,
    /// The name of the default model.
    pub default: String,
    /// The folder of the model repository.
    pub repository: Option<PathBuf>,
}

/// What the models have in common.
pub(super) struct Common<'a> {
    /// The flags, to see which of them were given.
    pub(super) flags: &'a RunFlags,
    /// Device, data type and so on where a table sets nothing else.
    pub(super) run: &'a RunConfig,
    /// The largest batch where a table sets nothing else.
    pub(super) max_batch: usize,
    /// Whether the largest batch was given as a flag, which wins over tables.
    pub(super) max_batch_given: bool,
}

/// A model with the place where it was given.
struct Entry {
    origin: Origin,
    spec: ModelSpec,
    is_default: bool,
}

impl ModelsFlags {
    /// Reads every model; errors are added to those of the settings.
    pub(super) fn read(&self, common: &Common<'_>, settings: &mut Settings) -> Models {
        let errors_before = settings.errors.iter().count();
        let mut entries = self.given(common, settings);
        let given = entries.len();
        let repository = settings.path("models", self.models.as_deref());
        let found = repository
            .as_ref()
            .map_or_else(Vec::new, |(origin, folder)| {
                models_in(folder).unwrap_or_else(|reason| {
                    let folder = folder.display().to_string();
                    settings.errors.add(origin.clone(), &folder, reason);
                    Vec::new()
                })
            });
        let mut folders: HashMap<&str, &Path> = HashMap::new();
        for (name, path) in &found {
            folders.insert(name, path);
        }
        from_tables(&mut entries, &folders, common, settings);
        if let Some((origin, _)) = &repository {
            for (name, path) in &found {
                if entries.iter().all(|entry| entry.spec.name != *name) {
                    let source = ModelSource::Versioned(path.clone());
                    entries.push(Entry::new(origin, name, source, common));
                }
            }
        }
        let no_errors = settings.errors.iter().count() == errors_before;
        if entries.is_empty() && no_errors {
            let name = weights::DEFAULT_NAME;
            let source = ModelSource::Checkpoint(name.to_owned());
            entries.push(Entry::new(&Origin::Flag("model"), name, source, common));
        }
        check_unique(&entries, settings);
        self.set_labels(&mut entries, settings);
        // an invalid model would make a valid default look unknown
        let default = match no_errors {
            true => self.default(&entries, given > 0, settings),
            false => String::new(),
        };
        Models {
            specs: entries.into_iter().map(|entry| entry.spec).collect(),
            default,
            repository: repository.map(|(_, folder)| folder),
        }
    }

    /// The models of `--model`.
    fn given(&self, common: &Common<'_>, settings: &mut Settings) -> Vec<Entry> {
        let origin = Origin::Flag("model");
        let mut entries = Vec::new();
        for text in &self.model {
            let (name, source) = split(text);
            let name = name.map_or_else(|| derive_name(source), |name| Ok(name.to_owned()));
            match model_source(source).and_then(|source| Ok((name?, source))) {
                Ok((name, source)) => entries.push(Entry::new(&origin, &name, source, common)),
                Err(reason) => settings.errors.add(origin.clone(), text, reason),
            }
        }
        entries
    }

    /// `--labels`, which replaces the class names of one model.
    fn set_labels(&self, entries: &mut [Entry], settings: &mut Settings) {
        let Some((origin, labels)) = settings.path("labels", self.labels.as_deref()) else {
            return;
        };
        match entries {
            [entry] if entry.spec.labels.is_none() || self.labels.is_some() => {
                entry.spec.labels = Some(labels);
            }
            [] | [_] => {}
            several => {
                let reason = format!(
                    "applies to one model, but there are {}; set `labels` in the [[model]] \
                     tables of the configuration file",
                    several.len()
                );
                let labels = labels.display().to_string();
                settings.errors.add(origin, &labels, reason);
            }
        }
    }

    /// The default: `--default-model`, the first `--model`, `default-model` of
    /// the file, the table with `default = true`, or the first model.
    fn default(&self, entries: &[Entry], flags: bool, settings: &mut Settings) -> String {
        let marked: Vec<&Entry> = entries.iter().filter(|entry| entry.is_default).collect();
        if let [first, second, ..] = marked[..] {
            let reason = format!(
                "only one model can be the default, but `{}` and `{}` are",
                first.spec.name, second.spec.name
            );
            settings.errors.add(second.origin.clone(), "", reason);
        }
        let first = entries.first().map(|entry| entry.spec.name.clone());
        let named = match (&self.default_model, flags) {
            (None, true) => None,
            (flag, _) => settings.find("default-model", flag.as_deref()),
        };
        let Some(named) = named else {
            let marked = marked.first().filter(|_| !flags);
            let marked = marked.map(|entry| entry.spec.name.clone());
            return marked.or(first).unwrap_or_default();
        };
        settings.parse(&named, |text| {
            let is_named = |entry: &&Entry| entry.names().any(|name| name == text);
            let found = entries.iter().find(is_named);
            found.map(|entry| entry.spec.name.clone()).ok_or_else(|| {
                let names: Vec<&str> = entries.iter().map(|e| e.spec.name.as_str()).collect();
                format!("no model has this name; there are {}", names.join(", "))
            })
        })
    }
}

impl Entry {
    /// A model without individual settings.
    fn new(origin: &Origin, name: &str, source: ModelSource, common: &Common<'_>) -> Self {
        let mut options = common.run.options.clone();
        options.cuda.largest_batch = common.max_batch;
        Self {
            origin: origin.clone(),
            spec: ModelSpec {
                name: name.to_owned(),
                aliases: Vec::new(),
                source,
                versions: VersionPolicy::Latest,
                traffic: std::collections::BTreeMap::new(),
                labels: None,
                options,
                max_batch: None,
                load: LoadPolicy::AtStart,
                floats: FloatRange::default(),
            },
            is_default: false,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let aliases = self.spec.aliases.iter();
        std::iter::once(self.spec.name.as_str()).chain(aliases.map(String::as_str))
    }

    /// Applies the settings of a table.
    fn apply(&mut self, table: &Table, common: &Common<'_>, settings: &mut Settings) {
        let spec = &mut self.spec;
        spec.aliases = table.aliases(&mut settings.errors);
        (spec.versions, spec.traffic) = table.versions(&spec.source, settings);
        spec.load = table.load(settings);
        spec.floats = table.floats(settings);
        spec.options = common.flags.of_model(table, common.run, settings);
        spec.max_batch = table
            .scalar("max-batch", &mut settings.errors)
            .map(|given| settings.parse(&given, |text| units::count(text, 1..=LARGEST_BATCH)))
            .filter(|_| !common.max_batch_given);
        spec.options.cuda.largest_batch = spec.max_batch.unwrap_or(common.max_batch);
        let labels = table.scalar("labels", &mut settings.errors);
        spec.labels = labels.map(|given| settings.file.resolve(&given.text));
        self.is_default = table.is_default(settings);
    }
}

/// The models of the file's tables, except those that a flag replaces.
/// `folders` are the models of the repository, which a table can refine.
fn from_tables(
    entries: &mut Vec<Entry>,
    folders: &HashMap<&str, &Path>,
    common: &Common<'_>,
    settings: &mut Settings,
) {
    let replaced: Vec<String> = entries
        .iter()
        .map(|entry| entry.spec.name.clone())
        .collect();
    for fields in settings.file.models().to_vec() {
        let table = Table::new(&fields, &mut settings.errors);
        let source = table.source(&settings.file, &mut settings.errors);
        let Some(name) = table.name(source.as_ref(), &mut settings.errors) else {
            continue;
        };
        if replaced.contains(&name) {
            continue;
        }
        let folder = folders.get(name.as_str()).copied();
        let source = table_source(&table, &name, source, folder, settings);
        if let Some(source) = source {
            let mut entry = Entry::new(table.origin(), &name, source, common);
            entry.apply(&table, common, settings);
            entries.push(entry);
        }
    }
}

/// Where the checkpoints of a table's model are: its `source`, or the folder of
/// that name in the repository.
fn table_source(
    table: &Table,
    name: &str,
    source: Option<Given>,
    folder: Option<&Path>,
    settings: &mut Settings,
) -> Option<ModelSource> {
    match (source, folder) {
        (Some(source), None) => settings.parse(&source, |text| model_source(text).map(Some)),
        (None, Some(folder)) => Some(ModelSource::Versioned(folder.to_owned())),
        (Some(source), Some(folder)) => {
            let reason = format!(
                "the model repository already has `{name}` in {}; remove `source` or choose \
                 another name",
                folder.display()
            );
            settings.errors.add(source.origin, &source.text, reason);
            None
        }
        (None, None) => {
            // a source of the wrong type has been reported
            if !table.has("source") {
                let reason = format!(
                    "the model `{name}` needs `source`, or a folder {name}/ in the model repository"
                );
                settings.errors.add(table.origin().clone(), "", reason);
            }
            None
        }
    }
}

/// Names and aliases are unique over all models.
fn check_unique(entries: &[Entry], settings: &mut Settings) {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for entry in entries {
        for name in entry.names() {
            if let Some(owner) = seen.insert(name, &entry.spec.name) {
                let reason = format!(
                    "the name `{name}` is used twice (models `{owner}` and `{}`); names and \
                     aliases must be unique: name a model with NAME=SOURCE",
                    entry.spec.name
                );
                settings.errors.add(entry.origin.clone(), name, reason);
            }
        }
    }
}
