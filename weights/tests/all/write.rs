//! Tests of writing: a written file returns the values that were written.

use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::path::Path;

use crate::common::File;
use half::{bf16, f16};
use resnet_weights::{
    Activation, Checkpoint, Error, Hierarchy, Interpolation, Label, Labels, Metadata,
    Preprocessing, Resize, StoredDtype, Target, write,
};

/// A network in transformers' naming: one convolution, one norm, one linear
/// layer.
fn network(metadata: Metadata, value: f32) -> Checkpoint {
    let tensors = [
        (
            "resnet.embedder.embedder.convolution.weight",
            vec![1, 1, 1, 3],
            vec![value, 0.1, -2.0],
        ),
        (
            "resnet.embedder.embedder.normalization.weight",
            vec![2],
            vec![0.1, 0.2],
        ),
        ("classifier.1.weight", vec![2, 1, 1, 1], vec![0.3, 0.4]),
    ];
    let tensors = tensors.map(|(name, shape, values)| (name.to_owned(), shape, values));
    Checkpoint::from_tensors("network", metadata, tensors).unwrap()
}

fn converted(checkpoint: &Checkpoint, metadata: &Metadata, stored: StoredDtype) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    write(checkpoint, metadata, stored, &new(&path), &mut |_, _| {
        Continue(())
    })
    .unwrap();
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "temporary files were left behind");
    // The file stays mapped after the folder is removed.
    Checkpoint::open(&path).unwrap()
}

/// The target of a new file.
fn new(path: &Path) -> Target<'_> {
    Target {
        path,
        replace: false,
    }
}

fn open(file: &File) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.safetensors");
    file.write(&path);
    Checkpoint::open(&path).unwrap()
}

#[test]
fn names_become_canonical_and_values_do_not_change() {
    let original = network(Metadata::default(), 1.5);
    let written = converted(&original, &Metadata::default(), StoredDtype::Kept);
    let names: Vec<&str> = written.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["bn1.weight", "conv1.weight", "fc.weight"]);
    for (name, shape) in original.tensors() {
        assert_eq!(written.name_in_file(name), name);
        assert_eq!(
            written.read(name, shape).unwrap(),
            original.read(name, shape).unwrap()
        );
    }
}

#[test]
fn f16_and_bf16_round_weights_but_not_norms() {
    let original = network(Metadata::default(), 1.5);
    for (half, tenth) in [
        (StoredDtype::F16, f16::from_f32(0.1).to_f32()),
        (StoredDtype::Bf16, bf16::from_f32(0.1).to_f32()),
    ] {
        let written = converted(&original, &Metadata::default(), half);
        assert_eq!(
            written.read("conv1.weight", &[1, 1, 1, 3]).unwrap(),
            [1.5, tenth, -2.0]
        );
        assert_eq!(written.read("bn1.weight", &[2]).unwrap(), [0.1, 0.2]);
    }
}

#[test]
fn int8_weights_are_within_half_a_scale() {
    let original = network(Metadata::default(), 1.5);
    let written = converted(&original, &Metadata::default(), StoredDtype::Int8);
    let scale = 2.0 / 127.0;
    let values = written.read("conv1.weight", &[1, 1, 1, 3]).unwrap();
    for (value, from) in values.iter().zip([1.5f32, 0.1, -2.0]) {
        let error = (value - from).abs();
        assert!(
            error <= scale / 2.0 + 1e-6,
            "{from} was read back as {value}"
        );
    }
    assert_eq!(written.read("bn1.weight", &[2]).unwrap(), [0.1, 0.2]);
    // Each of the classifier's two rows has its scale.
    assert_eq!(written.read("fc.weight", &[2, 1]).unwrap(), [0.3, 0.4]);
    let names: Vec<&str> = written.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["bn1.weight", "conv1.weight", "fc.weight"]);
    // Writing them again, as integers or as floats, does not change them.
    for stored in [StoredDtype::Int8, StoredDtype::Kept] {
        let again = converted(&written, &Metadata::default(), stored);
        let same = again.read("conv1.weight", &[1, 1, 1, 3]).unwrap();
        for (a, b) in same.iter().zip(&values) {
            assert!((a - b).abs() < 1e-6, "{stored:?}: {b} was read back as {a}");
        }
    }
}

#[test]
fn int8_weights_without_scales_are_rejected() {
    let without_scales = File::default().tensor("conv1.weight", "I8", &[2, 1, 1, 1], &[1, 2]);
    let missing = open(&without_scales).read("conv1.weight", &[2, 1, 1, 1]);
    let error = missing.unwrap_err().to_string();
    assert!(error.contains("conv1.weight_scale"), "{error}");
    let short = without_scales.f32("conv1.weight_scale", &[1], &[0.5]);
    let error = open(&short).read("conv1.weight", &[2, 1, 1, 1]);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("conv1.weight_scale") && error.contains("[2]"),
        "{error}"
    );
}

