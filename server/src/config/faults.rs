//! Faults of the configuration, collected so that they are told at once.

use std::fmt;

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The flag, as `--max-batch`.
    pub flag: &'static str,
    /// What it was set to.
    pub value: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Fault {
    /// The flag's environment variable.
    fn variable(&self) -> String {
        let name = self.flag.trim_start_matches('-').replace('-', "_");
        format!("RESNET_{}", name.to_uppercase())
    }
}

/// Every fault found.
#[derive(Clone, Debug, Default, thiserror::Error)]
pub struct Faults(Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration cannot be used:")?;
        for fault in &self.0 {
            let Fault {
                flag,
                value,
                reason,
            } = fault;
            write!(
                f,
                "\n  {flag} {value}: {reason} (or set {})",
                fault.variable()
            )?;
        }
        Ok(())
    }
}

impl Faults {
    /// The value of `text`, or the type's default and one fault more.
    pub fn read<T: Default, E: fmt::Display>(
        &mut self,
        flag: &'static str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        parse(text.trim()).unwrap_or_else(|reason| {
            self.add(flag, text, &reason);
            T::default()
        })
    }

    /// One fault more unless `holds`, or unless the flag has one already.
    pub fn expect(&mut self, holds: bool, flag: &'static str, text: &str, reason: &str) {
        if !holds && self.0.iter().all(|fault| fault.flag != flag) {
            self.add(flag, text, &reason);
        }
    }

    /// `value`, if there is no fault.
    ///
    /// # Errors
    /// All of them.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// The faults in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    fn add(&mut self, flag: &'static str, text: &str, reason: &dyn fmt::Display) {
        self.0.push(Fault {
            flag,
            value: text.to_owned(),
            reason: reason.to_string(),
        });
    }
}
