//! Safetensors files whose frame, header or metadata lie.

use serde_json::{Value, json};

use super::{assert_refused, parse};
use crate::common::{File, framed};

/// Two tensors: `a` of 8 bytes, `b` of 4.
pub(super) fn sound() -> File {
    File::default()
        .f32("a", &[2], &[1.0, 2.0])
        .f32("b", &[1], &[3.0])
}

/// A sound file with another header.
fn header(header: &Value) -> Vec<u8> {
    framed(header.to_string().as_bytes(), &[0; 12])
}

/// A sound file with another header for `b`.
fn with_b(b: &Value) -> Vec<u8> {
    header(&json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": b}))
}

#[test]
fn frames() {
    let longest = (8_u64 << 20) + 1;
    let mut truncated = sound().bytes();
    truncated.truncate(truncated.len() - 1);
    let mut cut_in_header = sound().bytes();
    cut_in_header.truncate(40);
    assert_refused(vec![
        ("empty", vec![], "0 bytes are too few for any checkpoint"),
        (
            "seven bytes",
            vec![0; 7],
            "7 bytes are too few for any checkpoint",
        ),
        (
            "a header as long as can be",
            u64::MAX.to_le_bytes().to_vec(),
            "it is neither a safetensors file (its header would be 18446744073709551615 bytes long), nor PyTorch's, nor an index",
        ),
        (
            "a header over the limit",
            [longest.to_le_bytes().to_vec(), vec![b' '; 9 << 20]].concat(),
            "it is neither a safetensors file (its header would be 8388609 bytes long), nor PyTorch's, nor an index",
        ),
        (
            "a web page",
            b"<!DOCTYPE html><title>404</title>".to_vec(),
            "it is neither a safetensors file (its header would be 5789751444030890300 bytes long), nor PyTorch's, nor an index",
        ),
        (
            "cut inside the header",
            cut_in_header,
            "it is truncated: a header of 108 bytes in a file of 40",
        ),
        (
            "cut inside the data",
            truncated,
            "it is truncated: 11 bytes of tensors where its header promises 12",
        ),
        (
            "bytes after the data",
            [sound().bytes(), vec![0; 5]].concat(),
            "5 bytes after the last tensor",
        ),
        ("no tensors", framed(b"{}", &[]), "it holds no tensors"),
        (
            "a Git LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(),
            "it is a Git LFS pointer to the weights; fetch them with `git lfs pull`",
        ),
        (
            "an index where tensors should be",
            br#"{"weight_map": {}}"#.to_vec(),
            "an index where tensors should be",
        ),
    ]);
}

#[test]
fn headers() {
    let deep = [b"{\"a\":".to_vec(), vec![b'['; 1 << 20]].concat();
    assert_refused(vec![
        (
            "not UTF-8",
            framed(b"{\"\xff\":1}", &[]),
            "its header is not UTF-8: invalid utf-8 sequence of 1 bytes from index 2",
        ),
        ("not JSON", framed(b"{'a': 1}", &[]), "its header is not what safetensors prescribes: key must be a string at line 1 column 2"),
        ("a list", framed(b"[1, 2]", &[]), "its header is not what safetensors prescribes: invalid type: sequence, expected an object that maps names to tensors…"),
        ("nested a million deep", framed(&deep, &[]), "its header is not what safetensors prescribes: in `a`: expected value at line 1 column 7"),
        (
            "a tensor without a shape",
            with_b(&json!({"dtype": "F32", "data_offsets": [8, 12]})),
            "its header is not what safetensors prescribes: in `b`: missing field `shape`…",
        ),
        (
            "a type from another world",
            with_b(&json!({"dtype": "F31", "shape": [1], "data_offsets": [8, 12]})),
            "its header is not what safetensors prescribes: in `b`: unknown variant `F31`…",
        ),
        (
            "a negative dimension",
            with_b(&json!({"dtype": "F32", "shape": [-1], "data_offsets": [8, 12]})),
            "its header is not what safetensors prescribes: in `b`: invalid value: integer `-1`, expected usize…",
        ),
        (
            "a tensor twice",
            framed(br#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}"#, &[0; 8]),
            "its header is not what safetensors prescribes: `a` occurs twice…",
        ),
        (
            "metadata that is no text",
            header(&json!({"__metadata__": {"format": 1}})),
            "its header is not what safetensors prescribes: in `__metadata__`: invalid type: integer `1`, expected a string…",
        ),
    ]);
}

#[test]
fn that_lie_about_their_tensors() {
    let huge = 1_u64 << 40;
    assert_refused(vec![
        (
            "overlap",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]})),
            "tensor `b` overlaps the one before it at byte 4 of the data",
        ),
        (
            "hole",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [9, 13]})),
            "1 bytes before tensor `b` belong to no tensor",
        ),
        (
            "ends before it begins",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [8, 4]})),
            "tensor `b` of type F32 and shape [1] cannot lie in bytes 8 to 4",
        ),
        (
            "more elements than bytes",
            with_b(&json!({"dtype": "F32", "shape": [2], "data_offsets": [8, 12]})),
            "tensor `b` of type F32 and shape [2] cannot lie in bytes 8 to 12",
        ),
        (
            "as many elements as wrap around to none",
            with_b(&json!({"dtype": "F32", "shape": [huge, huge], "data_offsets": [8, 8]})),
            "tensor `b` has an impossible shape, [1099511627776, 1099511627776]",
        ),
        (
            "a terabyte that is not there",
            with_b(&json!({"dtype": "U8", "shape": [huge], "data_offsets": [8, huge + 8]})),
            "it is truncated: 12 bytes of tensors where its header promises 1099511627784",
        ),
        (
            "half a byte",
            with_b(&json!({"dtype": "F4", "shape": [3], "data_offsets": [8, 9]})),
            "tensor `b` of type F4 and shape [3] cannot lie in bytes 8 to 9",
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
