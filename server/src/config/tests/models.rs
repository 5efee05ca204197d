//! Models from flags, file and repository.

use model::Choice;

use std::collections::BTreeMap;

use crate::config::errors::ConfigErrors;
use crate::config::serve::Config;
use crate::config::tests::{Folder, check, flags};
use crate::core::spec::{LoadPolicy, ModelSource, VersionPolicy};
use crate::core::tensor::FloatRange;

/// A folder with the files of two models, a repository of three, and a
/// configuration file.
fn folder(name: &str, config: &str) -> Folder {
    let folder = Folder::new(name);
    for file in [
        "pets.safetensors",
        "labels.txt",
        "repository/birds/1/model.safetensors",
        "repository/birds/3/model.safetensors",
        "repository/birds/x/model.safetensors",
        "repository/cars/model.safetensors",
        "repository/..data/model.safetensors",
        "repository/lost+found/file",
        "repository/README.md",
    ] {
        folder.write(file, "");
    }
    folder.write("resnet.toml", config);
    folder
}

/// The configuration of the file in `folder` and flags in which `DIR` is the
/// folder.
fn read(folder: &Folder, given: &[&str]) -> Result<Config, ConfigErrors> {
    let path = folder.path().display().to_string();
    let mut all = vec![format!("--config={path}/resnet.toml")];
    all.extend(given.iter().map(|flag| flag.replace("DIR", &path)));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    check(&all)
}

fn names(config: &Config) -> Vec<&str> {
    config
        .models
        .iter()
        .map(|spec| spec.name.as_str())
        .collect()
}

