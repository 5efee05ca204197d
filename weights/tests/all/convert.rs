//! Written files read back as what was written.

use std::fs;

use crate::common::File;
use half::{bf16, f16};
use weights::{
    Checkpoint, Error, Facts, Interpolation, Label, Labels, Numbers, Recipe, Resize, write,
};

/// A network in transformers' names: one convolution, one norm, one matrix.
fn network(facts: Facts, value: f32) -> Checkpoint {
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
    Checkpoint::from_tensors("made", facts, tensors).unwrap()
}

fn converted(checkpoint: &Checkpoint, facts: &Facts, numbers: Numbers) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    write(checkpoint, facts, numbers, &path, &mut |_, _| ()).unwrap();
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "nothing but the result stays");
    // Its bytes stay mapped though the folder goes.
    Checkpoint::open(&path).unwrap()
}

fn open(file: &File) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.safetensors");
    file.write(&path);
    Checkpoint::open(&path).unwrap()
}

#[test]
fn names_become_torchvision_s_and_values_stay() {
    let original = network(Facts::default(), 1.5);
    let written = converted(&original, &Facts::default(), Numbers::Kept);
    let names: Vec<&str> = written.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["bn1.weight", "conv1.weight", "fc.weight"]);
    for (name, shape) in original.tensors() {
        assert_eq!(written.own_name(name), name);
        assert_eq!(
            written.read(name, shape).unwrap(),
            original.read(name, shape).unwrap()
        );
    }
}

#[test]
fn halves_are_rounded_and_vectors_are_not() {
    let original = network(Facts::default(), 1.5);
    for (half, tenth) in [
        (Numbers::F16, f16::from_f32(0.1).to_f32()),
        (Numbers::Bf16, bf16::from_f32(0.1).to_f32()),
    ] {
        let written = converted(&original, &Facts::default(), half);
        assert_eq!(
            written.read("conv1.weight", &[1, 1, 1, 3]).unwrap(),
            [1.5, tenth, -2.0]
        );
        assert_eq!(written.read("bn1.weight", &[2]).unwrap(), [0.1, 0.2]);
    }
}

#[test]
fn eight_bits_are_within_half_a_step_of_each_channel() {
    let original = network(Facts::default(), 1.5);
    let written = converted(&original, &Facts::default(), Numbers::Int8);
    let step = 2.0 / 127.0;
    let values = written.read("conv1.weight", &[1, 1, 1, 3]).unwrap();
    for (value, from) in values.iter().zip([1.5f32, 0.1, -2.0]) {
        let error = (value - from).abs();
        assert!(error <= step / 2.0 + 1e-6, "{from} became {value}");
    }
    assert_eq!(written.read("bn1.weight", &[2]).unwrap(), [0.1, 0.2]);
    // each of the classifier's two rows has a step of its own
    assert_eq!(written.read("fc.weight", &[2, 1]).unwrap(), [0.3, 0.4]);
    let names: Vec<&str> = written.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["bn1.weight", "conv1.weight", "fc.weight"]);
    // written again, whether as integers or as floats, they stay
    for numbers in [Numbers::Int8, Numbers::Kept] {
        let again = converted(&written, &Facts::default(), numbers);
        let same = again.read("conv1.weight", &[1, 1, 1, 3]).unwrap();
        for (a, b) in same.iter().zip(&values) {
            assert!((a - b).abs() < 1e-6, "{numbers:?}: {b} became {a}");
        }
    }
}

#[test]
fn integers_without_their_steps_are_refused() {
    let whole = File::default().tensor("conv1.weight", "I8", &[2, 1, 1, 1], &[1, 2]);
    let missing = open(&whole).read("conv1.weight", &[2, 1, 1, 1]);
    let error = missing.unwrap_err().to_string();
    assert!(error.contains("conv1.weight_scale"), "{error}");
    let short = whole.f32("conv1.weight_scale", &[1], &[0.5]);
    let error = open(&short).read("conv1.weight", &[2, 1, 1, 1]);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("conv1.weight_scale") && error.contains("[2]"),
        "{error}"
    );
}

#[test]
fn facts_come_back() {
    let named = |wnid: Option<&str>, name: &str| Label {
        wnid: wnid.map(str::to_owned),
        name: name.to_owned(),
    };
    let exact = Recipe {
        resize: Resize::Exact(384),
        crop: 384,
        interpolation: Interpolation::Lanczos,
        mean: [0.1, 0.2, 0.3],
        std: [0.4, 0.5, 0.6],
    };
    let all = [
        Facts::default(),
        Facts {
            architecture: Some("resnet50d".into()),
            recipe: Some(Recipe::imagenet()),
            labels: Some(Labels::imagenet1k()),
            stride_on_first_1x1: Some(false),
            pooled_shortcut: Some(true),
            ranges: None,
        },
        Facts {
            architecture: Some("resnetv2_50d".into()),
            recipe: Some(exact),
            labels: Some(
                [named(None, "a \"cat\""), named(Some("n01440764"), "tench")]
                    .into_iter()
                    .collect(),
            ),
            stride_on_first_1x1: Some(true),
            pooled_shortcut: None,
            ranges: Some([("conv1".to_owned(), [-0.5, 2.0])].into()),
        },
    ];
    for facts in all {
        let written = converted(&network(Facts::default(), 0.0), &facts, Numbers::Kept);
        assert_eq!(*written.facts(), facts);
    }
}

#[test]
fn progress_reaches_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let mut heard = Vec::new();
    write(
        &network(Facts::default(), 0.0),
        &Facts::default(),
        Numbers::Kept,
        &path,
        &mut |done, total| {
            heard.push((done, total));
        },
    )
    .unwrap();
    assert_eq!(heard, [(8, 28), (20, 28), (28, 28)]);
}

#[test]
fn a_value_beyond_f16_is_named_and_the_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    fs::write(&path, "old").unwrap();
    let checkpoint = network(Facts::default(), 70000.0);
    let error = write(
        &checkpoint,
        &Facts::default(),
        Numbers::F16,
        &path,
        &mut |_, _| (),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor `resnet.embedder.embedder.convolution.weight` holds 70000, more than F16 can; F32 can"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no partial file stays"
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let path = std::path::Path::new("/nowhere/out.safetensors");
    let error = write(
        &network(Facts::default(), 0.0),
        &Facts::default(),
        Numbers::Kept,
        path,
        &mut |_, _| (),
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

/// The default model in f16, written again, keeps every number.
#[test]
fn the_default_model_survives() {
    let original = weights::default_model().unwrap();
    let written = converted(&original, original.facts(), Numbers::Kept);
    assert_eq!(written.facts(), original.facts());
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
