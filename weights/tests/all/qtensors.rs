//! Quantized tensors of PyTorch in a state dict, and networks that it has
//! converted.

use resnet_weights::Checkpoint;

use crate::common::File;
use crate::pickles::{Zip, op};

/// A view of the whole storage `key`.
fn view(class: &str, key: &str, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let sizes = |sizes: &[i64]| {
        let sizes = sizes.iter().flat_map(|n| op::int(*n)).collect();
        [b"(".to_vec(), sizes, b"t".to_vec()].concat()
    };
    [
        b"((".to_vec(),
        op::text("storage"),
        format!("ctorch\n{class}\n").into(),
        op::text(key),
        op::text("cpu"),
        op::int(shape.iter().product()),
        b"tQ".to_vec(),
        op::int(0),
        sizes(shape),
        sizes(strides),
    ]
    .concat()
}

/// A plain tensor `[2]`.
fn plain(class: &str, key: &str) -> Vec<u8> {
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec();
    [rebuild, view(class, key, &[2], &[1]), b"\x89NtR".to_vec()].concat()
}

/// A state dict with `fc.weight`, the integers -128, 127, 64, 0 as `[2, 2]`, which is
/// quantized with `parameters`.
fn open(class: &str, parameters: &[&[u8]]) -> Result<Checkpoint, String> {
    let pickle = [
        b"\x80\x02}".to_vec(),
        op::text("fc.weight"),
        b"ctorch._utils\n_rebuild_qtensor\n".to_vec(),
        view(class, "0", &[2, 2], &[2, 1]),
        [&b"("[..], &parameters.concat(), b"t\x89NtRs."].concat(),
    ];
    let zip = Zip::default()
        .entry("archive/data.pkl", &pickle.concat())
        .entry("archive/data/0", &[0x80, 0x7f, 0x40, 0])
        .entry(
            "archive/data/1",
            &[0.5_f64, 0.25].map(f64::to_le_bytes).concat(),
        )
        .entry("archive/data/2", &[0; 16])
        .entry("archive/data/3", &[0_i64, 3].map(i64::to_le_bytes).concat());
    Checkpoint::from_static("x", zip.bytes().leak()).map_err(|error| error.to_string())
}

fn float(value: f64) -> Vec<u8> {
    [&b"G"[..], &value.to_be_bytes()].concat()
}

const PER_TENSOR: &[u8] = b"ctorch\nper_tensor_affine\n";
const PER_CHANNEL: &[u8] = b"ctorch\nper_channel_affine\n";

#[test]
fn one_scale_or_one_for_each_output_channel_is_read() {
    let one = open("QInt8Storage", &[PER_TENSOR, &float(0.5), &op::int(0)]).unwrap();
    assert_eq!(
        one.read("fc.weight", &[2, 2]).unwrap(),
        [-64.0, 63.5, 32.0, 0.0]
    );
    assert_eq!(one.steps("fc.weight").unwrap().unwrap(), [0.5, 0.5]);
    let (scales, zeros) = (plain("DoubleStorage", "1"), plain("LongStorage", "2"));
    let each = open("QInt8Storage", &[PER_CHANNEL, &scales, &zeros, &op::int(0)]).unwrap();
    assert_eq!(
        each.read("fc.weight", &[2, 2]).unwrap(),
        [-64.0, 63.5, 16.0, 0.0]
    );
    assert_eq!(each.steps("fc.weight").unwrap().unwrap(), [0.5, 0.25]);
    let names: Vec<&str> = each.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["fc.weight"]);
}