/// The errors of a file, and the part of them after its path.
#[track_caller]
fn errors(name: &str, config: &str) -> String {
    let folder = folder(name, config);
    let text = read(&folder, &[]).unwrap_err().to_string();
    text.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn without_models_the_built_in_one_is_served() {
    let config = check(&[]).unwrap();
    assert_eq!(names(&config), [weights::DEFAULT_NAME]);
    assert_eq!(config.default_model, weights::DEFAULT_NAME);
    let source = ModelSource::Checkpoint(weights::DEFAULT_NAME.into());
    assert_eq!(config.models[0].source, source);
}

#[test]
fn several_models_with_and_without_names() {
    let folder = folder("models-flags", "");
    let given = [
        "--model=timm/resnet50.a1_in1k@main",
        "--model=pets=DIR/pets.safetensors",
        "--model=DIR/repository/birds",
    ];
    let config = read(&folder, &given).unwrap();
    assert_eq!(names(&config), ["resnet50.a1_in1k", "pets", "birds"]);
    assert_eq!(config.default_model, "resnet50.a1_in1k");
    let versioned = ModelSource::Versioned(folder.path().join("repository/birds"));
    assert_eq!(config.models[2].source, versioned);
    let config = read(&folder, &[&given[..], &["--default-model=pets"]].concat()).unwrap();
    assert_eq!(config.default_model, "pets");
}

#[test]
fn a_repository_is_a_folder_of_models() {
    let folder = folder("models-repository", "models = 'repository'");
    let config = read(&folder, &[]).unwrap();
    assert_eq!(names(&config), ["birds", "cars"]);
    assert_eq!(config.default_model, "birds");
    assert_eq!(config.repository, Some(folder.path().join("repository")));
    let cars = ModelSource::Versioned(folder.path().join("repository/cars"));
    assert_eq!(config.models[1].source, cars);

    let empty = Folder::new("models-empty");
    let flag = format!("--models={}", empty.path().display());
    let text = check(&[&flag]).unwrap_err().to_string();
    assert!(text.contains("contains no model"), "{text}");
    empty.write("a b/file", "");
    let text = check(&[&flag]).unwrap_err().to_string();
    assert!(
        text.contains("the folder a b cannot be the name of a model"),
        "{text}"
    );
}

#[test]
fn a_table_has_every_setting_of_a_model() {
    let text = r#"
        models = "repository"
        device = "cpu"
        [[model]]
        name = "pets"
        source = "pets.safetensors"
        labels = "labels.txt"
        aliases = ["cats", "dogs"]
        dtype = "f32"
        isa = "portable"
        engine = "candle"
        max-batch = 4
        load = "on-demand"
        floats = "0..255"
        default = true
        [[model]]
        name = "birds"
        versions = [1, 3]
        traffic = { "1" = 90, "3" = 10 }
    "#;
    let folder = folder("models-table", text);
    let config = read(&folder, &[]).unwrap();
    assert_eq!(names(&config), ["pets", "birds", "cars"]);
    assert_eq!(config.default_model, "pets");
    let pets = &config.models[0];
    assert_eq!(pets.floats, FloatRange::Bytes);
    assert_eq!(config.models[1].floats, FloatRange::Normalised);
    let file = folder.path().join("pets.safetensors");
    assert_eq!(
        pets.source,
        ModelSource::Checkpoint(file.display().to_string())
    );
    assert_eq!(pets.labels, Some(folder.path().join("labels.txt")));
    assert_eq!(pets.aliases, ["cats", "dogs"]);
    assert_eq!(pets.max_batch, Some(4));
    assert_eq!(pets.load, LoadPolicy::OnDemand);
    assert_eq!(pets.options.device, Choice::Named(model::Device::Cpu));
    assert_eq!(pets.options.dtype, Choice::Named(model::Dtype::F32));
    assert_eq!(pets.options.isa, Choice::Named(model::Isa::Portable));
    let birds = &config.models[1];
    assert_eq!(birds.versions, VersionPolicy::Only(vec![1, 3]));
    assert_eq!(birds.traffic, BTreeMap::from([(1, 90), (3, 10)]));
    assert_eq!(birds.load, LoadPolicy::AtStart);
    assert_eq!(birds.options.dtype, Choice::Auto);
}

#[test]
fn versions_follow_from_traffic_if_they_are_not_given() {
    let text = "models = 'repository'\n[[model]]\nname = 'birds'\ntraffic = {'3' = 1}\n";
    let config = read(&folder("models-traffic", text), &[]).unwrap();
    assert_eq!(config.models[0].versions, VersionPolicy::Only(vec![3]));
    let text = "models = 'repository'\n[[model]]\nname = 'birds'\nversions = 'all'\n";
    let config = read(&folder("models-traffic", text), &[]).unwrap();
    assert_eq!(config.models[0].versions, VersionPolicy::All);
}

#[test]
fn models_can_be_listed_without_tables() {
    let text = "model = ['pets.safetensors', 'other=timm/resnet18']";
    let config = read(&folder("models-list", text), &[]).unwrap();
    assert_eq!(names(&config), ["pets", "other"]);
    let config = read(&folder("models-list", "model = 'timm/resnet18'"), &[]).unwrap();
    assert_eq!(names(&config), ["resnet18"]);
}

#[test]
fn a_model_on_the_command_line_replaces_one_and_adds_others() {
    let text = "default-model = 'pets'\n[[model]]\nname = 'pets'\nsource = 'gone.pth'\n\
                [[model]]\nname = 'other'\nsource = 'timm/resnet18'\ndefault = true\n";
    let folder = folder("models-replace", text);
    let config = read(&folder, &["--model=pets=timm/resnet34"]).unwrap();
    assert_eq!(names(&config), ["pets", "other"]);
    assert_eq!(config.default_model, "pets");
    let source = ModelSource::Checkpoint("timm/resnet34".into());
    assert_eq!(config.models[0].source, source);
    let given = ["--model=new=timm/resnet50", "--model=pets=timm/resnet34"];
    let config = read(&folder, &given).unwrap();
    assert_eq!(names(&config), ["new", "pets", "other"]);
    assert_eq!(config.default_model, "new");
}

#[test]
fn labels_apply_to_one_model_only() {
    let folder = folder("models-labels", "");
    let labels = "--labels=DIR/labels.txt";
    let config = read(&folder, &[labels]).unwrap();
    assert_eq!(
        config.models[0].labels,
        Some(folder.path().join("labels.txt"))
    );
    let given = [labels, "--model=timm/resnet18", "--model=timm/resnet34"];
    let text = read(&folder, &given).unwrap_err().to_string();
    assert!(
        text.contains("applies to one model, but there are 2"),
        "{text}"
    );
}

#[test]
fn duplicate_names_and_aliases_are_errors() {
    let text = errors(
        "models-duplicate",
        "[[model]]\nname = 'a'\nsource = 'o/x'\n[[model]]\nname = 'b'\nsource = 'o/y'\n\
         aliases = ['a', 'c']\n[[model]]\nsource = 'o/c'\n",
    );
    assert!(
        text.contains("resnet.toml:4: model a: the name `a` is used twice"),
        "{text}"
    );
    assert!(text.contains("the name `c` is used twice"), "{text}");
    let text = check(&["--model=a/x", "--model=b/x"])
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("--model x: the name `x` is used twice"),
        "{text}"
    );
}