#[test]
fn metadata_is_written_and_read_back() {
    let named = |wnid: Option<&str>, name: &str| Label {
        wnid: wnid.map(str::to_owned),
        name: name.to_owned(),
    };
    let exact = Preprocessing {
        resize: Resize::Exact(384),
        crop: 384,
        interpolation: Interpolation::Lanczos,
        mean: [0.1, 0.2, 0.3],
        std: [0.4, 0.5, 0.6],
    };
    let all = [
        Metadata::default(),
        Metadata {
            architecture: Some("resnet50d".into()),
            preprocessing: Some(Preprocessing::imagenet()),
            labels: Some(Labels::imagenet1k()),
            activation: Some(Activation::Sigmoid),
            stride_on_first_1x1: Some(false),
            pooled_shortcut: Some(true),
            temperature: Some(0.1 + 0.2),
            ..Metadata::default()
        },
        Metadata {
            architecture: Some("resnetv2_50d".into()),
            preprocessing: Some(exact),
            labels: Some(
                [named(None, "a \"cat\""), named(Some("n01440764"), "tench")]
                    .into_iter()
                    .collect(),
            ),
            stride_on_first_1x1: Some(true),
            ranges: Some([("conv1".to_owned(), [-0.5, 2.0])].into()),
            hierarchy: Some(Hierarchy::parse("n01440764\t\tfish\nfish\ta fish\n").unwrap()),
            ..Metadata::default()
        },
    ];
    for metadata in all {
        let written = converted(
            &network(Metadata::default(), 0.0),
            &metadata,
            StoredDtype::Kept,
        );
        assert_eq!(*written.metadata(), metadata);
    }
}

#[test]
fn progress_is_reported_up_to_the_total() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let mut reported = Vec::new();
    write(
        &network(Metadata::default(), 0.0),
        &Metadata::default(),
        StoredDtype::Kept,
        &new(&path),
        &mut |done, total| {
            reported.push((done, total));
            Continue(())
        },
    )
    .unwrap();
    assert_eq!(reported, [(8, 28), (20, 28), (28, 28), (28, 28)]);
}

#[test]
fn a_value_that_overflows_f16_is_an_error_and_the_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    fs::write(&path, "old").unwrap();
    let checkpoint = network(Metadata::default(), 70000.0);
    let error = write(
        &checkpoint,
        &Metadata::default(),
        StoredDtype::F16,
        &Target {
            path: &path,
            replace: true,
        },
        &mut |_, _| Continue(()),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor `resnet.embedder.embedder.convolution.weight` holds 70000, which overflows F16; store it as F32"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "a temporary file was left behind"
    );
}

/// Writes a small network; the error, and what is in the folder afterwards.
fn write_to(target: &Target, folder: &Path) -> (Option<Error>, Vec<String>) {
    let network = network(Metadata::default(), 0.0);
    let stored = StoredDtype::Kept;
    let written = write(
        &network,
        &Metadata::default(),
        stored,
        target,
        &mut |_, _| Continue(()),
    );
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    (written.err(), names.collect())
}

#[test]
fn a_file_is_replaced_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    fs::write(&path, "old").unwrap();
    let (error, names) = write_to(&new(&path), folder.path());
    assert!(matches!(error, Some(Error::Exists { .. })), "{error:?}");
    assert_eq!(names, ["out.safetensors"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    let replace = Target {
        path: &path,
        replace: true,
    };
    let (error, names) = write_to(&replace, folder.path());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(names, ["out.safetensors"]);
    assert!(Checkpoint::open(&path).is_ok());
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_never_replaced_and_a_link_stays_a_link() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made = std::process::Command::new("mkfifo")
        .arg(at("fifo"))
        .status();
    assert!(made.unwrap().success());
    symlink("fifo", at("link-to-fifo")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    for name in ["fifo", "link-to-fifo", "folder"] {
        let path = at(name);
        let target = Target {
            path: &path,
            replace: true,
        };
        let (error, names) = write_to(&target, folder.path());
        assert!(matches!(error, Some(Error::NotRegular { .. })), "{error:?}");
        assert_eq!(names.len(), 3);
    }
    assert!(at("fifo").metadata().unwrap().file_type().is_fifo());

    fs::write(at("file"), "old").unwrap();
    symlink("file", at("link")).unwrap();
    let target = Target {
        path: &at("link"),
        replace: true,
    };
    assert!(write_to(&target, folder.path()).0.is_none());
    assert!(at("link").symlink_metadata().unwrap().is_symlink());
    assert!(Checkpoint::open(&at("file")).is_ok());
}

#[test]
fn a_writing_that_is_stopped_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    for stop_at in 1..=4 {
        let mut calls = 0;
        let error = write(
            &network(Metadata::default(), 0.0),
            &Metadata::default(),
            StoredDtype::Kept,
            &new(&path),
            &mut |_, _| {
                calls += 1;
                if calls == stop_at {
                    Break(())
                } else {
                    Continue(())
                }
            },
        );
        assert!(matches!(error, Err(Error::Interrupted { .. })), "{error:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_missing_folder_is_named_in_the_error() {
    let path = std::path::Path::new("/nowhere/out.safetensors");
    let error = write(
        &network(Metadata::default(), 0.0),
        &Metadata::default(),
        StoredDtype::Kept,
        &new(path),
        &mut |_, _| Continue(()),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Write { .. }));
    assert!(
        error
            .to_string()
            .starts_with("cannot write /nowhere/out.safetensors: "),
        "{error}"
    );
}

/// The default model is in f16; writing it again does not change its values.
#[test]
fn the_default_model_is_written_without_loss() {
    let original = resnet_weights::default_model().unwrap();
    let written = converted(&original, original.metadata(), StoredDtype::Kept);
    assert_eq!(written.metadata(), original.metadata());
    let tensors: Vec<_> = original
        .tensors()
        .map(|(name, shape)| (name.to_owned(), shape.to_vec()))
        .collect();
    for (name, shape) in tensors {
        assert_eq!(
            written.read(&name, &shape).unwrap(),
            original.read(&name, &shape).unwrap()
        );
    }
}
