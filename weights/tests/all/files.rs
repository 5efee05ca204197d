//! Valid files of every format and dtype.

use half::{bf16, f16};
use resnet_weights::{Checkpoint, Error, Interpolation, Labels, Preprocessing, Resize};
use serde_json::json;

use crate::common::{File, shared};
use crate::folders::open;

/// A folder that is removed after the test.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn f32_f16_and_bf16_are_read_as_the_same_values() {
    let values = [1.5_f32, -0.25, 3.0, 0.0];
    let f16s: Vec<u8> = values
        .iter()
        .flat_map(|v| f16::from_f32(*v).to_le_bytes())
        .collect();
    let bf16s: Vec<u8> = values
        .iter()
        .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
        .collect();
    let folder = folder();
    let path = folder.path().join("three.safetensors");
    File::default()
        .f32("layer1.0.bn1.weight", &[4], &values)
        .tensor("layer1.0.bn2.weight", "F16", &[4], &f16s)
        .tensor("layer1.0.bn3.weight", "BF16", &[2, 2], &bf16s)
        .write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.name(), "three");
    assert_eq!(
        checkpoint.read("layer1.0.bn1.weight", &[4]).unwrap(),
        values
    );
    assert_eq!(
        checkpoint.read("layer1.0.bn2.weight", &[4]).unwrap(),
        values
    );
    assert_eq!(
        checkpoint.read("layer1.0.bn3.weight", &[2, 2]).unwrap(),
        values
    );
}

#[test]
fn errors_give_the_names_in_the_file() {
    let folder = folder();
    let path = folder.path().join("hf.safetensors");
    File::default()
        .f32(
            "resnet.embedder.embedder.normalization.weight",
            &[2],
            &[1.0, f32::NAN],
        )
        .tensor("classifier.1.bias", "I32", &[1], &[0; 4])
        .tensor(
            "resnet.embedder.embedder.normalization.num_batches_tracked",
            "I64",
            &[],
            &[0; 8],
        )
        .write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let message = |name, shape: &[usize]| checkpoint.read(name, shape).unwrap_err().to_string();
    let file = path.display();
    assert_eq!(
        message("layer4.1.conv2.weight", &[8, 8, 3, 3]),
        format!(
            "{file} has no tensor `resnet.encoder.stages.3.layers.1.layer.1.convolution.weight` \
             (expected shape [8, 8, 3, 3])"
        )
    );
    assert_eq!(
        message("bn1.weight", &[3]),
        format!(
            "tensor `resnet.embedder.embedder.normalization.weight` in {file} has shape [2], expected [3]"
        )
    );
    assert_eq!(
        message("bn1.weight", &[2]),
        format!(
            "tensor `resnet.embedder.embedder.normalization.weight` in {file} holds NaN at index 1; all weights must be finite"
        )
    );
    assert_eq!(
        message("fc.bias", &[1]),
        format!(
            "tensor `classifier.1.bias` in {file} has dtype I32, which is not supported; convert it to F32, F16 or BF16"
        )
    );
    assert_eq!(
        checkpoint.tensors().count(),
        2,
        "`num_batches_tracked` is listed"
    );
}

#[test]
fn a_classifier_stored_as_a_1x1_convolution_has_two_dimensions() {
    let folder = folder();
    let path = folder.path().join("v2.safetensors");
    File::default()
        .f32(
            "head.fc.weight",
            &[2, 3, 1, 1],
            &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        )
        .f32("stages.0.blocks.0.norm1.weight", &[1], &[1.0])
        .write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.shape("fc.weight"), Some(&[2, 3][..]));
    assert_eq!(checkpoint.read("fc.weight", &[2, 3]).unwrap()[5], 5.0);
}