#[test]
fn other_quantizations_are_refused() {
    let (scales, zeros) = (plain("DoubleStorage", "1"), plain("LongStorage", "2"));
    let others = plain("LongStorage", "3");
    let int = op::int;
    let refused = |class: &str, parameters: &[&[u8]], reason: &str| {
        let error = open(class, parameters).err().unwrap();
        assert!(error.contains(reason), "{error}");
        assert!(error.contains("fc.weight"), "{error}");
    };
    let zero_points = "zero points other than 0";
    refused(
        "QInt8Storage",
        &[PER_TENSOR, &float(0.5), &int(3)],
        zero_points,
    );
    refused(
        "QInt8Storage",
        &[PER_CHANNEL, &scales, &others, &int(0)],
        zero_points,
    );
    refused(
        "QInt8Storage",
        &[PER_CHANNEL, &scales, &zeros, &int(1)],
        "along another axis than 0",
    );
    refused(
        "QInt8Storage",
        &[b"ctorch\nper_channel_symmetric\n", &scales, &zeros, &int(0)],
        "with another scheme",
    );
    refused(
        "QUInt8Storage",
        &[PER_TENSOR, &float(0.5), &int(0)],
        "to another type than qint8",
    );
    refused(
        "QInt8Storage",
        &[PER_TENSOR, b"N", &int(0)],
        "without a scale or a zero point",
    );
}

/// A converted network of one convolution and a classifier.
fn converted() -> File {
    converted_with(0.5, 0)
}

/// The same, with this quantization of the convolution's output.
fn converted_with(scale: f32, zero_point: i64) -> File {
    let first = zero_point;
    let zero_point =
        |file: File, name: &str, value: i64| file.tensor(name, "I64", &[], &value.to_le_bytes());
    let file = File::default()
        .tensor("conv1.weight", "I8", &[2, 1, 1, 1], &[0x80, 3])
        .f32("conv1.weight_scale", &[2], &[0.5, 0.25])
        .f32("conv1.bias", &[2], &[7.0, 8.0])
        .f32("conv1.scale", &[], &[scale])
        .f32("quant.scale", &[1], &[0.125])
        .f32("fc.scale", &[], &[1.0])
        .f32("fc._packed_params.weight", &[1, 2], &[1.0, 2.0]);
    let file = zero_point(file, "conv1.zero_point", first);
    let file = zero_point(file, "fc.zero_point", 9);
    zero_point(file, "quant.zero_point", 55)
}

fn opened(file: &File) -> Result<Checkpoint, String> {
    Checkpoint::from_static("x", file.bytes().leak()).map_err(|error| error.to_string())
}

#[test]
fn a_converted_network_gets_batch_norms_and_ranges() {
    let checkpoint = opened(&converted()).unwrap();
    let names: Vec<&str> = checkpoint.tensors().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "bn1.bias",
            "bn1.running_mean",
            "bn1.running_var",
            "bn1.weight",
            "conv1.weight",
            "fc.weight"
        ]
    );
    let read = |name: &str| checkpoint.read(name, &[2]).unwrap();
    assert_eq!(read("bn1.bias"), [7.0, 8.0]);
    for (weight, variance) in read("bn1.weight").iter().zip(read("bn1.running_var")) {
        assert!((weight / (variance + 1e-5).sqrt() - 1.0).abs() < 1e-7);
    }
    let ranges = checkpoint.metadata().ranges.clone().unwrap();
    let ranges: Vec<_> = ranges
        .iter()
        .map(|(layer, range)| (&layer[..], *range))
        .collect();
    assert_eq!(
        ranges,
        [
            ("conv1", [0.0, 127.5]),
            ("input", [-55.0 * 0.125, 200.0 * 0.125])
        ]
    );
}

#[test]
fn a_converted_network_that_is_not_fused_is_refused() {
    let norm = |file: File| file.f32("bn1.weight", &[2], &[1.0, 1.0]);
    let error = opened(&norm(converted())).err().unwrap();
    assert!(error.contains("`bn1` is not fused with `conv1`"), "{error}");
    let quantized = norm(converted()).f32("bn1.scale", &[], &[0.5]).tensor(
        "bn1.zero_point",
        "I64",
        &[],
        &[0; 8],
    );
    let error = opened(&quantized).err().unwrap();
    assert!(
        error.contains("`bn1`, which is no convolution; fuse the network"),
        "{error}"
    );
    for (value, file) in [
        ("scale", converted_with(0.0, 0)),
        ("zero_point", converted_with(0.5, 300)),
    ] {
        let error = opened(&file).err().unwrap();
        assert!(error.contains(&format!("`conv1.{value}` is no")), "{error}");
    }
}
