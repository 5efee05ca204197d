//! `resnet classify`: its output formats, folders and standard input.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::{photo, text};

/// `resnet classify` on standard input.
fn classify(arguments: &[&std::ffi::OsStr], input: &[u8]) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(["classify", "-k1"])
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    process.wait_with_output().unwrap()
}

/// A folder that is removed at the end, with these files.
fn folder(files: &[(&[u8], &[u8])]) -> tempfile::TempDir {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let name = std::ffi::OsStr::from_bytes(name);
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn every_line_of_json_is_json_and_no_file_harms_another() {
    let photo = photo();
    let files = [
        (&b"a\xe4.jpg"[..], &photo[..]),
        (b"b.jpg", &photo),
        (b"IMG_1.XYZ", &photo),
        (b"._b.jpg", b"\0\x05\x16\x07"),
    ];
    let folder = folder(&files);
    let pipe = folder.path().join("pipe.jpg");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let arguments = [
        "--json".as_ref(),
        pipe.as_os_str(),
        folder.path().as_os_str(),
    ];
    let output = classify(&arguments, b"");
    let errors = text(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(1),
        "the pipe has no image: {errors}"
    );
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let failed: Vec<bool> = lines.iter().map(|line| line["error"].is_string()).collect();
    assert_eq!(failed, [true, false, false], "{lines:?}");
    assert!(lines[1]["file_base64"].is_string(), "{}", lines[1]);
    for skipped in ["IMG_1.XYZ", "._b.jpg", "pipe.jpg"] {
        assert!(errors.contains(skipped), "{errors}");
    }
}

#[test]
fn images_and_lists_of_images_on_standard_input() {
    let folder = folder(&[(b"b.jpg", &photo())]);
    let path = folder.path().join("b.jpg");
    let one = classify(&["--format=csv".as_ref(), "-".as_ref()], &photo());
    let list = format!("{}\n", path.display());
    let arguments = [
        "--format=csv".as_ref(),
        "--files-from".as_ref(),
        "-".as_ref(),
    ];
    let listed = classify(&arguments, list.as_bytes());
    let name = path.display().to_string();
    for (output, name) in [(one, "-"), (listed, name.as_str())] {
        assert!(output.status.success(), "{}", text(&output.stderr));
        let out = text(&output.stdout);
        let rows: Vec<&str> = out.lines().collect();
        assert_eq!(rows.len(), 2, "{out}");
        let start = format!("{name},1,285,n02124075,Egyptian cat,0.");
        assert!(rows[1].starts_with(&start), "{out}");
    }
}
