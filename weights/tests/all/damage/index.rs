//! Indices of shards that point elsewhere, and what is no file.

use std::path::Path;

use serde_json::{Value, json};
use weights::Checkpoint;

use crate::common::File;

#[test]
fn indices() {
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
    let ours = index.display().to_string();
    let cases = [
        (
            json!({}),
            "it is no index of shards: missing field `weight_map` at line 1 column 2".to_owned(),
        ),
        (
            json!({"weight_map": {}}),
            "an index of 0 files; 1 to 100 are read".into(),
        ),
        (
            json!({"weight_map": many}),
            "an index of 101 files; 1 to 100 are read".into(),
        ),
        (
            one("../a.safetensors"),
            "it points to \"../a.safetensors\", which is no file beside it".into(),
        ),
        (
            one("/etc/passwd"),
            "it points to \"/etc/passwd\", which is no file beside it".into(),
        ),
        (
            one(".."),
            "it points to \"..\", which is no file beside it".into(),
        ),
        (
            one("c:a"),
            "it points to \"c:a\", which is no file beside it".into(),
        ),
        (
            one("a\0b"),
            "it points to \"a\\0b\", which is no file beside it".into(),
        ),
        (
            json!({"weight_map": {"c": "a.safetensors"}}),
            "it places tensor `c` in a.safetensors, which has none of that name".into(),
        ),
    ];
    for (content, fault) in cases {
        std::fs::write(&index, content.to_string()).unwrap();
        let error = Checkpoint::open(&index).err().unwrap().to_string();
        assert_eq!(error, format!("{ours} is not a usable checkpoint: {fault}"));
    }
    let error = |content: Value| {
        std::fs::write(&index, content.to_string()).unwrap();
        Checkpoint::open(&index).err().unwrap().to_string()
    };
    assert_eq!(
        error(one("other.index.json")),
        format!(
            "{} is not a usable checkpoint: an index where tensors should be",
            at("other.index.json").display()
        )
    );
    assert_eq!(
        error(json!({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})),
        format!("tensors `a` and `a` in {ours} both claim to be `a`")
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
fn what_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| Checkpoint::open(path).err().unwrap().to_string();
    let path = folder.path();
    assert_eq!(
        message(path),
        format!("cannot read {}: not a regular file", path.display())
    );
    // Reading this device would never end.
    assert_eq!(
        message(Path::new("/dev/zero")),
        "cannot read /dev/zero: not a regular file"
    );
}
