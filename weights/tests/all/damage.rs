//! Damaged and hostile checkpoints: each kind ends in an error that says what
//! is wrong, without a panic, a hang or a large allocation.

use std::path::Path;

use serde_json::{Value, json};
use weights::{Checkpoint, Result};

use crate::allocations::largest_allocation;
use crate::common::{File, framed};
use crate::pickles::{self, Zip};

/// Opens bytes as if they were a file called `x`, in little memory.
fn parse(bytes: Vec<u8>) -> Result<Checkpoint> {
    let (checkpoint, largest) = largest_allocation(|| Checkpoint::from_static("x", bytes.leak()));
    assert!(largest <= 40 << 20, "{largest} bytes at once");
    checkpoint
}

/// Asserts that each kind of damage is refused with its message.
fn assert_refused(cases: Vec<(&str, Vec<u8>, &str)>) {
    for (kind, bytes, message) in cases {
        let error = parse(bytes)
            .err()
            .unwrap_or_else(|| panic!("{kind}: accepted"))
            .to_string();
        assert_eq!(error, message, "{kind}");
    }
}

fn sound() -> File {
    File::default()
        .f32("a", &[2], &[1.0, 2.0])
        .f32("b", &[1], &[3.0])
}

/// A sound file with another header.
fn header(header: &Value) -> Vec<u8> {
    framed(header.to_string().as_bytes(), &[0; 12])
}

