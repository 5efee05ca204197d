//! Label files in every form.

use std::fs;

use weights::{Labels, Result};

fn read(content: &[u8]) -> Result<Vec<(Option<String>, String)>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels");
    fs::write(&path, content).unwrap();
    let labels = Labels::from_file(&path)?;
    Ok(labels
        .iter()
        .map(|label| (label.wnid.clone(), label.name.clone()))
        .collect())
}

fn named(name: &str) -> (Option<String>, String) {
    (None, name.to_owned())
}

fn known(wnid: &str, name: &str) -> (Option<String>, String) {
    (Some(wnid.to_owned()), name.to_owned())
}

#[test]
fn five_forms() {
    assert_eq!(
        read(b"cat\r\nhouse mouse\n\n").unwrap(),
        [named("cat"), named("house mouse")]
    );
    assert_eq!(
        read(b"n01440764\ttench\nn01443537\tgoldfish").unwrap(),
        [known("n01440764", "tench"), known("n01443537", "goldfish")]
    );
    assert_eq!(
        read(br#" ["cat", "dog"]"#).unwrap(),
        [named("cat"), named("dog")]
    );
    let eleven: Vec<String> = (0..11).map(|i| format!("\"{i}\": \"c{i}\"")).collect();
    let names = read(format!("{{{}}}", eleven.join(", ")).as_bytes()).unwrap();
    assert_eq!(
        names[2],
        named("c2"),
        "the order is of numbers, not of letters"
    );
    assert_eq!(names[10], named("c10"));
    // Keras' class index.
    assert_eq!(
        read(br#"{"0": ["n01440764", "tench"]}"#).unwrap(),
        [known("n01440764", "tench")]
    );
}

#[test]
fn what_names_no_class_is_refused() {
    for (content, fault) in [
        (&b"cat\n\ndog"[..], "line 2 names no class"),
        (b"n01440764\t\n", "line 1 names no class"),
        (b"[\"cat\", 1]", "class 1 is no name"),
        (b"[[\"a\"]]", "class 0 is not a wnid and a name"),
        (b"{\"a\": \"b\"}", "1 classes, and none has index 0"),
        (
            b"[\"cat\"",
            "neither a JSON array nor an object of names: EOF while parsing a list at line 1 column 6",
        ),
    ] {
        let error = read(content).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("is not a usable checkpoint: {fault}")),
            "{error}"
        );
    }
    assert!(
        read(b"\xff\n")
            .unwrap_err()
            .to_string()
            .starts_with("cannot read ")
    );
}

#[test]
fn numbers_must_agree() {
    assert_eq!(Labels::guess(1000), Labels::imagenet1k());
    assert_eq!(Labels::guess(3).get(2).unwrap().name, "class_2");
    assert_eq!(
        Labels::numbered(3).expect(10).unwrap_err().to_string(),
        "3 labels for a network with 10 classes"
    );
}
