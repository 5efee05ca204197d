//! The settings of `serve` as flags, environment variables and file, together.

mod file;
mod models;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser};

use crate::config::errors::{ConfigError, ConfigErrors, Origin, variable};
use crate::config::serve::{Config, ServeFlags};
use crate::config::transport::ListenOn;
use crate::config::units::Address;
use crate::core::answer::MIN_CONFIDENCE;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    serve: ServeFlags,
}

fn flags(flags: &[&str]) -> ServeFlags {
    Command::parse_from([&["resnet"], flags].concat()).serve
}

fn check(given: &[&str]) -> Result<Config, ConfigErrors> {
    flags(given).check()
}

/// The flags and values that have errors, sorted.
fn wrong_flags(errors: &ConfigErrors) -> Vec<(&str, &str)> {
    let flag = |error: &'_ ConfigError| match error.origin {
        Origin::Flag(name) => name,
        Origin::File { .. } | Origin::Variable(_) => panic!("{error} is not the error of a flag"),
    };
    let mut found: Vec<(&str, &str)> = errors
        .iter()
        .map(|error| (flag(error), error.value.as_str()))
        .collect();
    found.sort_unstable();
    found
}

/// A value for each setting that it does not accept.
const WRONG: [(&str, &str); 41] = [
    ("admin", "9000"),
    ("api-keys", "/no/such/file"),
    ("body-memory", "1 potato"),
    ("body-timeout", "soon"),
    ("cache", "lots"),
    ("cors-origin", "example.org"),
    ("device", "tpu"),
    ("drain-delay", "soon"),
    ("drain-timeout", "2d"),
    ("dtype", "f8"),
    ("engine", "torch"),
    ("header-timeout", ""),
    ("image-url-private", "http://example.org"),
    ("image-url-timeout", "never"),
    ("image-urls", "ftp://example.org/"),
    ("isa", "sse"),
    ("listen", "80"),
    ("log", "server=loud"),
    ("log-format", "xml"),
    ("max-batch", "0"),
    ("max-body", "0"),
    ("max-connections", "0"),
    ("max-connections-per-address", "none"),
    ("max-images", "-1"),
    ("max-in-flight", "none"),
    ("max-pixels", "1e6"),
    ("min-confidence", "80%"),
    ("model", "/no/such/file"),
    ("model-memory", "-1"),
    ("models", "/no/such/folder"),
    ("otlp-endpoint", "localhost:4317"),
    ("otlp-protocol", "http"),
    ("port", "65536"),
    ("protocols", "oip,kserve"),
    ("request-timeout", "0s"),
    ("self-check", "perhaps"),
    ("stream-timeout", "long"),
    ("streams", "0"),
    ("threads", "0"),
    ("watch", "never"),
    ("write-timeout", "fast"),
];

/// Settings without an entry in `WRONG`: the values depend on another setting, or are
/// checked when they are used.
const WITHOUT_A_WRONG_VALUE: [&str; 8] = [
    "config",
    "default-model",
    "host",
    "labels",
    "tls-cert",
    "tls-client-ca",
    "tls-key",
    "tune",
];