/// A header of tensors `a` (8 bytes) and `b` (4 bytes), `b` being replaced.
fn with_b(b: &Value) -> Vec<u8> {
    header(&json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": b}))
}

#[test]
fn safetensors_frames() {
    let longest = (8_u64 << 20) + 1;
    let mut truncated = sound().bytes();
    truncated.truncate(truncated.len() - 1);
    let mut cut_in_header = sound().bytes();
    cut_in_header.truncate(40);
    assert_refused(vec![
        (
            "empty",
            vec![],
            "x is not a usable checkpoint: 0 bytes are too few for any checkpoint",
        ),
        (
            "seven bytes",
            vec![0; 7],
            "x is not a usable checkpoint: 7 bytes are too few for any checkpoint",
        ),
        (
            "a header as long as can be",
            u64::MAX.to_le_bytes().to_vec(),
            "x is not a usable checkpoint: it is neither a safetensors file (its header would be 18446744073709551615 bytes long), nor PyTorch\'s, nor an index",
        ),
        (
            "a header over the limit",
            [longest.to_le_bytes().to_vec(), vec![b' '; 9 << 20]].concat(),
            "x is not a usable checkpoint: it is neither a safetensors file (its header would be 8388609 bytes long), nor PyTorch\'s, nor an index",
        ),
        (
            "a web page",
            b"<!DOCTYPE html><title>404</title>".to_vec(),
            "x is not a usable checkpoint: it is neither a safetensors file (its header would be 5789751444030890300 bytes long), nor PyTorch\'s, nor an index",
        ),
        (
            "cut inside the header",
            cut_in_header,
            "x is not a usable checkpoint: it is truncated: a header of 108 bytes in a file of 40",
        ),
        (
            "cut inside the data",
            truncated,
            "x is not a usable checkpoint: it is truncated: 11 bytes of tensors where its header promises 12",
        ),
        (
            "bytes after the data",
            [sound().bytes(), vec![0; 5]].concat(),
            "x is not a usable checkpoint: 5 bytes after the last tensor",
        ),
        (
            "no tensors",
            framed(b"{}", &[]),
            "x is not a usable checkpoint: it holds no tensors",
        ),
        (
            "a Git LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(),
            "x is not a usable checkpoint: it is a Git LFS pointer to the weights; fetch them with `git lfs pull`",
        ),
        (
            "an index where tensors should be",
            br#"{"weight_map": {}}"#.to_vec(),
            "x is not a usable checkpoint: an index where tensors should be",
        ),
    ]);
}

#[test]
fn safetensors_headers() {
    let deep = [b"{\"a\":".to_vec(), vec![b'['; 1 << 20]].concat();
    let fault = "x is not a usable checkpoint: its header is not what safetensors prescribes: ";
    let cases = [
        (
            "not UTF-8",
            framed(b"{\"\xff\":1}", &[]),
            "x is not a usable checkpoint: its header is not UTF-8: invalid utf-8 sequence of 1 bytes from index 2",
        ),
        ("not JSON", framed(b"{'a': 1}", &[]), "key must be a string at line 1 column 2"),
        ("a list", framed(b"[1, 2]", &[]), "invalid type: sequence, expected an object that maps names to tensors"),
        ("nested a million deep", framed(&deep, &[]), "in `a`: expected value at line 1 column 7"),
        (
            "a tensor without a shape",
            with_b(&json!({"dtype": "F32", "data_offsets": [8, 12]})),
            "in `b`: missing field `shape`",
        ),
        (
            "a type from another world",
            with_b(&json!({"dtype": "F31", "shape": [1], "data_offsets": [8, 12]})),
            "in `b`: unknown variant `F31`",
        ),
        (
            "a negative dimension",
            with_b(&json!({"dtype": "F32", "shape": [-1], "data_offsets": [8, 12]})),
            "in `b`: invalid value: integer `-1`, expected usize",
        ),
        (
            "a tensor twice",
            framed(br#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}"#, &[0; 8]),
            "`a` occurs twice",
        ),
        (
            "metadata that is no text",
            header(&json!({"__metadata__": {"format": 1}})),
            "in `__metadata__`: invalid type: integer `1`, expected a string",
        ),
    ];
    for (kind, bytes, message) in cases {
        let error = parse(bytes).err().unwrap().to_string();
        let full = if message.starts_with("x is") {
            message.to_owned()
        } else {
            format!("{fault}{message}")
        };
        assert!(error.starts_with(&full), "{kind}: {error}");
    }
}

#[test]
fn safetensors_that_lie_about_their_tensors() {
    let huge = 1_u64 << 40;
    assert_refused(vec![
        (
            "overlap",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]})),
            "x is not a usable checkpoint: tensor `b` overlaps the one before it at byte 4 of the data",
        ),
        (
            "hole",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [9, 13]})),
            "x is not a usable checkpoint: 1 bytes before tensor `b` belong to no tensor",
        ),
        (
            "ends before it begins",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [8, 4]})),
            "x is not a usable checkpoint: tensor `b` of type F32 and shape [1] cannot lie in bytes 8 to 4",
        ),
        (
            "more elements than bytes",
            with_b(&json!({"dtype": "F32", "shape": [2], "data_offsets": [8, 12]})),
            "x is not a usable checkpoint: tensor `b` of type F32 and shape [2] cannot lie in bytes 8 to 12",
        ),
        (
            "as many elements as wrap around to none",
            with_b(&json!({"dtype": "F32", "shape": [huge, huge], "data_offsets": [8, 8]})),
            "x is not a usable checkpoint: tensor `b` has an impossible shape, [1099511627776, 1099511627776]",
        ),
        (
            "a terabyte that is not there",
            with_b(&json!({"dtype": "U8", "shape": [huge], "data_offsets": [8, huge + 8]})),
            "x is not a usable checkpoint: it is truncated: 12 bytes of tensors where its header promises 1099511627784",
        ),
        (
            "half a byte",
            with_b(&json!({"dtype": "F4", "shape": [3], "data_offsets": [8, 9]})),
            "x is not a usable checkpoint: tensor `b` of type F4 and shape [3] cannot lie in bytes 8 to 9",
        ),
        (
            "the same tensor under two names",
            File::default()
                .f32("module.fc.bias", &[1], &[1.0])
                .f32("fc.bias", &[1], &[1.0])
                .bytes(),
            "tensors `module.fc.bias` and `fc.bias` in x both claim to be `fc.bias`",
        ),
    ]);
}

