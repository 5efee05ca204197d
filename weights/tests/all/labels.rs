//! Label files in every supported form.

use std::fs;

use resnet_weights::{Labels, Result};

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

fn with_wnid(wnid: &str, name: &str) -> (Option<String>, String) {
    (Some(wnid.to_owned()), name.to_owned())
}

#[test]
fn five_forms_are_read() {
    assert_eq!(
        read(b"cat\r\nhouse mouse\n\n").unwrap(),
        [named("cat"), named("house mouse")]
    );
    assert_eq!(
        read(b"n01440764\ttench\nn01443537\tgoldfish").unwrap(),
        [
            with_wnid("n01440764", "tench"),
            with_wnid("n01443537", "goldfish")
        ]
    );
    assert_eq!(
        read(br#" ["cat", "dog"]"#).unwrap(),
        [named("cat"), named("dog")]
    );
    let eleven: Vec<String> = (0..11).map(|i| format!("\"{i}\": \"c{i}\"")).collect();
    let names = read(format!("{{{}}}", eleven.join(", ")).as_bytes()).unwrap();
    assert_eq!(names[2], named("c2"), "classes must be sorted by number");
    assert_eq!(names[10], named("c10"));
    // The form of Keras' class index.
    assert_eq!(
        read(br#"{"0": ["n01440764", "tench"]}"#).unwrap(),
        [with_wnid("n01440764", "tench")]
    );
}

#[test]
fn a_class_without_a_name_is_rejected() {
    for (content, reason) in [
        (
            &b"cat\n\ndog"[..],
            "line 2 is empty; each line must name a class",
        ),
        (
            b"n01440764\t\n",
            "line 1 is empty; each line must name a class",
        ),
        (
            b"[\"cat\", 1]",
            "class 1 must be a name or a pair of WordNet id and name",
        ),
        (
            b"[[\"a\"]]",
            "class 0 must be a name or a pair of WordNet id and name",
        ),
        (
            b"{\"a\": \"b\"}",
            "there are 1 classes but none with index 0; indices must be 0 to 0",
        ),
        (
            b"[\"cat\"",
            "its content is not a JSON array or object of names: EOF while parsing a list at line 1 column 6",
        ),
    ] {
        let error = read(content).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("is not a usable checkpoint: {reason}")),
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
fn there_must_be_one_label_for_each_class() {
    assert_eq!(Labels::guess(1000), Labels::imagenet1k());
    assert_eq!(Labels::guess(3).get(2).unwrap().name, "class_2");
    assert_eq!(
        Labels::numbered(3).expect(10).unwrap_err().to_string(),
        "3 labels for a network with 10 classes; give one label for each class"
    );
}
