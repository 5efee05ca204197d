//! Invalid indices of shards, and paths that are not regular files.

use std::path::Path;

use resnet_weights::Checkpoint;
use serde_json::{Value, json};

use crate::common::File;

#[test]
fn invalid_indices_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    File::default()
        .f32("a", &[1], &[1.0])
        .write(&at("a.safetensors"));
    File::default()
        .f32("a", &[1], &[1.0])
        .f32("b", &[1], &[1.0])
        .write(&at("b.safetensors"));
    std::fs::write(at("other.index.json"), "{}").unwrap();
    let index = at("model.safetensors.index.json");
    let one = |file: &str| json!({"weight_map": {"a": file}});
    let many: serde_json::Map<String, Value> = (0..101)
        .map(|i| (format!("t{i}"), json!(format!("{i}.safetensors"))))
        .collect();
    let origin = index.display().to_string();
    let cases = [
        (
            json!({}),
            "its content is not an index of shards: missing field `weight_map` at line 1 column 2".to_owned(),
        ),
        (
            json!({"weight_map": {}}),
            "its index names 0 files; 1 to 100 are supported".into(),
        ),
        (
            json!({"weight_map": many}),
            "its index names 101 files; 1 to 100 are supported".into(),
        ),
        (
            one("../a.safetensors"),
            "its index names \"../a.safetensors\", which is not a plain file name; shards must be in the folder of the index".into(),
        ),
        (
            one("/etc/passwd"),
            "its index names \"/etc/passwd\", which is not a plain file name; shards must be in the folder of the index".into(),
        ),
        (
            one(".."),
            "its index names \"..\", which is not a plain file name; shards must be in the folder of the index".into(),
        ),
        (
            one("c:a"),
            "its index names \"c:a\", which is not a plain file name; shards must be in the folder of the index".into(),
        ),
        (
            one("a\0b"),
            "its index names \"a\\0b\", which is not a plain file name; shards must be in the folder of the index".into(),
        ),
        (
            json!({"weight_map": {"c": "a.safetensors"}}),
            "its index lists tensor `c` in a.safetensors, which has no such tensor".into(),
        ),
    ];
    for (content, reason) in cases {
        std::fs::write(&index, content.to_string()).unwrap();
        let error = Checkpoint::open(&index).err().unwrap().to_string();
        assert_eq!(
            error,
            format!("{origin} is not a usable checkpoint: {reason}")
        );
    }
    let error = |content: Value| {
        std::fs::write(&index, content.to_string()).unwrap();
        Checkpoint::open(&index).err().unwrap().to_string()
    };
    assert_eq!(
        error(one("other.index.json")),
        format!(
            "{} is not a usable checkpoint: it is an index of shards, not a file with tensors",
            at("other.index.json").display()
        )
    );
    assert_eq!(
        error(json!({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})),
        format!("tensors `a` and `a` in {origin} both map to `a`; remove one of them")
    );
    assert_eq!(
        error(one("absent.safetensors")),
        format!(
            "cannot read {}: No such file or directory (os error 2)",
            at("absent.safetensors").display()
        )
    );
}

#[test]
fn folders_and_devices_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| Checkpoint::open(path).err().unwrap().to_string();
    let path = folder.path();
    assert_eq!(
        message(path),
        format!("cannot read {}: not a regular file", path.display())
    );
    // Reading this device would not terminate.
    assert_eq!(
        message(Path::new("/dev/zero")),
        "cannot read /dev/zero: not a regular file"
    );
}
