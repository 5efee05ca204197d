//! Checkpoints of training scripts: which of several sets of weights is taken,
//! what is wrapped around them, and what is no network.

use resnet_weights::{Checkpoint, Metadata};

use crate::common::File;
use crate::pickles::{Zip, op, valid};

/// A dictionary on the stack with `fc.bias` in storage `key`.
fn state(key: &'static str) -> Vec<u8> {
    let pickle = crate::pickles::Tensor { key, ..valid() }.bytes();
    pickle[2..pickle.len() - 1].to_vec()
}

/// A pickle of a dictionary with these items.
fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items = items.iter();
    let items = items.map(|(key, value)| [op::text(key), value.clone(), b"s".to_vec()].concat());
    [
        b"\x80\x02}".to_vec(),
        items.collect::<Vec<_>>().concat(),
        b".".to_vec(),
    ]
    .concat()
}

/// Opens a pickle with storages "0" of zeros and "1" of ones.
fn open(pickle: &[u8]) -> Result<Checkpoint, String> {
    let ones: Vec<u8> = [1.0_f32; 2]
        .iter()
        .flat_map(|one| one.to_le_bytes())
        .collect();
    let zip = Zip::default()
        .entry("archive/data.pkl", pickle)
        .entry("archive/data/0", &[0; 8])
        .entry("archive/data/1", &ones)
        .bytes();
    Checkpoint::from_static("x", zip.leak()).map_err(|error| error.to_string())
}

#[test]
fn averaged_weights_come_first_and_it_is_noted() {
    for averaged in ["state_dict_ema", "model_ema", "ema_state_dict", "ema"] {
        for raw in ["state_dict", "model"] {
            let both = open(&dict(&[(raw, state("0")), (averaged, state("1"))])).unwrap();
            assert_eq!(both.read("fc.bias", &[2]).unwrap(), [1.0, 1.0]);
            assert_eq!(
                both.notes(),
                [format!("averaged weights (EMA), from `{averaged}`")]
            );
        }
    }
    let none = open(&dict(&[
        ("state_dict", state("1")),
        ("state_dict_ema", b"N".to_vec()),
    ]));
    let none = none.unwrap();
    assert_eq!(none.read("fc.bias", &[2]).unwrap(), [1.0, 1.0]);
    assert!(none.notes().is_empty());
}

#[test]
fn the_state_dict_is_found_beside_the_keys_of_a_trainer() {
    for key in [
        "net",
        "model",
        "state_dict",
        "network",
        "module",
        "model_state_dict",
    ] {
        // as Lightning writes them
        let pickle = dict(&[
            ("epoch", op::int(3)),
            ("pytorch-lightning_version", op::text("2.5")),
            ("loops", b"}".to_vec()),
            (key, state("1")),
            ("optimizer_states", b"]".to_vec()),
        ]);
        let checkpoint = open(&pickle).unwrap();
        assert_eq!(
            checkpoint.read("fc.bias", &[2]).unwrap(),
            [1.0, 1.0],
            "{key}"
        );
    }
}

#[test]
fn a_pickled_module_is_refused_by_its_class() {
    let module = b"ctorchvision.models.resnet\nResNet\n)\x81".to_vec();
    let top = [b"\x80\x02".to_vec(), module.clone(), b".".to_vec()].concat();
    assert_eq!(
        open(&top).err().unwrap(),
        "x is not a usable checkpoint: it contains a pickled `torchvision.models.resnet.ResNet` instead of a state dict; save its `state_dict()`"
    );
    assert_eq!(
        open(&dict(&[("epoch", op::int(3)), ("model", module)]))
            .err()
            .unwrap(),
        "x is not a usable checkpoint: `model` in it is a pickled `torchvision.models.resnet.ResNet` instead of a state dict; save its `state_dict()`"
    );
}

#[test]
fn a_negated_or_conjugated_view_is_refused() {
    let pickle = dict(&[("state_dict", state("1"))]);
    // requires_grad, hooks, and the metadata of the tensor
    let with_metadata = |metadata: &[u8]| {
        let at = pickle
            .windows(3)
            .position(|bytes| bytes == b"\x89Nt")
            .unwrap();
        let (before, after) = pickle.split_at(at + 2);
        open(&[before, metadata, after].concat())
    };
    for (key, value, refused) in [
        ("neg", b"\x88", true),
        ("conj", b"\x88", true),
        ("neg", b"\x89", false),
    ] {
        let opened = with_metadata(&[b"}", &op::text(key)[..], value, b"s"].concat());
        match opened {
            Ok(_) => assert!(!refused, "{key}"),
            Err(error) => {
                assert!(
                    refused && error.contains("`fc.bias` is a negated or conjugated view"),
                    "{error}"
                );
            }
        }
    }
}

