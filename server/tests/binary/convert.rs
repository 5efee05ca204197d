//! `resnet convert` and `resnet inspect`: what they write, replace and show.

use std::process::{Command, Stdio};

use crate::{resnet, text};

#[test]
fn convert_replaces_only_regular_files_and_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let out = out.to_str().unwrap();
    let convert =
        |arguments: &[&str]| resnet(&[&["convert", "resnet50_thin"], arguments].concat(), &[]);
    assert!(convert(&[out]).status.success());
    let refused = convert(&[out]);
    assert_eq!(refused.status.code(), Some(1));
    // the whole of standard error: the error is printed once
    assert_eq!(
        text(&refused.stderr),
        format!("Error: {out} exists; choose another name, or replace it with --force\n")
    );
    assert!(convert(&[out, "--force"]).status.success());
    let fifo = folder.path().join("fifo");
    let fifo = fifo.to_str().unwrap();
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    let refused = convert(&[fifo, "--force"]);
    assert!(text(&refused.stderr).contains("is not a regular file"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// The limit of the size of a file stands for a full disk.
#[test]
fn convert_leaves_nothing_behind_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "ulimit -f 1000; trap '' XFSZ; exec '{}' convert resnet50_thin out.safetensors",
        env!("CARGO_BIN_EXE_resnet")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.starts_with("Error: cannot write out.safetensors: "),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A signal may arrive at any time: the file is complete or not there.
#[test]
fn an_interrupted_convert_leaves_nothing_behind() {
    for pause in [0, 5, 20, 60] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_resnet"))
            .args(["convert", "resnet50_thin", "out.safetensors"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // until it writes
        while child.try_wait().unwrap().is_none()
            && std::fs::read_dir(folder.path()).unwrap().count() == 0
        {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let pid = child.id().to_string();
        let _ = Command::new("kill")
            .args(["-TERM", &pid])
            .stderr(Stdio::null())
            .status();
        let status = child.wait().unwrap();
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        match status.code() {
            Some(0) => assert_eq!(names, ["out.safetensors"]),
            code => assert_eq!((code, names.len()), (Some(143), 0), "{names:?}"),
        }
    }
}

#[test]
fn inspect_shows_what_was_decided_and_from_what() {
    let output = resnet(&["inspect", "resnet50_thin"], &[]);
    let shown = text(&output.stdout);
    for line in [
        "architecture   resnet50_thin (named `resnet50_thin` by the metadata of the weights)",
        "activation     softmax (assumed: the checkpoint does not say)",
        "labels         1000 (the metadata of the weights)",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn convert_stores_a_hierarchy_that_has_the_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, out) = (path("hierarchy.tsv"), path("out.safetensors"));
    let convert = |text: &str| {
        std::fs::write(&file, text).unwrap();
        resnet(
            &["convert", "resnet50_thin", &out, "--hierarchy", &file],
            &[],
        )
    };
    let refused = convert("fish\tfish\ntench\t\tfish\n");
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr);
    assert!(
        error.starts_with("Error: 1000 of the 1000 classes have no line in "),
        "{error}"
    );
    let refused = convert("fish\tfish\nn01440764\t\tfisch\n");
    let error = text(&refused.stderr);
    assert!(
        error.ends_with("hierarchy.tsv: `n01440764` has the parent `fisch`, which has no line\n"),
        "{error}"
    );
    let converted = convert("fish\tfish\nn01440764\t\tfish\n");
    let warning = text(&converted.stderr);
    assert!(warning.contains("999 of the 1000 classes"), "{warning}");
    assert!(converted.status.success(), "{warning}");
    let checkpoint = weights::Checkpoint::open(out.as_ref()).unwrap();
    let hierarchy = checkpoint.metadata().hierarchy.as_ref().unwrap();
    assert_eq!(hierarchy.to_text(), "fish\tfish\t\nn01440764\t\tfish\n");
}
