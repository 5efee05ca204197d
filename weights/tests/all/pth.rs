//! State dicts as PyTorch itself wrote them (`tests/pth/make.py`).

use std::path::{Path, PathBuf};

use weights::Checkpoint;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pth")
        .join(name)
}

/// The state dict that most of the files hold, as row-major values.
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
fn every_way_to_save_a_state_dict_is_read() {
    for name in [
        "plain.pth",
        "protocol4.pth",
        "half.pt",
        "bfloat16.pt",
        "parameters.bin",
    ] {
        assert_holds_the_state(name);
    }
}

#[test]
fn a_training_checkpoint_is_searched_for_its_weights() {
    // Wrapped in `module.`, its convolution stored channels last.
    for name in ["training.pth", "legacy.pth"] {
        assert_holds_the_state(name);
        let checkpoint = Checkpoint::open(&path(name)).unwrap();
        assert_eq!(
            checkpoint.own_name("layer1.0.bn1.bias"),
            "module.layer1.0.bn1.bias"
        );
    }
}

#[test]
fn views_into_one_storage_are_told_apart() {
    let checkpoint = Checkpoint::open(&path("views.pth")).unwrap();
    let transposed = [4.0, 7.0, 5.0, 8.0, 6.0, 9.0];
    assert_eq!(checkpoint.read("fc.weight", &[3, 2]).unwrap(), transposed);
    assert_eq!(checkpoint.read("fc.bias", &[3]).unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(checkpoint.read("bn1.bias", &[2]).unwrap(), [5.0, 6.0]);
}

#[test]
fn what_is_no_state_dict_says_what_to_do() {
    let cases = [
        (
            "module.pth",
            "it holds a whole Python object; save its `state_dict()` instead",
        ),
        (
            "script.pt",
            "it is a TorchScript program; save the model's `state_dict()` instead",
        ),
        (
            "quantized.pth",
            "tensor `fc.bias` is made by `torch._utils._rebuild_qtensor`, which is not read",
        ),
        (
            "expanded.pth",
            "tensor `fc.bias` of shape [4, 3] does not fit its storage of 3 elements",
        ),
    ];
    for (name, fault) in cases {
        let path = path(name);
        let error = Checkpoint::open(&path).err().unwrap().to_string();
        assert_eq!(
            error,
            format!("{} is not a usable checkpoint: {fault}", path.display())
        );
    }
    let double = Checkpoint::open(&path("double.pt")).unwrap();
    let error = double.read("fc.bias", &[3]).unwrap_err().to_string();
    assert!(
        error.ends_with("is F64; F32, F16 and BF16 are read"),
        "{error}"
    );
}