/// `torch.save` names the entries by the stem of the file, and writes two records
/// for large archives between the directory and its end.
#[test]
fn a_name_of_any_length_is_read() {
    for stem in 1..=80 {
        let name = "s".repeat(stem);
        let mut zip = Zip::default()
            .entry(
                &format!("{name}/data.pkl"),
                &dict(&[("state_dict", state("1"))]),
            )
            .entry(&format!("{name}/byteorder"), b"little")
            .entry(&format!("{name}/data/1"), &[0; 8])
            .entry(&format!("{name}/version"), b"3\n")
            .bytes();
        let end = zip.len() - 22;
        let field = |at: usize| u32::from_le_bytes(zip[end + at..end + at + 4].try_into().unwrap());
        let (size, start) = (u64::from(field(12)), u64::from(field(16)));
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let records: Vec<Vec<u8>> = vec![
            b"PK\x06\x06".to_vec(),
            words(&[44]),
            vec![45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            words(&[4, 4, size, start]),
            b"PK\x06\x07\0\0\0\0".to_vec(),
            words(&[end as u64]),
            vec![1, 0, 0, 0],
        ];
        let records = records.concat();
        assert_eq!(records.len(), 76);
        zip.splice(end..end, records);
        let opened = Checkpoint::from_static("x", zip.leak());
        assert!(opened.is_ok(), "{stem}: {}", opened.err().unwrap());
    }
}

#[test]
fn tensors_are_not_dropped_by_the_end_of_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let open = |file: File| {
        let path = folder.path().join("x.safetensors");
        file.write(&path);
        Checkpoint::open(&path).unwrap()
    };
    let names = |checkpoint: &Checkpoint| -> Vec<String> {
        checkpoint
            .tensors()
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let file = || File::default().f32("fc.bias", &[1], &[1.0]);
    let scale = open(file().f32("logit_scale", &[], &[2.0]));
    assert_eq!(names(&scale), ["fc.bias", "logit_scale"]);
    // a scale of weights that are no integers
    let scale = open(file().f32("fc.bias_scale", &[1], &[2.0]));
    assert_eq!(names(&scale), ["fc.bias", "fc.bias_scale"]);
    // a counter of nothing, and one of a norm
    let one = 1_i64.to_le_bytes();
    let counter = open(file().tensor("num_batches_tracked", "I64", &[], &one));
    assert_eq!(names(&counter), ["fc.bias", "num_batches_tracked"]);
    let norm = file().f32("bn1.weight", &[1], &[1.0]);
    let counted = open(norm.tensor("bn1.num_batches_tracked", "I64", &[], &one));
    assert_eq!(names(&counted), ["bn1.weight", "fc.bias"]);
    let averaged = File::default().f32("module.fc.bias", &[1], &[1.0]);
    let averaged = open(averaged.tensor("n_averaged", "I64", &[], &one));
    assert_eq!(names(&averaged), ["fc.bias"]);
    let loss = File::default().f32("model.fc.bias", &[1], &[1.0]);
    let loss = open(loss.f32("criterion.weight", &[2], &[1.0, 1.0]));
    assert_eq!(names(&loss), ["fc.bias"]);
    assert_eq!(
        loss.notes(),
        ["tensor `criterion.weight` of the training is not used"]
    );
}

#[test]
fn files_of_other_formats_are_named() {
    for (bytes, what) in [
        (&b"\x89HDF\r\n\x1a\n........"[..], "an HDF5 file"),
        (b"\x08\x07\x12\x07pytorch", "an ONNX model"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "compressed with gzip"),
        (
            b"\x80\x04\x95\0\0\0\0\0\0\0\0",
            "a Python pickle that was not written by `torch.save`",
        ),
        (b"\n<html><head>", "a web page"),
    ] {
        let error = Checkpoint::from_static("x", bytes)
            .err()
            .unwrap()
            .to_string();
        let start = format!("x is not a usable checkpoint: it is {what}");
        assert!(error.starts_with(&start), "{error}");
    }
    for (entry, what) in [
        ("arr_0.npy", "an archive of NumPy arrays"),
        ("model.weights.h5", "a Keras model"),
        ("MAR-INF/MANIFEST.json", "a model archive of TorchServe"),
    ] {
        let zip = Zip::default().entry(entry, b"x").bytes();
        let error = Checkpoint::from_static("x", zip.leak())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(&format!("it is {what}")), "{error}");
    }
    // A header length that looks like another format.
    let header = format!(
        "{:1$}",
        r#"{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}"#, 0x128b
    );
    let file = [&0x128b_u64.to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    assert!(Checkpoint::from_static("x", file.leak()).is_ok());
}

#[test]
fn doubles_are_rounded_to_f32() {
    let values = [0.1_f64, -2.5];
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    File::default()
        .tensor("fc.bias", "F64", &[2], &bytes)
        .write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.read("fc.bias", &[2]).unwrap(), [0.1, -2.5]);
    let half = checkpoint.with_metadata(Metadata::default());
    assert_eq!(half.shape("fc.bias"), Some(&[2][..]));
}
