//! The `resnet` binary as a process: what it says and how it ends.

use std::process::{Command, Output};

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

#[test]
fn faults_of_flags_and_variables_are_told_together() {
    let variables = [("RESNET_PORT", "port"), ("RESNET_QUEUE", "0")];
    for command in [&["--max-batch", "x"][..], &["serve", "--max-batch", "x"]] {
        let output = resnet(command, &variables);
        let error = text(&output.stderr);
        assert!(!output.status.success());
        for fault in ["--port port:", "--queue 0:", "--max-batch x:"] {
            assert!(error.contains(fault), "{error}");
        }
    }
}

#[test]
fn help_teaches() {
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

#[test]
fn a_healthcheck_of_nobody_fails() {
    // Port 1 is nobody's; the variables of `serve` do not get in its way.
    let output = resnet(
        &["healthcheck"],
        &[("RESNET_PORT", "1"), ("RESNET_HOST", "0.0.0.0")],
    );
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(error.contains("no answer from 127.0.0.1:1"), "{error}");
}
