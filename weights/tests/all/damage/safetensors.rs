//! Safetensors files with an invalid length, header or metadata.

use serde_json::{Value, json};

use super::{assert_rejected, parse};
use crate::common::{File, framed};

/// Two tensors: `a` of 8 bytes, `b` of 4.
pub(super) fn valid() -> File {
    File::default()
        .f32("a", &[2], &[1.0, 2.0])
        .f32("b", &[1], &[3.0])
}

/// A valid file with another header.
fn header(header: &Value) -> Vec<u8> {
    framed(header.to_string().as_bytes(), &[0; 12])
}

/// A valid file with another header entry for `b`.
fn with_b(b: &Value) -> Vec<u8> {
    header(&json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": b}))
}

#[test]
fn invalid_lengths_and_formats_are_rejected() {
    let longest = (8_u64 << 20) + 1;
    let mut truncated = valid().bytes();
    truncated.truncate(truncated.len() - 1);
    let mut cut_in_header = valid().bytes();
    cut_in_header.truncate(40);
    assert_rejected(vec![
        ("empty", vec![], "it has 0 bytes, too few for a checkpoint"),
        (
            "seven bytes",
            vec![0; 7],
            "it has 7 bytes, too few for a checkpoint",
        ),
        (
            "the longest possible header",
            u64::MAX.to_le_bytes().to_vec(),
            "it is neither a PyTorch file nor an index, and as a safetensors file its header would have 18446744073709551615 bytes; at most 8388608 are supported",
        ),
        (
            "a header over the limit",
            [longest.to_le_bytes().to_vec(), vec![b' '; 9 << 20]].concat(),
            "it is neither a PyTorch file nor an index, and as a safetensors file its header would have 8388609 bytes; at most 8388608 are supported",
        ),
        (
            "a web page",
            b"<!DOCTYPE html><title>404</title>".to_vec(),
            "it is a web page, not a checkpoint; the download returned an error or a login page",
        ),
        (
            "cut inside the header",
            cut_in_header,
            "it is truncated: its header has 108 bytes and the file 40",
        ),
        (
            "cut inside the data",
            truncated,
            "it is truncated: it has 11 bytes of tensors, its header describes 12",
        ),
        (
            "bytes after the data",
            [valid().bytes(), vec![0; 5]].concat(),
            "there are 5 bytes after the last tensor",
        ),
        ("no tensors", framed(b"{}", &[]), "it contains no tensors"),
        (
            "a Git LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(),
            "it is a Git LFS pointer to the weights; fetch them with `git lfs pull`",
        ),
        (
            "it is an index of shards, not a file with tensors",
            br#"{"weight_map": {}}"#.to_vec(),
            "it is an index of shards, not a file with tensors",
        ),
    ]);
}

#[test]
fn invalid_headers_are_rejected() {
    let deep = [b"{\"a\":".to_vec(), vec![b'['; 1 << 20]].concat();
    assert_rejected(vec![
        (
            "not UTF-8",
            framed(b"{\"\xff\":1}", &[]),
            "its header is not UTF-8: invalid utf-8 sequence of 1 bytes from index 2",
        ),
        ("not JSON", framed(b"{'a': 1}", &[]), "its header is not a safetensors header: key must be a string at line 1 column 2"),
        ("a list", framed(b"[1, 2]", &[]), "its header is not a safetensors header: invalid type: sequence, expected an object that maps names to tensors…"),
        ("a million nested arrays", framed(&deep, &[]), "its header is not a safetensors header: in `a`: expected value at line 1 column 7"),
        (
            "a tensor without a shape",
            with_b(&json!({"dtype": "F32", "data_offsets": [8, 12]})),
            "its header is not a safetensors header: in `b`: missing field `shape`…",
        ),
        (
            "an unknown dtype",
            with_b(&json!({"dtype": "F31", "shape": [1], "data_offsets": [8, 12]})),
            "its header is not a safetensors header: in `b`: unknown variant `F31`…",
        ),
        (
            "a negative dimension",
            with_b(&json!({"dtype": "F32", "shape": [-1], "data_offsets": [8, 12]})),
            "its header is not a safetensors header: in `b`: invalid value: integer `-1`, expected usize…",
        ),
        (
            "a tensor twice",
            framed(br#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}"#, &[0; 8]),
            "its header is not a safetensors header: `a` occurs twice…",
        ),
        (
            "metadata that is not a string",
            header(&json!({"__metadata__": {"format": 1}})),
            "its header is not a safetensors header: in `__metadata__`: invalid type: integer `1`, expected a string…",
        ),
    ]);
}

#[test]
fn inconsistent_tensors_are_rejected() {
    let huge = 1_u64 << 40;
    assert_rejected(vec![
        (
            "overlap",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]})),
            "tensor `b` overlaps the one before it at byte 4 of the data",
        ),
        (
            "a gap",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [9, 13]})),
            "there is a gap of 1 bytes before tensor `b`",
        ),
        (
            "ends before it begins",
            with_b(&json!({"dtype": "F32", "shape": [1], "data_offsets": [8, 4]})),
            "the size of tensor `b` with dtype F32 and shape [1] does not match its bytes 8 to 4",
        ),
        (
            "more elements than bytes",
            with_b(&json!({"dtype": "F32", "shape": [2], "data_offsets": [8, 12]})),
            "the size of tensor `b` with dtype F32 and shape [2] does not match its bytes 8 to 12",
        ),
        (
            "a number of elements that overflows",
            with_b(&json!({"dtype": "F32", "shape": [huge, huge], "data_offsets": [8, 8]})),
            "tensor `b` has the shape [1099511627776, 1099511627776], whose size overflows",
        ),
        (
            "a terabyte beyond the end of the file",
            with_b(&json!({"dtype": "U8", "shape": [huge], "data_offsets": [8, huge + 8]})),
            "it is truncated: it has 12 bytes of tensors, its header describes 1099511627784",
        ),
        (
            "half a byte",
            with_b(&json!({"dtype": "F4", "shape": [3], "data_offsets": [8, 9]})),
            "the size of tensor `b` with dtype F4 and shape [3] does not match its bytes 8 to 9",
        ),
        (
            "the same tensor under two names",
            File::default()
                .f32("module.fc.bias", &[1], &[1.0])
                .f32("fc.bias", &[1], &[1.0])
                .bytes(),
            "tensors `module.fc.bias` and `fc.bias` in x both map to `fc.bias`; remove one of them",
        ),
    ]);
}

