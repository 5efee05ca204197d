//! Checkpoints whose files may be replaced: copied access, and the list of files
//! for a watcher.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use resnet_weights::{Access, Checkpoint, Error, Hub, Result, Source};
use serde_json::json;

use crate::common::{File, offline_hub};

/// How long to wait for a load that overlaps with a write.
const WAIT: Duration = Duration::from_secs(20);

fn source(path: &Path) -> Source {
    Source::parse(path.to_str().unwrap()).unwrap()
}

fn open(source: &Source, access: Access) -> Result<Checkpoint> {
    let hub: Hub = offline_hub(Path::new("/nowhere"));
    source.open_with(&hub, access, &mut |_| ())
}

/// A checkpoint in two shards; the paths of the index and the shards.
fn sharded(folder: &Path) -> Vec<PathBuf> {
    let at = |name: &str| folder.join(name);
    File::default()
        .f32("fc.weight", &[1, 1], &[1.0])
        .write(&at("a.safetensors"));
    File::default()
        .f32("fc.bias", &[1], &[2.0])
        .write(&at("b.safetensors"));
    let index = json!({"weight_map": {"fc.weight": "a.safetensors", "fc.bias": "b.safetensors"}});
    fs::write(at("model.safetensors.index.json"), index.to_string()).unwrap();
    [
        "model.safetensors.index.json",
        "a.safetensors",
        "b.safetensors",
    ]
    .map(at)
    .to_vec()
}

#[test]
fn a_copied_checkpoint_survives_truncation_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let paths = sharded(folder.path());
    let mapped = open(&source(folder.path()), Access::Mapped).unwrap();
    let copied = open(&source(folder.path()), Access::Copied).unwrap();
    assert_eq!(copied.digest(), mapped.digest());
    drop(mapped);
    // Reading a mapped file after this ends the process.
    for path in &paths {
        fs::write(path, "").unwrap();
    }
    assert_eq!(copied.read("fc.weight", &[1, 1]).unwrap(), [1.0]);
    assert_eq!(copied.read("fc.bias", &[1]).unwrap(), [2.0]);
}

/// With mapped files, this test would end in SIGBUS.
#[test]
fn a_file_that_is_rewritten_during_loads_gives_errors_or_complete_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pets.safetensors");
    let values = vec![1.5; 1 << 18];
    let file = File::default().f32("fc.bias", &[1 << 18], &values);
    file.write(&path);
    let source = source(&path);
    let done = AtomicBool::new(false);
    let (mut opened, mut failed) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let bytes = file.bytes();
            while !done.load(Ordering::Relaxed) {
                fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
        });
        let start = Instant::now();
        while opened + failed < 200 || (failed == 0 && start.elapsed() < WAIT) {
            match open(&source, Access::Copied) {
                Ok(checkpoint) => {
                    opened += 1;
                    assert_eq!(checkpoint.read("fc.bias", &[1 << 18]).unwrap(), values);
                }
                Err(Error::Changed { .. } | Error::Malformed { .. }) => failed += 1,
                Err(error) => panic!("unexpected error: {error}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(failed > 0, "no load overlapped with a write");
    file.write(&path);
    open(&source, Access::Copied).unwrap();
}

#[test]
fn a_source_lists_the_files_it_depends_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = sharded(folder.path());
    fs::write(folder.path().join("README.md"), "").unwrap();
    assert_eq!(source(&expected[0]).files().unwrap(), expected, "an index");
    assert_eq!(
        source(&expected[1]).files().unwrap(),
        expected[1..2],
        "a file"
    );

    // The folder also has the shards; the index is preferred.
    assert_eq!(source(folder.path()).files().unwrap(), expected, "a folder");
    for name in ["config.json", "preprocessor_config.json"] {
        let config = folder.path().join(name);
        fs::write(&config, "{}").unwrap();
        expected.push(config);
        assert_eq!(
            source(folder.path()).files().unwrap(),
            expected,
            "with {name}"
        );
    }

    for (name, file) in [
        ("resnet50_thin", "default"),
        ("timm/resnet50", "repository"),
    ] {
        let none: Vec<PathBuf> = Vec::new();
        assert_eq!(
            Source::parse(name).unwrap().files().unwrap(),
            none,
            "{file}"
        );
    }
}

#[test]
fn files_of_an_incomplete_source_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let whole = source(folder.path());
    let error = whole.files().unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, r#"{"weight_map": {"fc.bias""#).unwrap();
    let error = whole.files().unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    fs::remove_dir_all(folder.path()).unwrap();
    let error = whole.files().unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_listed_unresolved() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("..v1")).unwrap();
    File::default()
        .f32("fc.bias", &[1], &[1.0])
        .write(&at("..v1/model.safetensors"));
    std::os::unix::fs::symlink("..v1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/model.safetensors", at("model.safetensors")).unwrap();
    assert_eq!(
        source(root.path()).files().unwrap(),
        [at("model.safetensors")]
    );
}

#[test]
fn a_source_has_the_name_of_its_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("resnet50.a1_in1k");
    fs::create_dir(&folder).unwrap();
    let paths = [
        folder.join("model.safetensors"),
        root.path().join("pets.safetensors"),
    ];
    for path in &paths {
        File::default().f32("fc.bias", &[1], &[1.0]).write(path);
    }
    let cases = [
        (source(&folder), "resnet50.a1_in1k"),
        (source(&paths[0]), "resnet50.a1_in1k"),
        (source(&paths[1]), "pets"),
        (Source::Default, "resnet50_thin"),
    ];
    for (source, name) in cases {
        assert_eq!(source.name(), name, "{source:?}");
        let checkpoint = open(&source, Access::Mapped).unwrap();
        assert_eq!(checkpoint.name(), name, "{source:?}");
    }
    let repository = Source::parse("timm/resnet50.a1_in1k@main").unwrap();
    assert_eq!(repository.name(), "timm/resnet50.a1_in1k");
}
