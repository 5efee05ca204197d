//! The value of each setting: a flag or its environment variable, else the
//! configuration file, else the default.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::config::errors::{ConfigErrors, Origin};
use crate::config::file::ConfigFile;
use crate::config::value::Given;

/// Reads settings and collects the errors of all of them.
#[derive(Debug, Default)]
pub struct Settings {
    /// The configuration file, if there is one.
    pub file: ConfigFile,
    /// The errors found so far.
    pub errors: ConfigErrors,
}

impl Settings {
    /// The text of a setting, if it was given.
    #[must_use]
    pub fn find(&self, name: &'static str, flag: Option<&str>) -> Option<Given> {
        let flag = flag.map(|text| Given {
            origin: Origin::Flag(name),
            text: text.to_owned(),
        });
        flag.or_else(|| self.file.setting(name))
    }

    /// The value of a setting. A value that cannot be used is an error, and
    /// the type's default is returned.
    pub fn read<T: Default, E: Display>(
        &mut self,
        name: &'static str,
        flag: Option<&str>,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        let given = self.find(name, flag).unwrap_or_else(|| Given {
            origin: Origin::Flag(name),
            text: default.to_owned(),
        });
        self.parse(&given, parse)
    }

    /// The value of a text. An invalid one is an error, and the type's default
    /// is returned.
    pub fn parse<T: Default, E: Display>(
        &mut self,
        given: &Given,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        parse(given.text.trim()).unwrap_or_else(|reason| {
            self.errors
                .add(given.origin.clone(), given.text.trim(), reason);
            T::default()
        })
    }

    /// A path. One in the configuration file is relative to the file's folder.
    #[must_use]
    pub fn path(&self, name: &'static str, flag: Option<&Path>) -> Option<(Origin, PathBuf)> {
        match flag {
            Some(path) => Some((Origin::Flag(name), path.to_owned())),
            None => self
                .file
                .setting(name)
                .map(|given| (given.origin, self.file.resolve(&given.text))),
        }
    }

    /// An error for a setting whose value contradicts another one, unless it
    /// has an error already.
    pub fn contradiction(&mut self, name: &'static str, flag: Option<&str>, reason: &str) {
        let given = self.find(name, flag).unwrap_or_else(|| Given {
            origin: Origin::Flag(name),
            text: String::new(),
        });
        if !self.errors.concern(&given.origin) {
            self.errors.add(given.origin, &given.text, reason);
        }
    }
}
