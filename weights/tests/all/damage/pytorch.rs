//! Archives and pickles that PyTorch would not write.

use super::{assert_refused, parse};
use crate::pickles::{self, Tensor, Zip, op};

#[test]
fn archives() {
    let mut cut = pickles::sound().zip().bytes();
    cut.truncate(cut.len() - 30);
    let mut bomb = pickles::sound().zip().bytes();
    pickles::set_size(&mut bomb, "archive/data/0", 1 << 30);
    let mut deflated = pickles::sound().zip().bytes();
    pickles::set_method(&mut deflated, "archive/data/0", 8);
    let mut shared = pickles::sound().zip().bytes();
    pickles::move_entry(&mut shared, "archive/data/0", 0);
    assert_refused(vec![
        ("cut", cut, "its zip directory is broken: …"),
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
    ]);
}

#[test]
fn pickles_that_would_do_harm() {
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
            "it ends 1 bytes too early (byte 3 of its pickle)",
        ),
        (
            "nothing",
            b".".to_vec(),
            "it takes from an empty stack (byte 1 of its pickle)",
        ),
        (
            "four gigabytes of text",
            text(u32::MAX),
            "it ends 4294967295 bytes too early (byte 5 of its pickle)",
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
    let archived = cases
        .into_iter()
        .map(|(kind, pickle, fault)| (kind, pickles::archive(&pickle), fault));
    assert_refused(archived.collect());
}

#[test]
fn files_from_before_the_archive() {
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
    assert_refused(vec![
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
            "it ends 1 bytes too early (byte 0 of its pickle)",
        ),
    ]);
}
