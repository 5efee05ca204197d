//! The configuration file: precedence, types, error positions.

use std::time::Duration;

use crate::config::errors::{ConfigErrors, Origin};
use crate::config::serve::Config;
use crate::config::tests::{Folder, WRONG, check, listens_on};

/// The configuration of a file and flags.
fn read(name: &str, text: &str, flags: &[&str]) -> Result<Config, ConfigErrors> {
    let folder = Folder::new(name);
    let file = folder.write("resnet.toml", text);
    let config = format!("--config={}", file.display());
    check(&[&[config.as_str()], flags].concat())
}

/// The errors without the folder of the file.
#[track_caller]
fn errors(name: &str, text: &str) -> Vec<String> {
    let errors = read(name, text, &[]).unwrap_err();
    let show = |error: &crate::config::errors::ConfigError| {
        let text = error.to_string();
        let at = text.find("resnet.toml").unwrap_or(0);
        text[at..].to_owned()
    };
    errors.iter().map(show).collect()
}

#[test]
fn a_file_sets_what_flags_set() {
    let text = r#"
        host = "0.0.0.0"
        port = 80
        max-batch = 0x8
        max-body = "1MiB"
        watch = "off"
        drain-timeout = 5
        log = "debug"
    "#;
    let config = read("file-sets", text, &[]).unwrap();
    assert_eq!(listens_on(&config), ("0.0.0.0", 80));
    assert_eq!(config.limits.max_batch, 8);
    assert_eq!(config.limits.max_body, 1 << 20);
    assert_eq!(config.watch, None);
    assert_eq!(config.drain_timeout, Duration::from_secs(5));
    assert_eq!(config.log.levels, "debug");
}

#[test]
fn a_flag_overrides_the_file() {
    let text = "port = 80\nmax-batch = 8\n[[model]]\nname = 'a'\nsource = 'o/a'\ndtype = 'bf16'\nmax-batch = 4\n";
    let config = read("file-flag", text, &["--port=81"]).unwrap();
    assert_eq!((listens_on(&config).1, config.limits.max_batch), (81, 8));
    let spec = &config.models[0];
    assert_eq!(
        (spec.max_batch, spec.options.dtype),
        (Some(4), model::Choice::Named(model::Dtype::Bf16))
    );
    assert_eq!(spec.options.cuda.largest_batch, 4);

    let flags = ["--dtype=f32", "--max-batch=2"];
    let config = read("file-flag", text, &flags).unwrap();
    let spec = &config.models[0];
    assert_eq!(
        (spec.max_batch, spec.options.dtype),
        (None, model::Choice::Named(model::Dtype::F32))
    );
    assert_eq!(spec.options.cuda.largest_batch, 2);
}

/// Every flag is a key, except `--config` itself; `model` has its own test.
#[test]
fn the_errors_of_a_file_name_its_lines() {
    let wrong: Vec<_> = WRONG.iter().filter(|(key, _)| *key != "model").collect();
    let text: String = wrong
        .iter()
        .map(|(key, value)| format!("{key} = \"{value}\"\n"))
        .collect();
    let errors = read("file-lines", &text, &[]).unwrap_err();
    let mut found: Vec<(usize, String, String)> = errors
        .iter()
        .map(|error| match &error.origin {
            Origin::File { line, key, .. } => (*line, key.clone(), error.value.clone()),
            Origin::Flag(name) | Origin::Variable(name) => panic!("{name} is in the file"),
        })
        .collect();
    found.sort();
    let expected = |(i, (key, value)): (usize, &&(&str, &str))| {
        (i + 1, (*key).to_owned(), (*value).to_owned())
    };
    let expected: Vec<_> = wrong.iter().enumerate().map(expected).collect();
    assert_eq!(found, expected);
}

#[test]
fn unknown_keys_and_wrong_types_are_errors() {
    let text = "prot = 80\nport = [80]\nqueue = 5\nhost = {}\n";
    let found = errors("file-unknown", text);
    let expected = [
        "resnet.toml:4: host: must be a string, a number or a boolean, not a table",
        "resnet.toml:2: port: must be a string, a number or a boolean, not an array",
        "resnet.toml:1: prot: unknown key; did you mean `port`?",
        "resnet.toml:3: queue: unknown key; expected one of",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn a_syntax_error_has_its_line() {
    let found = errors("file-syntax", "port = 80\nhost = \n");
    assert!(found[0].starts_with("resnet.toml:2: "), "{found:?}");
}

#[test]
fn the_errors_of_flags_and_file_are_reported_together() {
    let errors = read("file-both", "port = -1\n", &["--max-batch=0"]).unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("resnet.toml:1: port -1: must be"), "{text}");
    assert!(text.contains("--max-batch 0: must be"), "{text}");
}

#[test]
fn a_missing_file_is_an_error() {
    let errors = check(&["--config=/no/such/resnet.toml"]).unwrap_err();
    let text = errors.to_string();
    assert!(
        text.contains("--config /no/such/resnet.toml: the file cannot be read"),
        "{text}"
    );
}

/// The example that packages install, as it is and with all its examples turned on.
#[test]
fn the_example_of_the_packages_is_valid() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/resnet.toml");
    let example = std::fs::read_to_string(example).unwrap();
    let config = read("file-example", &example, &[]).unwrap();
    assert_eq!(listens_on(&config), ("127.0.0.1", 8000));

    let is_key = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let turned_on = |line: &str| match line.strip_prefix("# ") {
        // Keys and certificates, which do not exist here.
        Some(rest) if rest.contains("\"/etc/resnet/") => String::new(),
        Some(rest) if rest.starts_with("[[") => format!("{rest}\n"),
        Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => {
            format!("{rest}\n")
        }
        _ => String::new(),
    };
    let folder = Folder::new("file-example-models");
    folder.write("pets/model.safetensors", "");
    let all: String = example.lines().map(turned_on).collect();
    let all = all.replace("/srv/resnet/models", &folder.path().display().to_string());
    let config = read("file-example-all", &all, &[]).unwrap();
    let names: Vec<&str> = config
        .models
        .iter()
        .map(|model| model.name.as_str())
        .collect();
    assert_eq!(names, ["general", "pets"]);
    assert_eq!(config.default_model, "general");
}
