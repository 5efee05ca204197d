//! `resnet key`: makes an API key, and the table for the file of `--api-keys`.

use std::io::{self, Write};
use std::process::ExitCode;

use sha2::{Digest, Sha256};

use crate::commands::output::print_line;

/// The flags of `key`.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Name of the key, for the log and the metrics
    name: String,

    /// What the key allows, separated by commas: infer, admin, metrics
    #[arg(long, value_delimiter = ',', default_value = "infer")]
    scopes: Vec<String>,
}

/// Prints a new key on standard error, so that the table on standard output can be
/// appended to the file.
///
/// # Errors
/// Standard output or standard error cannot be written.
pub fn run(flags: &Flags) -> io::Result<ExitCode> {
    // 244 random bits
    let key = format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    );
    writeln!(io::stderr(), "The key, which is shown only once: {key}")?;
    print_line!("{}", table(flags, &key))?;
    Ok(ExitCode::SUCCESS)
}

fn table(Flags { name, scopes }: &Flags, key: &str) -> String {
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("{scope:?}")).collect();
    format!(
        "[[key]]\nname = {name:?}\nsha256 = \"{}\"\nscopes = [{}]",
        hexadecimal(&Sha256::digest(key)),
        scopes.join(", ")
    )
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;
    use crate::core::keys::{Keys, Scope};

    #[test]
    fn the_table_is_what_the_server_reads() {
        let flags = Flags {
            name: "shop".into(),
            scopes: vec!["infer".into(), "admin".into()],
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), table(&flags, "a-key")).unwrap();
        let read = Keys::default();
        read.replace(keys::read(file.path()).unwrap());
        let caller = read.find(b"a-key").unwrap();
        assert_eq!(caller.name(), "shop");
        assert!(caller.may(Scope::Admin) && !caller.may(Scope::Metrics));
    }
}