#[test]
fn two_tensors_with_one_canonical_name_are_rejected() {
    let folder = folder();
    let path = folder.path().join("two.safetensors");
    File::default()
        .f32("linear.bias", &[1], &[1.0])
        .f32("fc.bias", &[1], &[2.0])
        .write(&path);
    let error = Checkpoint::open(&path).err().unwrap();
    assert!(matches!(error, Error::Ambiguous { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "tensors `linear.bias` and `fc.bias` in {} both map to `fc.bias`; remove one of them",
            path.display()
        )
    );
}

#[test]
fn shards_are_opened_as_one_checkpoint() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let one = File::default().f32("conv1.weight", &[1, 1, 1, 1], &[1.0]);
    let two = File::default().f32("fc.bias", &[2], &[2.0, 3.0]);
    one.write(&at("a.safetensors"));
    two.write(&at("b.safetensors"));
    let index = json!({
        "metadata": {"total_size": 12},
        "weight_map": {"conv1.weight": "a.safetensors", "fc.bias": "b.safetensors"},
    });
    let path = at("model.safetensors.index.json");
    std::fs::write(&path, index.to_string()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(
        checkpoint.read("conv1.weight", &[1, 1, 1, 1]).unwrap(),
        [1.0]
    );
    assert_eq!(checkpoint.read("fc.bias", &[2]).unwrap(), [2.0, 3.0]);
    assert_eq!(
        checkpoint.name(),
        folder.path().file_stem().unwrap().to_str().unwrap()
    );

    std::fs::write(at("both.safetensors"), [one.bytes(), two.bytes()].concat()).unwrap();
    let expected = sha256_of(&[one.bytes(), two.bytes()].concat());
    assert_eq!(checkpoint.digest(), expected);
}

fn sha256_of(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn the_default_model_has_metadata() {
    let model = resnet_weights::default_model().unwrap();
    let metadata = model.metadata();
    assert_eq!(
        metadata.architecture.as_deref(),
        Some(resnet_weights::DEFAULT_NAME)
    );
    assert_eq!(metadata.labels, Some(Labels::imagenet1k()));
    assert_eq!(metadata.stride_on_first_1x1, Some(true));
    assert_eq!(metadata.pooled_shortcut, Some(false));
    let preprocessing = Preprocessing {
        resize: Resize::ShortSide(232),
        interpolation: Interpolation::Bicubic,
        ..Preprocessing::imagenet()
    };
    assert_eq!(metadata.preprocessing, Some(preprocessing));
    assert_eq!(model.read("fc.bias", &[1000]).unwrap().len(), 1000);
}

#[test]
fn the_published_cifar_networks_open() {
    let Some(folder) = shared("cifar") else {
        return;
    };
    for (depth, tensors) in [(20, 97), (32, 157), (44, 217), (56, 277)] {
        let checkpoint =
            Checkpoint::open(&folder.join(format!("resnet{depth}.safetensors"))).unwrap();
        assert_eq!(checkpoint.tensors().count(), tensors);
        assert_eq!(checkpoint.name_in_file("fc.weight"), "linear.weight");
        assert_eq!(checkpoint.read("fc.weight", &[10, 64]).unwrap().len(), 640);
    }
}

/// Resident pages of the mapped file at `path`, in bytes.
#[cfg(target_os = "linux")]
fn resident(path: &std::path::Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (_, ours) = maps.split_once(path.to_str().unwrap()).unwrap();
    let line = ours.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn pages_are_released_after_reading_and_hashing() {
    let folder = folder();
    let path = folder.path().join("large.safetensors");
    let values = vec![1.0; 1 << 20];
    let names: Vec<String> = (0..8).map(|i| format!("layer1.{i}.conv1.weight")).collect();
    let file = names.iter().fold(File::default(), |file, name| {
        file.f32(name, &[1 << 20], &values)
    });
    file.write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    for name in names.iter().rev() {
        checkpoint.read(name, &[1 << 20]).unwrap();
    }
    assert!(
        resident(&path) < 1 << 18,
        "{} bytes are resident after reading",
        resident(&path)
    );
    assert_eq!(checkpoint.digest().len(), 64);
    assert!(
        resident(&path) < 1 << 18,
        "{} bytes are resident after hashing",
        resident(&path)
    );
}

#[test]
fn the_weights_in_a_folder_are_selected() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let message = || open(folder.path()).err().unwrap().to_string();
    let origin = folder.path().display().to_string();
    assert_eq!(
        message(),
        format!(
            "{origin} is not a usable checkpoint: it contains no weights (*.safetensors, *.pth, *.pt or *.bin)"
        )
    );
    let pth = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pth/plain.pth");
    std::fs::copy(&pth, at("one.pth")).unwrap();
    assert_eq!(
        open(folder.path()).unwrap().shape("fc.bias"),
        Some(&[3][..])
    );
    std::fs::copy(&pth, at("two.pt")).unwrap();
    assert_eq!(
        message(),
        format!(
            "{origin} is not a usable checkpoint: it contains several checkpoints: one.pth, two.pt; pass the path of one of them"
        )
    );
    File::default()
        .f32("fc.bias", &[7], &[0.0; 7])
        .write(&at("three.safetensors"));
    assert_eq!(
        open(folder.path()).unwrap().shape("fc.bias"),
        Some(&[7][..])
    );
}
