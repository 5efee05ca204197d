//! Archives and pickles that PyTorch does not write.

use super::{assert_rejected, parse};
use crate::pickles::{self, Tensor, Zip, op};

#[test]
fn invalid_archives_are_rejected() {
    let mut cut = pickles::valid().zip().bytes();
    cut.truncate(cut.len() - 30);
    let mut bomb = pickles::valid().zip().bytes();
    pickles::set_size(&mut bomb, "archive/data/0", 1 << 30);
    let mut deflated = pickles::valid().zip().bytes();
    pickles::set_method(&mut deflated, "archive/data/0", 8);
    let mut shared = pickles::valid().zip().bytes();
    pickles::move_entry(&mut shared, "archive/data/0", 0);
    assert_rejected(vec![
        ("cut", cut, "its zip directory is broken: …"),
        (
            "an empty zip",
            Zip::default().entry("readme", b"").bytes(),
            "it is a zip archive without `data.pkl`, so it was not written by `torch.save`",
        ),
        (
            "a storage of a gigabyte in 8 bytes",
            bomb,
            "its entry \"archive/data/0\" is compressed or truncated; save the file again with `torch.save`",
        ),
        (
            "compressed",
            deflated,
            "its entry \"archive/data/0\" is compressed or truncated; save the file again with `torch.save`",
        ),
        (
            "two entries in one place",
            shared,
            "entries of its zip directory overlap",
        ),
        (
            "no storage",
            Zip::default()
                .entry("archive/data.pkl", &pickles::valid().bytes())
                .bytes(),
            "its entry \"archive/data/0\" is missing",
        ),
        (
            "a storage too short",
            Zip::default()
                .entry("archive/data.pkl", &pickles::valid().bytes())
                .entry("archive/data/0", &[0; 7])
                .bytes(),
            "the storage of tensor `fc.bias` has 7 bytes, too few for 2 elements",
        ),
        (
            "another byte order",
            pickles::valid()
                .zip()
                .entry("archive/byteorder", b"big")
                .bytes(),
            "its byte order is big-endian; only little-endian files are supported",
        ),
    ]);
}