/// Host and port of the first public address.
pub(super) fn listens_on(config: &Config) -> (&str, u16) {
    match &config.transport.listen[0] {
        ListenOn::Tcp(address) => (&address.host, address.port),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_are_valid() {
    let config = check(&[]).unwrap();
    assert_eq!(listens_on(&config), ("127.0.0.1", 8000));
    assert_eq!(config.limits.max_in_flight, 320);
    assert_eq!(config.limits.max_body, 32 << 20);
    assert_eq!(config.limits.request_timeout, Duration::from_secs(30));
    assert_eq!(config.admin, None);
    assert!((config.min_confidence - MIN_CONFIDENCE).abs() < f64::EPSILON);
    assert_eq!(config.model_memory, None);
    assert_eq!(config.watch, Some(Duration::from_secs(2)));
    assert!(config.threads >= 1);
}

#[test]
fn every_setting_has_a_wrong_value() {
    let command = Command::command();
    let mut flags: Vec<&str> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter_map(clap::Arg::get_long)
        .filter(|flag| !WITHOUT_A_WRONG_VALUE.contains(flag))
        .collect();
    flags.sort_unstable();
    assert_eq!(flags, WRONG.map(|(flag, _)| flag));
}

#[test]
fn all_configuration_errors_are_reported_together() {
    let given: Vec<String> = WRONG
        .iter()
        .map(|(flag, value)| format!("--{flag}={value}"))
        .collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let errors = check(&given).unwrap_err();
    assert_eq!(wrong_flags(&errors), WRONG);

    let text = errors.to_string();
    let expected = "--max-batch 0: must be a whole number from 1 to 1024 \
                    (environment variable: RESNET_MAX_BATCH)";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn limits_that_contradict_each_other_are_errors() {
    let errors = check(&[
        "--max-in-flight=4",
        "--max-images=5",
        "--max-body=2M",
        "--body-memory=1M",
    ])
    .unwrap_err();
    let origins: Vec<&Origin> = errors.iter().map(|error| &error.origin).collect();
    let expected = [Origin::Flag("max-images"), Origin::Flag("max-body")];
    assert_eq!(origins, expected.iter().collect::<Vec<_>>());
}

/// A value with an error is compared with no other value.
#[test]
fn an_invalid_limit_causes_one_error_only() {
    let errors = check(&["--max-in-flight=none", "--body-memory=none"]).unwrap_err();
    assert_eq!(errors.iter().count(), 2, "{errors}");
}

#[test]
fn former_names_of_flags_still_work() {
    let config = check(&["--queue=100", "--lanes=3"]).unwrap();
    assert_eq!(config.limits.max_in_flight, 100);
    assert_eq!(config.models[0].options.cuda.streams, 3);
    let config = check(&["--queue=100", "--max-in-flight=200"]).unwrap();
    assert_eq!(config.limits.max_in_flight, 200);
}

#[test]
fn the_admin_api_has_its_own_port() {
    let config = check(&["--admin=localhost:8001"]).unwrap();
    let address = Address {
        host: "localhost".into(),
        port: 8001,
    };
    assert_eq!(config.admin, Some(address));
    let errors = check(&["--admin=localhost:80", "--port=80"]).unwrap_err();
    assert!(
        errors
            .to_string()
            .contains("--admin localhost:80: is the port")
    );
    assert!(check(&["--admin=localhost:0", "--port=0"]).is_ok());
}

/// The variable that an error names is the one that the flag reads.
#[test]
fn every_flag_has_a_variable_and_a_help_text() {
    let command = Command::command();
    for flag in command
        .get_arguments()
        // Those of Vertex AI have its names, and are hidden.
        .filter(|flag| flag.get_id() != "help" && !flag.is_hide_set())
    {
        let name = flag.get_long().unwrap();
        let expected = variable(name);
        let found = flag
            .get_env()
            .unwrap_or_else(|| panic!("--{name} has no variable"));
        assert_eq!(found.to_str(), Some(expected.as_str()));
        assert!(flag.get_help().is_some(), "--{name} has no help");
    }
}

/// The defaults that the help texts state are the values that apply.
#[test]
fn the_help_states_the_defaults() {
    let command = Command::command();
    let stated = command.get_arguments().filter_map(|flag| {
        let help = flag.get_help()?.to_string();
        let (_, default) = help.rsplit_once("[default: ")?;
        let default = default.strip_suffix(']')?.to_owned();
        let applies = !default.contains(' ');
        applies.then(|| (flag.get_long().unwrap().to_owned(), default))
    });
    let given: Vec<String> = stated
        .map(|(name, default)| format!("--{name}={default}"))
        .collect();
    assert!(given.len() >= 24, "{given:?}");
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let stated = check(&given).unwrap();
    assert_eq!(format!("{stated:?}"), format!("{:?}", check(&[]).unwrap()));
}

/// A folder that is removed at the end of a test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(name: &str) -> Self {
        Self(tempfile::Builder::new().prefix(name).tempdir().unwrap())
    }

    /// Creates a file, with its folders.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}
