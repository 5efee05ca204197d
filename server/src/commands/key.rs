//! `resnet key`: makes an API key, and the table for the file of `--api-keys`.

use std::io::{self, Write};
use std::process::ExitCode;

use sha2::{Digest, Sha256};

use crate::commands::output::print_line;
use crate::config::keys;

/// The flags of `key`.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Name of the key, for the log and the metrics
    #[arg(value_parser = name)]
    name: String,

    /// What the key allows, separated by commas: infer, admin, metrics
    #[arg(long, value_delimiter = ',', default_value = "infer", value_parser = scope)]
    scopes: Vec<String>,
}

fn name(text: &str) -> Result<String, String> {
    keys::check_name(text).map(|()| text.to_owned())
}

fn scope(text: &str) -> Result<String, String> {
    keys::scope(text).map(|_| text.to_owned())
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
    use clap::Parser;

    use super::*;
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

    #[test]
    fn what_the_server_would_refuse_is_refused() {
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            _flags: Flags,
        }
        let parse = |arguments: &[&str]| Command::try_parse_from([&["key"], arguments].concat());
        assert!(parse(&["shop", "--scopes=infer,admin"]).is_ok());
        for wrong in [
            &["my shop"][..],
            &[""],
            &["a\nb"],
            &["shop", "--scopes=infer,root"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