#[test]
fn malicious_pickles_are_rejected() {
    let text = |length: u32| [&b"X"[..], &length.to_le_bytes()].concat();
    let laughs: Vec<u8> = (0..60_u8)
        .flat_map(|i| [b'(', b'h', i, b'h', i, b't', b'q', i + 1])
        .collect();
    let command = b"cposix\nsystem\nX\x02\0\0\0ls\x85R.";
    let not_a_state_dict =
        "it contains a Python object instead of a state dict; save its `state_dict()`";
    let unsupported = "tensor `fc.bias` has an unsupported description; save the `state_dict()` with a current PyTorch";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a command to run",
            command.to_vec(),
            "it contains a pickled `posix.system` instead of a state dict; save its `state_dict()`",
        ),
        (
            "an unknown opcode",
            b"\x80\x02i.".to_vec(),
            "opcode 0x69 is not supported, because PyTorch does not write it (byte 3 of its pickle)",
        ),
        (
            "a pickle without a STOP opcode",
            b"\x80\x02}".to_vec(),
            "it is truncated: 1 bytes are missing (byte 3 of its pickle)",
        ),
        (
            "an empty stack",
            b".".to_vec(),
            "it pops from an empty stack (byte 1 of its pickle)",
        ),
        (
            "four gigabytes of text",
            text(u32::MAX),
            "it is truncated: 4294967295 bytes are missing (byte 5 of its pickle)",
        ),
        (
            "a name without an end",
            b"ccollections".to_vec(),
            "a line has no end (byte 1 of its pickle)",
        ),
        (
            "a mark that was not set",
            b"t.".to_vec(),
            "it pops to a mark that was not set (byte 1 of its pickle)",
        ),
        (
            "a pop below the mark",
            b"N(\x85.".to_vec(),
            "it pops from an empty stack (byte 3 of its pickle)",
        ),
        (
            "a memo entry that was not written",
            b"h\x07.".to_vec(),
            "it reads memo entry 7, which was not written (byte 2 of its pickle)",
        ),
        (
            "a key without a value",
            b"}(Nu.".to_vec(),
            "a dictionary has a key without a value (byte 4 of its pickle)",
        ),
        (
            "a billion laughs",
            [b")q\0".to_vec(), laughs, b".".to_vec()].concat(),
            not_a_state_dict,
        ),
        (
            "half a million nested tuples",
            [vec![b')'], vec![0x85; 500_000], vec![b'.']].concat(),
            not_a_state_dict,
        ),
        (
            "two million lists",
            vec![b']'; 2 << 20],
            "it creates more than 524288 objects (byte 524288 of its pickle)",
        ),
        (
            "a list that contains itself",
            b"]q\0h\0a.".to_vec(),
            not_a_state_dict,
        ),
        (
            "a number of 255 bytes",
            [&[0x8a, 255][..], &[1; 255], b"."].concat(),
            not_a_state_dict,
        ),
        ("too few arguments", op::tensor_of(b")"), unsupported),
        (
            "a negative size",
            Tensor {
                shape: &[-2],
                ..pickles::TENSOR
            }
            .bytes(),
            unsupported,
        ),
        (
            "an unsupported dtype",
            Tensor {
                class: "ComplexFloatStorage",
                ..pickles::TENSOR
            }
            .bytes(),
            unsupported,
        ),
        (
            "more elements than its storage has",
            Tensor {
                shape: &[3],
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [3] does not fit its storage of 2 elements; save a contiguous copy of it",
        ),
        (
            "one element repeated a billion times",
            Tensor {
                shape: &[1_000_000_000],
                strides: &[0],
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [1000000000] does not fit its storage of 2 elements; save a contiguous copy of it",
        ),
        (
            "a shape that overflows",
            Tensor {
                shape: &[1 << 32, 1 << 32],
                strides: &[1, 1],
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [4294967296, 4294967296] does not fit its storage of 2 elements; save a contiguous copy of it",
        ),
        (
            "strides that overflow",
            Tensor {
                shape: &[2],
                strides: &[i64::MAX],
                offset: i64::MAX,
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [2] does not fit its storage of 2 elements; save a contiguous copy of it",
        ),
        (
            "fewer strides than dimensions",
            Tensor {
                shape: &[1, 2],
                ..pickles::TENSOR
            }
            .bytes(),
            "tensor `fc.bias` of shape [1, 2] does not fit its storage of 2 elements; save a contiguous copy of it",
        ),
        (
            "a storage larger than any memory",
            Tensor {
                elements: i64::MAX,
                ..pickles::TENSOR
            }
            .bytes(),
            "storage \"0\" has 9223372036854775807 elements, more than any memory",
        ),
        (
            "a storage outside the archive",
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
        .map(|(kind, pickle, reason)| (kind, pickles::archive(&pickle), reason));
    assert_rejected(archived.collect());
}

#[test]
fn invalid_legacy_files_are_rejected() {
    let old = |keys: &[u8], storages: &[u8]| {
        let object = pickles::valid().bytes();
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
    assert_rejected(vec![
        (
            "keys that are not a list",
            old(b"N.", &storage),
            "the keys of its storages are not a list",
        ),
        (
            "a key that is not a string",
            old(b"]Na.", &storage),
            "the key of a storage is not a string",
        ),
        (
            "a key of an unknown storage",
            old(b"]X\x01\0\0\x009a.", &storage),
            "storage \"9\" is not used by any tensor",
        ),
        (
            "a missing storage",
            old(b"].", &storage),
            "tensor `fc.bias` is in storage \"0\", which is missing",
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
            "a different length",
            old(keys, &[0xff; 16]),
            "the length of storage \"0\" differs from the length in its tensor",
        ),
        (
            "cut after the magic number",
            pickles::MAGIC.to_vec(),
            "it is truncated: 1 bytes are missing (byte 0 of its pickle)",
        ),
    ]);
}
