//! The `resnet` binary as a process: its output, its start and its end.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod classify;
mod convert;
mod documentation;
mod serving;
mod tracing;

use std::process::{Command, Output, Stdio};

fn resnet(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn photo() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../photos/cat.jpg")).unwrap()
}

#[test]
fn errors_of_flags_and_variables_are_reported_together() {
    let variables = [("RESNET_PORT", "port"), ("RESNET_QUEUE", "0")];
    for command in [&["--max-batch", "x"][..], &["serve", "--max-batch", "x"]] {
        let output = resnet(command, &variables);
        let error = text(&output.stderr);
        assert!(!output.status.success());
        for expected in ["--port port:", "--max-in-flight 0:", "--max-batch x:"] {
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn help_lists_commands_flags_variables_and_examples() {
    let help = resnet(&["--help"], &[]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for word in [
        "serve",
        "healthcheck",
        "--max-batch",
        "RESNET_MAX_BATCH",
        "curl --data-binary",
    ] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}

/// `resnet ... | head`: the read end of the pipe is closed before anything is
/// printed.
#[test]
fn a_closed_output_pipe_ends_every_command_quietly() {
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../photos/cat.jpg");
    let bench = ["bench", "--model", "cifar_resnet20", "--seconds", "0"];
    for arguments in [
        &["models"][..],
        &["models", "--json"],
        &["inspect", "cifar_resnet20", "--steps"],
        &bench,
        &["classify", photo],
        &["man"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
            .args(arguments)
            .env_clear()
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(141), "{arguments:?}");
    }
}

#[test]
fn a_healthcheck_fails_without_a_server() {
    // no server listens on port 1; healthcheck accepts the variables of `serve`
    let variables = [("RESNET_PORT", "1"), ("RESNET_HOST", "0.0.0.0")];
    let output = resnet(&["healthcheck"], &variables);
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(error.contains("no response from 127.0.0.1:1"), "{error}");
}

#[test]
fn a_source_that_is_no_checkpoint_ends_the_start() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let output = resnet(&["--port", "0", "--model", folder], &[]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains(folder));
    let output = resnet(&["--port", "0", "--model", "resnet5O"], &[]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("resnet50"));
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = resnet(&["--port", "0", "--weights", manifest], &[]);
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(error.contains("no model can be loaded"), "{error}");
}