#[test]
fn values_that_are_no_numbers() {
    let inf = half::f16::INFINITY.to_le_bytes();
    let file = File::default()
        .f32("a", &[2], &[0.0, f32::NAN])
        .f32("b", &[1], &[f32::NEG_INFINITY])
        .tensor("c", "F16", &[1], &inf)
        .tensor("d", "U8", &[1], &[1]);
    let checkpoint = parse(file.bytes()).unwrap();
    for (name, shape, message) in [
        ("a", [2], "tensor `a` in x holds NaN at index 1"),
        ("b", [1], "tensor `b` in x holds -inf at index 0"),
        ("c", [1], "tensor `c` in x holds inf at index 0"),
        (
            "d",
            [1],
            "tensor `d` in x is U8; F32, F16 and BF16 are read",
        ),
    ] {
        assert_eq!(
            checkpoint.read(name, &shape).unwrap_err().to_string(),
            message
        );
    }
}

#[test]
fn metadata_that_cannot_be_followed() {
    let recipe = |key: &str, value: Value| {
        let mut recipe = json!({
            "resize": 256, "crop": 224, "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
        });
        recipe[key] = value;
        ("preprocess", recipe.to_string())
    };
    let cases = [
        (
            ("preprocess", "{".into()),
            "field `preprocess` in x: EOF while parsing an object at line 1 column 1",
        ),
        (
            recipe("crop", json!(0)),
            "field `preprocess` in x: a crop of 0 pixels; 1 to 2048 are possible",
        ),
        (
            recipe("crop", json!(4_000_000_000_u32)),
            "field `preprocess` in x: a crop of 4000000000 pixels; 1 to 2048 are possible",
        ),
        (
            recipe("resize", json!(100)),
            "field `preprocess` in x: a resize to 100 pixels before a crop of 224",
        ),
        (
            recipe("resize", json!(u32::MAX)),
            "field `preprocess` in x: a resize to 4294967295 pixels before a crop of 224",
        ),
        (
            recipe("resize", json!([256, 320])),
            "field `preprocess` in x: a resize to [256, 320]: only squares are offered",
        ),
        (
            recipe("std", json!([1.0, 0.0, 1.0])),
            "field `preprocess` in x: a standard deviation of 0",
        ),
        (
            recipe("mean", json!([1.0, 1e300, 1.0])),
            "field `preprocess` in x: a mean of inf",
        ),
        (
            recipe("antialias", json!(false)),
            "field `preprocess` in x: a resize without antialias is not offered",
        ),
        (
            ("labels", "cat, dog".into()),
            "field `labels` in x: neither a JSON array nor an object of names: expected value at line 1 column 1",
        ),
        (
            ("labels", r#"{"0": "cat", "2": "dog"}"#.into()),
            "field `labels` in x: 2 classes, and none has index 1",
        ),
    ];
    for ((key, value), message) in cases {
        let error = parse(sound().metadata(key, &value).bytes()).err().unwrap();
        assert_eq!(error.to_string(), message);
    }
}

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

#[test]
fn archives() {
    let fault = "x is not a usable checkpoint: ";
    let mut cut = pickles::sound().zip().bytes();
    cut.truncate(cut.len() - 30);
    let mut bomb = pickles::sound().zip().bytes();
    pickles::set_size(&mut bomb, "archive/data/0", 1 << 30);
    let mut deflated = pickles::sound().zip().bytes();
    pickles::set_method(&mut deflated, "archive/data/0", 8);
    let mut shared = pickles::sound().zip().bytes();
    pickles::move_entry(&mut shared, "archive/data/0", 0);
    let cases = [
        ("cut", cut, "its zip directory is broken: "),
        (
            "an empty zip",
            Zip::default().entry("readme", b"").bytes(),
            "it is a zip archive without a `data.pkl`, not one of `torch.save`",
        ),
        (
            "a storage of a gigabyte in 8 bytes",
            bomb,
            "its entry \"archive/data/0\" is compressed or truncated; `torch.save` stores it as it is",
        ),
        (
            "compressed",
            deflated,
            "its entry \"archive/data/0\" is compressed or truncated; `torch.save` stores it as it is",
        ),
        (
            "two entries in one place",
            shared,
            "entries of its zip directory overlap",
        ),
        (
            "no storage",
            Zip::default()
                .entry("archive/data.pkl", &pickles::sound().bytes())
                .bytes(),
            "its entry \"archive/data/0\" is missing",
        ),
        (
            "a storage too short",
            Zip::default()
                .entry("archive/data.pkl", &pickles::sound().bytes())
                .entry("archive/data/0", &[0; 7])
                .bytes(),
            "the storage of tensor `fc.bias` has 7 bytes where 2 elements are promised",
        ),
        (
            "another byte order",
            pickles::sound()
                .zip()
                .entry("archive/byteorder", b"big")
                .bytes(),
            "its numbers are not little-endian",
        ),
    ];
    for (kind, bytes, message) in cases {
        let error = parse(bytes)
            .err()
            .unwrap_or_else(|| panic!("{kind}: accepted"))
            .to_string();
        assert!(
            error.starts_with(&format!("{fault}{message}")),
            "{kind}: {error}"
        );
    }
}

#[test]
fn pickles_that_would_do_harm() {
    use pickles::{Tensor, op};
    let text = |length: u32| [&b"X"[..], &length.to_le_bytes()].concat();
    let laughs: Vec<u8> = (0..60_u8)
        .flat_map(|i| [b'(', b'h', i, b'h', i, b't', b'q', i + 1])
        .collect();
    let command = b"cposix\nsystem\nX\x02\0\0\0ls\x85R.";
    let not_there = "it holds a whole Python object; save its `state_dict()` instead";
    let unread = "tensor `fc.bias` is described in a way that is not read";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a command to run", command.to_vec(), not_there),
        (
            "an unknown opcode",
            b"\x80\x02i.".to_vec(),
            "opcode 0x69 is none that PyTorch writes (byte 3 of its pickle)",
        ),
        (
            "no end",
            b"\x80\x02}".to_vec(),
            "1 bytes where 0 are left (byte 3 of its pickle)",
        ),
        (
            "nothing",
            b".".to_vec(),
            "it takes from an empty stack (byte 1 of its pickle)",
        ),
        (
            "four gigabytes of text",
            text(u32::MAX),
            "4294967295 bytes where 0 are left (byte 5 of its pickle)",
        ),
        (
            "a name without an end",
            b"ccollections".to_vec(),
            "a line without an end (byte 1 of its pickle)",
        ),
        (
            "a mark it never set",
            b"t.".to_vec(),
            "it goes back to a mark it never set (byte 1 of its pickle)",
        ),
        (
            "below its mark",
            b"N(\x85.".to_vec(),
            "it takes from an empty stack (byte 3 of its pickle)",
        ),
        (
            "an object it never kept",
            b"h\x07.".to_vec(),
            "it recalls object 7, which it never kept (byte 2 of its pickle)",
        ),
        (
            "a key without a value",
            b"}(Nu.".to_vec(),
            "a key without a value (byte 4 of its pickle)",
        ),
        (
            "a billion laughs",
            [b")q\0".to_vec(), laughs, b".".to_vec()].concat(),
            not_there,
        ),
        (
            "half a million tuples in each other",
            [vec![b')'], vec![0x85; 500_000], vec![b'.']].concat(),
            not_there,
        ),
        (
            "two million lists",
            vec![b']'; 2 << 20],
            "it makes more objects than any network has (byte 524288 of its pickle)",
        ),
        ("a list inside of itself", b"]q\0h\0a.".to_vec(), not_there),
        (
            "a number of 255 bytes",
            [&[0x8a, 255][..], &[1; 255], b"."].concat(),
            not_there,
        ),
        ("too few arguments", op::tensor_of(b")"), unread),
        (
            "a negative size",
            Tensor {
                shape: &[-2],
                ..pickles::TENSOR
            }
            .bytes(),
            unread,
        ),
        (
            "no such number type",
            Tensor {
                class: "ComplexFloatStorage",
                ..pickles::TENSOR
            }
            .bytes(),
            unread,
        ),
        (
            "more elements than its storage has",
            Tensor {
                shape: &[3],
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [3] does not fit its storage of 2 elements",
        ),
        (
            "one element repeated a billion times",
            Tensor {
                shape: &[1_000_000_000],
                strides: &[0],
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [1000000000] does not fit its storage of 2 elements",
        ),
        (
            "a shape that wraps around",
            Tensor {
                shape: &[1 << 32, 1 << 32],
                strides: &[1, 1],
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [4294967296, 4294967296] does not fit its storage of 2 elements",
        ),
        (
            "strides that wrap around",
            Tensor {
                shape: &[2],
                strides: &[i64::MAX],
                offset: i64::MAX,
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [2] does not fit its storage of 2 elements",
        ),
        (
            "fewer strides than dimensions",
            Tensor {
                shape: &[1, 2],
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [1, 2] does not fit its storage of 2 elements",
        ),
        (
            "a storage larger than any memory",
            Tensor {
                elements: i64::MAX,
                ..pickles::TENSOR
            }
            .bytes(),
            "storage \"0\" of 9223372036854775807 elements",
        ),
        (
            "a storage elsewhere",
            Tensor {
                key: "../../../etc/passwd",
                ..pickles::TENSOR
            }
            .bytes(),
            "its entry \"archive/data/../../../etc/passwd\" is missing",
        ),
    ];
    for (kind, pickle, message) in cases {
        let error = parse(pickles::archive(&pickle))
            .err()
            .unwrap_or_else(|| panic!("{kind}: accepted"))
            .to_string();
        assert_eq!(
            error,
            format!("x is not a usable checkpoint: {message}"),
            "{kind}"
        );
    }
}

#[test]
fn files_from_before_the_archive() {
    let fault = "x is not a usable checkpoint: ";
    let old = |keys: &[u8], storages: &[u8]| {
        let object = pickles::sound().bytes();
        [
            &pickles::MAGIC[..],
            b"\x80\x02M\xe9\x03.",
            b"\x80\x02}.",
            &object,
            keys,
            storages,
        ]
        .concat()
    };
    let keys = b"\x80\x02]X\x01\0\0\x000a.";
    let storage = [2_u64.to_le_bytes(), [0; 8]].concat();
    assert_eq!(
        parse(old(keys, &storage))
            .unwrap()
            .read("fc.bias", &[2])
            .unwrap(),
        [0.0, 0.0]
    );
    let cases = [
        (
            "keys that are no list",
            old(b"N.", &storage),
            "the keys of its storages are no list",
        ),
        (
            "a key that is no text",
            old(b"]Na.", &storage),
            "the key of a storage is no text",
        ),
        (
            "a key of nothing",
            old(b"]X\x01\0\0\x009a.", &storage),
            "storage \"9\" belongs to no tensor",
        ),
        (
            "a storage left out",
            old(b"].", &storage),
            "tensor `fc.bias` lies in storage \"0\", which is not there",
        ),
        (
            "cut before the storage",
            old(keys, &[0; 7]),
            "it is truncated before storage \"0\"",
        ),
        (
            "cut in the storage",
            old(keys, &storage[..15]),
            "it is truncated in storage \"0\"",
        ),
        (
            "another length",
            old(keys, &[0xff; 16]),
            "storage \"0\" has another length than its tensor promises",
        ),
        (
            "cut after the magic number",
            pickles::MAGIC.to_vec(),
            "1 bytes where 0 are left (byte 0 of its pickle)",
        ),
    ];
    for (kind, bytes, message) in cases {
        let error = parse(bytes)
            .err()
            .unwrap_or_else(|| panic!("{kind}: accepted"))
            .to_string();
        assert_eq!(error, format!("{fault}{message}"), "{kind}");
    }
}

/// Every file of the tests, cut at every length and with every byte changed
/// in three ways: an error or tensors, and nothing else.
#[test]
fn no_single_byte_is_trusted() {
    let mut files = vec![sound().metadata("labels", r#"["a"]"#).bytes()];
    for name in ["plain.pth", "legacy.pth", "views.pth", "protocol4.pth"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/pth")
            .join(name);
        files.push(std::fs::read(path).unwrap());
    }
    let mut opened = 0;
    let mut attempt = |bytes: Vec<u8>| {
        if let Ok(checkpoint) = parse(bytes) {
            opened += 1;
            for (name, shape) in checkpoint.tensors() {
                let _ = checkpoint.read(name, shape);
            }
        }
    };
    for file in &files {
        for at in 0..file.len() {
            attempt(file[..at].to_vec());
            for change in [0x01, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] ^= change;
                attempt(changed);
            }
        }
    }
    // A changed number in a tensor is not to be noticed: some must open.
    assert!(opened > 100, "{opened} opened");
}
