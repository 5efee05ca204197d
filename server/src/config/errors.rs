//! Configuration errors, collected so that all of them are reported together.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag or its environment variable; the name without dashes, as
    /// `max-batch`.
    Flag(&'static str),
    /// A standard environment variable of OpenTelemetry.
    Variable(&'static str),
    /// A key of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key, as `port`, or `model.pets.dtype` for a model's.
        key: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line, key } if key.is_empty() => {
                write!(f, "{}:{line}", path.display())
            }
            Self::File { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
        }
    }
}

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was given.
    pub origin: Origin,
    /// The value that was given.
    pub value: String,
    /// What is wrong with it, and what would be accepted.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if !self.value.is_empty() {
            write!(f, " {}", self.value)?;
        }
        write!(f, ": {}", self.reason)?;
        match self.origin {
            Origin::Flag(name) => write!(f, " (environment variable: {})", variable(name)),
            Origin::File { .. } | Origin::Variable(_) => Ok(()),
        }
    }
}

/// The environment variable of a flag: `RESNET_MAX_BATCH` for `max-batch`.
#[must_use]
pub fn variable(flag: &str) -> String {
    format!("RESNET_{}", flag.replace('-', "_").to_uppercase())
}

/// Every configuration error found, in the order of the settings.
#[derive(Clone, Debug, Default, thiserror::Error)]
pub struct ConfigErrors(Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is invalid:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl ConfigErrors {
    /// Adds an error.
    pub fn add(&mut self, origin: Origin, value: &str, reason: impl fmt::Display) {
        self.0.push(ConfigError {
            origin,
            value: value.to_owned(),
            reason: reason.to_string(),
        });
    }

    /// Whether the setting given at `origin` has an error already.
    #[must_use]
    pub fn concern(&self, origin: &Origin) -> bool {
        self.0.iter().any(|error| error.origin == *origin)
    }

    /// `value`, if there is no error.
    ///
    /// # Errors
    /// All errors found.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// The errors in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}
