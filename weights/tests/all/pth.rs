//! State dicts written by PyTorch (`tests/pth/make.py`).

use std::path::{Path, PathBuf};

use resnet_weights::Checkpoint;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pth")
        .join(name)
}

/// Asserts that a file contains the state dict of `make.py`.
fn assert_holds_the_state(name: &str) {
    let checkpoint = Checkpoint::open(&path(name)).unwrap();
    let names: Vec<&str> = checkpoint.tensors().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "bn1.bias",
            "bn1.running_mean",
            "bn1.running_var",
            "bn1.weight",
            "conv1.weight",
            "fc.bias",
            "fc.weight"
        ],
        "{name}"
    );
    let read = |tensor, shape: &[usize]| checkpoint.read(tensor, shape).unwrap();
    let eighths: Vec<f32> = (0..24_u8).map(|i| f32::from(i) / 8.0).collect();
    assert_eq!(read("conv1.weight", &[2, 3, 2, 2]), eighths, "{name}");
    assert_eq!(read("bn1.bias", &[2]), [-1.0, 0.5], "{name}");
    assert_eq!(
        read("fc.weight", &[3, 2]),
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        "{name}"
    );
    assert_eq!(read("fc.bias", &[3]), [0.25, 0.5, 0.75], "{name}");
}

#[test]
fn state_dicts_of_every_dtype_and_protocol_are_read() {
    for name in [
        "plain.pth",
        "protocol4.pth",
        "half.pt",
        "bfloat16.pt",
        "double.pt",
        "parameters.bin",
    ] {
        assert_holds_the_state(name);
    }
}

#[test]
fn the_state_dict_in_a_training_checkpoint_is_found() {
    // Names have the prefix `module.`; the convolution is stored channels last.
    for name in ["training.pth", "legacy.pth"] {
        assert_holds_the_state(name);
        let checkpoint = Checkpoint::open(&path(name)).unwrap();
        assert_eq!(
            checkpoint.name_in_file("layer1.0.bn1.bias"),
            "module.layer1.0.bn1.bias"
        );
    }
}

#[test]
fn views_of_one_storage_are_read_separately() {
    let checkpoint = Checkpoint::open(&path("views.pth")).unwrap();
    let transposed = [4.0, 7.0, 5.0, 8.0, 6.0, 9.0];
    assert_eq!(checkpoint.read("fc.weight", &[3, 2]).unwrap(), transposed);
    assert_eq!(checkpoint.read("fc.bias", &[3]).unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(checkpoint.read("bn1.bias", &[2]).unwrap(), [5.0, 6.0]);
}

#[test]
fn quantized_tensors_are_read() {
    let checkpoint = Checkpoint::open(&path("quantized.pth")).unwrap();
    assert_eq!(checkpoint.read("fc.bias", &[2]).unwrap(), [1.0, 1.0]);
}

#[test]
fn unsupported_pytorch_files_are_errors() {
    let cases = [
        (
            "module.pth",
            "it contains a pickled `__main__.Net` instead of a state dict; save its `state_dict()`",
        ),
        (
            "script.pt",
            "it is a TorchScript program; save the model's `state_dict()` instead",
        ),
        (
            "expanded.pth",
            "tensor `fc.bias` of shape [4, 3] does not fit its storage of 3 elements; save a contiguous copy of it",
        ),
    ];
    for (name, reason) in cases {
        let path = path(name);
        let error = Checkpoint::open(&path).err().unwrap().to_string();
        assert_eq!(
            error,
            format!("{} is not a usable checkpoint: {reason}", path.display())
        );
    }
}