#[test]
fn the_errors_of_tables_name_their_lines() {
    let text = errors(
        "models-errors",
        "models = 'repository'\ndefault-model = 'missing'\n\
         [[model]]\nname = 'a b'\nsource = 'o/x'\n\
         [[model]]\nname = 'pets'\nsource = 'missing.pth'\nsize = 4\n\
         [[model]]\nname = 'nowhere'\n\
         [[model]]\nname = 'cars'\nsource = 'o/x'\n\
         [[model]]\nname = 'birds'\ndtype = 'f8'\nmax-batch = 0\nload = 'later'\n\
         default = 'yes'\naliases = ['-']\nversions = 'first'\ntraffic = [1]\n\
         [[model]]\nlabels = []\n",
    );
    for expected in [
        "resnet.toml:4: model.name a b: invalid name: a name starts with",
        "resnet.toml:8: model.source missing.pth: must be a checkpoint file",
        "resnet.toml:9: model.size: unknown key; expected one of name, source",
        "resnet.toml:10: model: the model `nowhere` needs `source`",
        "resnet.toml:14: model.source o/x: the model repository already has `cars`",
        "resnet.toml:17: model.dtype f8: `f8` is not",
        "resnet.toml:18: model.max-batch 0: must be a whole number",
        "resnet.toml:19: model.load later: must be start or on-demand",
        "resnet.toml:20: model.default yes: must be true or false",
        "resnet.toml:21: model.aliases -: invalid alias",
        "resnet.toml:22: model.versions first: must be latest, all, or an array",
        "resnet.toml:23: model.traffic: must be a table",
        "resnet.toml:24: model: the table needs `name` or `source`",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    assert_eq!(text.lines().count(), 1 + 13, "{text}");
}

#[test]
fn traffic_goes_to_served_versions_only() {
    let table = |rest: &str| format!("models = 'repository'\n[[model]]\nname = 'birds'\n{rest}");
    for (rest, expected) in [
        (
            "versions = [1]\ntraffic = {'1' = 1, '3' = 1}",
            "version 3 is not served",
        ),
        (
            "versions = 'all'\ntraffic = {'2' = 1}",
            "version 2 is not served",
        ),
        (
            "versions = 'latest'\ntraffic = {'3' = 1}",
            "`versions` is latest",
        ),
        ("traffic = {'1' = 0, '3' = 0}", "the weights add up to 0"),
        ("traffic = {'one' = 1}", "one: is not a version"),
        (
            "traffic = {'1' = 1000001}",
            "must be a whole number from 0 to 1000000",
        ),
        ("versions = []", "must be latest, all, or an array"),
    ] {
        let text = errors("models-versions", &table(rest));
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
    let checkpoint = "[[model]]\nsource = 'pets.safetensors'\nversions = [2]";
    let text = errors("models-versions", checkpoint);
    assert!(text.contains("a single checkpoint is version 1"), "{text}");
}

#[test]
fn the_default_is_one_of_the_models() {
    let text = check(&["--default-model=pets"]).unwrap_err().to_string();
    assert!(
        text.contains("--default-model pets: no model has this name"),
        "{text}"
    );
    let two =
        "[[model]]\nsource = 'o/a'\ndefault = true\n[[model]]\nsource = 'o/b'\ndefault = true\n";
    let text = errors("models-default", two);
    assert!(text.contains("only one model can be the default"), "{text}");
    let alias = "default-model = 'best'\n[[model]]\nsource = 'o/a'\n[[model]]\nsource = 'o/b'\naliases = 'best'\n";
    let config = read(&folder("models-default", alias), &[]).unwrap();
    assert_eq!(config.default_model, "b");
}

#[test]
fn a_second_check_sees_the_changes_of_file_and_folder() {
    let folder = folder("models-reload", "models = 'repository'\nmax-batch = 4\n");
    let flags = flags(&[&format!("--config={}/resnet.toml", folder.path().display())]);
    let config = flags.check().unwrap();
    assert_eq!(
        (config.limits.max_batch, names(&config)),
        (4, vec!["birds", "cars"])
    );
    folder.write("resnet.toml", "models = 'repository'\nmax-batch = 8\n");
    folder.write("repository/dogs/model.safetensors", "");
    let config = flags.check().unwrap();
    assert_eq!(
        (config.limits.max_batch, names(&config)),
        (8, vec!["birds", "cars", "dogs"])
    );
    folder.write("resnet.toml", "max-batch = 0\n");
    assert!(flags.check().is_err());
}