#[test]
fn values_that_are_not_finite_are_rejected() {
    let inf = half::f16::INFINITY.to_le_bytes();
    let file = File::default()
        .f32("a", &[2], &[0.0, f32::NAN])
        .f32("b", &[1], &[f32::NEG_INFINITY])
        .tensor("c", "F16", &[1], &inf)
        .tensor("d", "U8", &[1], &[1]);
    let checkpoint = parse(file.bytes()).unwrap();
    for (name, shape, message) in [
        (
            "a",
            [2],
            "tensor `a` in x holds NaN at index 1; all weights must be finite",
        ),
        (
            "b",
            [1],
            "tensor `b` in x holds -inf at index 0; all weights must be finite",
        ),
        (
            "c",
            [1],
            "tensor `c` in x holds inf at index 0; all weights must be finite",
        ),
        (
            "d",
            [1],
            "tensor `d` in x has dtype U8, which is not supported; convert it to F32, F16 or BF16",
        ),
    ] {
        assert_eq!(
            checkpoint.read(name, &shape).unwrap_err().to_string(),
            message
        );
    }
}

#[test]
fn invalid_metadata_is_rejected() {
    let preprocessing = |key: &str, value: Value| {
        let mut preprocessing = json!({
            "resize": 256, "crop": 224, "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
        });
        preprocessing[key] = value;
        ("preprocess", preprocessing.to_string())
    };
    let cases = [
        (
            ("preprocess", "{".into()),
            "field `preprocess` in x: EOF while parsing an object at line 1 column 1",
        ),
        (
            preprocessing("crop", json!(0)),
            "field `preprocess` in x: the crop is 0 pixels; 1 to 2048 are supported",
        ),
        (
            preprocessing("crop", json!(4_000_000_000_u32)),
            "field `preprocess` in x: the crop is 4000000000 pixels; 1 to 2048 are supported",
        ),
        (
            preprocessing("resize", json!(100)),
            "field `preprocess` in x: the resize to 100 pixels does not match the crop of 224 pixels; 224 to 4096 are supported",
        ),
        (
            preprocessing("resize", json!(u32::MAX)),
            "field `preprocess` in x: the resize to 4294967295 pixels does not match the crop of 224 pixels; 224 to 4096 are supported",
        ),
        (
            preprocessing("resize", json!([256, 320])),
            "field `preprocess` in x: `resize` is [256, 320]; only equal sides are supported",
        ),
        (
            preprocessing("std", json!([1.0, 0.0, 1.0])),
            "field `preprocess` in x: the standard deviation is 0; it must be positive and finite",
        ),
        (
            preprocessing("mean", json!([1.0, 1e300, 1.0])),
            "field `preprocess` in x: the mean is inf; it must be finite",
        ),
        (
            preprocessing("antialias", json!(false)),
            "field `preprocess` in x: `antialias` is false; only true is supported",
        ),
        (
            ("labels", "cat, dog".into()),
            "field `labels` in x: its content is not a JSON array or object of names: expected value at line 1 column 1",
        ),
        (
            ("labels", r#"{"0": "cat", "2": "dog"}"#.into()),
            "field `labels` in x: there are 2 classes but none with index 1; indices must be 0 to 1",
        ),
    ];
    for ((key, value), message) in cases {
        let error = parse(valid().metadata(key, &value).bytes()).err().unwrap();
        assert_eq!(error.to_string(), message);
    }
}
