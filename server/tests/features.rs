//! The commands `explain`, `embed`, `search` and `duplicates` with the default
//! model, as processes.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn resnet(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(arguments)
        .args(["--device", "cpu", "--threads", "2"])
        .env_clear()
        .output()
        .unwrap()
}

/// Standard output of a command that succeeds.
fn printed(arguments: &[&str]) -> String {
    let output = resnet(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../photos")
        .join(name)
}

/// A folder with copies of three photos.
fn photos() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cat.jpg", "coffee.jpg", "rocket.png"] {
        std::fs::copy(photo(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_photo_is_found_in_the_index_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("features.npy");
    let (photos, index) = (photos(), path(&index));
    let text = printed(&["embed", path(photos.path()), "-o", index]);
    assert!(text.contains("3 embeddings of 1024 values"), "{text}");
    let names = std::fs::read_to_string(folder.path().join("features.csv")).unwrap();
    assert_eq!(names.lines().count(), 4, "{names}");

    let coffee = photos.path().join("coffee.jpg");
    let lines = printed(&["search", "--index", index, "--json", path(&coffee)]);
    let found: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found.len(), 3);
    assert_eq!(
        (&found[0]["file"], &found[0]["row"]),
        (&path(&coffee).into(), &1.into())
    );
    let cosine = |at: usize| found[at]["cosine"].as_f64().unwrap();
    assert!((cosine(0) - 1.0).abs() < 1e-4 && cosine(1) < 0.9, "{lines}");

    let output = resnet(&["search", "--index", "no-such.npy", path(&coffee)]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("no-such.npy cannot be read"), "{error}");
}

#[test]
fn a_copy_of_a_photo_is_a_duplicate() {
    let folder = photos();
    let smaller = folder.path().join("smaller.png");
    let cat = folder.path().join("cat.jpg");
    // a smaller copy in another format
    let bytes = std::fs::read(&cat).unwrap();
    let copy = preprocess::photo(&bytes, 400, &preprocess::Limits::default()).unwrap();
    let file = image::RgbImage::from_raw(copy.width, copy.height, copy.rgb).unwrap();
    file.save(&smaller).unwrap();
    let text = printed(&["duplicates", "--json", path(folder.path())]);
    assert_eq!(text.lines().count(), 1, "{text}");
    let group: Value = serde_json::from_str(&text).unwrap();
    let files: Vec<&str> = group["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, [path(&cat), path(&smaller)]);
}

#[test]
fn a_map_is_drawn_on_each_photo_or_on_one_sheet() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, file) = (photos(), folder.path().join("map.png"));
    let cat = photos.path().join("cat.jpg");
    let text = printed(&["explain", path(&cat), "-o", path(&file), "--class", "tabby"]);
    assert!(text.contains("cat.jpg: tabby ("), "{text}");
    assert_eq!(image::image_dimensions(&file).unwrap(), (451, 300));

    let maps = folder.path().join("maps");
    printed(&["explain", path(photos.path()), "-o", path(&maps)]);
    // its EXIF orientation is applied
    let coffee = image::image_dimensions(maps.join("coffee.png")).unwrap();
    assert_eq!(coffee, (600, 400));

    let sheet = folder.path().join("sheet.png");
    printed(&[
        "explain",
        path(photos.path()),
        "-o",
        path(&sheet),
        "--colormap",
        "turbo",
    ]);
    assert_eq!(image::image_dimensions(&sheet).unwrap(), (664, 664));

    let output = resnet(&[
        "explain",
        path(&cat),
        "-o",
        path(&file),
        "--class",
        "unicorn",
    ]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("`unicorn` is not a class"), "{error}");
}
