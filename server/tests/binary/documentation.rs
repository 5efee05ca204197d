//! The manual pages and the completions contain every command and every flag that
//! `--help` shows, so that neither can fall behind.

use std::collections::BTreeSet;
use std::process::Command;

use crate::{resnet, text};

fn output(arguments: &[&str]) -> String {
    let output = resnet(arguments, &[]);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout)
}

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = output(&["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(names.iter().any(|name| name == "serve"), "{names:?}");
    names
}

/// The long flags of a help text.
fn flags(help: &str) -> BTreeSet<&str> {
    let lines = help.lines().map(str::trim_start);
    let lines = lines.filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',', '[', ']', '=', '.']));
    words
        .filter(|word| word.len() > 2 && word.starts_with("--"))
        .collect()
}

#[test]
fn every_command_has_a_manual_page_with_all_its_flags() {
    let folder = tempfile::tempdir().unwrap();
    output(&["man", "--output", folder.path().to_str().unwrap()]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    // troff writes a hyphen that is no word break as `\-`
    let page = |name: &str| read(name).replace("\\-", "-");
    let mut count = 0;
    for name in commands() {
        let (help, page) = (
            output(&[&name, "--help"]),
            page(&format!("resnet-{name}.1")),
        );
        let missing: Vec<_> = flags(&help)
            .into_iter()
            .filter(|flag| !page.contains(flag))
            .collect();
        assert!(missing.is_empty(), "the page of {name} has no {missing:?}");
        assert_eq!(page, output(&["man", &name]).replace("\\-", "-"), "{name}");
        count += 1;
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), count + 1);
    let whole = page("resnet.1");
    for name in commands() {
        assert!(whole.contains(&format!("resnet-{name}(1)")), "{name}");
    }
    assert!(whole.contains("RESNET_MAX_BATCH"), "{whole}");
    assert!(
        whole.contains(concat!("resnet ", env!("CARGO_PKG_VERSION"))),
        "{whole}"
    );
}

#[test]
fn an_unknown_page_is_an_error_that_says_where_the_commands_are() {
    let output = resnet(&["man", "serv"], &[]);
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(
        error.contains("no command serv") && error.contains("resnet --help"),
        "{error}"
    );
}

#[test]
fn completions_of_every_shell_contain_every_command_and_flag() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = output(&["completions", shell]);
        for name in commands() {
            assert!(script.contains(&name), "{shell}: {name}");
            for flag in flags(&output(&[&name, "--help"])) {
                // fish writes `-l max-batch`
                assert!(
                    script.contains(flag.trim_start_matches('-')),
                    "{shell}: {name} {flag}"
                );
            }
        }
    }
}

/// What a user of bash gets after `resnet serve --max-b<Tab>`.
#[test]
fn bash_completes_a_flag() {
    let script = output(&["completions", "bash"]);
    let ask = "COMP_WORDS=(resnet serve --max-bat) COMP_CWORD=2\n\
               _resnet resnet --max-bat serve\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let bash = Command::new("bash")
        .arg("-c")
        .arg(format!("{script}\n{ask}"))
        .output();
    let Ok(bash) = bash else {
        println!("skipped: bash is not installed");
        return;
    };
    assert_eq!(
        text(&bash.stdout),
        "--max-batch\n",
        "{}",
        text(&bash.stderr)
    );
}
