//! Model folders as timm and transformers publish them.

use std::fs;
use std::path::Path;

use resnet_weights::{
    Activation, Checkpoint, Hierarchy, Interpolation, Labels, Metadata, Preprocessing, Resize,
    Result, Source,
};
use serde_json::{Value, json};

use crate::common::{File, offline_hub, shared};

/// A folder with weights and the given configuration files.
pub(crate) fn folder(configs: &[(&str, &Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    File::default()
        .f32("fc.bias", &[2], &[1.0, 2.0])
        .write(&folder.path().join("model.safetensors"));
    for (name, content) in configs {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

pub(crate) fn open(path: &Path) -> Result<Checkpoint> {
    let hub = offline_hub(&path.join("cache"));
    Source::parse(path.to_str().unwrap())?.open(&hub, &mut |_| ())
}

pub(crate) fn metadata(config: &Value, preprocessor: Option<&Value>) -> Metadata {
    let mut configs = vec![("config.json", config)];
    configs.extend(preprocessor.map(|content| ("preprocessor_config.json", content)));
    open(folder(&configs).path()).unwrap().metadata().clone()
}

/// The configuration of `timm/resnet50.a1_in1k`.
pub(crate) fn timm() -> Value {
    json!({
        "architecture": "resnet50",
        "num_classes": 1000,
        "num_features": 2048,
        "global_pool": "avg",
        "pretrained_cfg": {
            "tag": "a1_in1k",
            "custom_load": false,
            "input_size": [3, 224, 224],
            "test_input_size": [3, 288, 288],
            "fixed_input_size": false,
            "interpolation": "bicubic",
            "crop_pct": 0.95,
            "test_crop_pct": 1.0,
            "crop_mode": "center",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "num_classes": 1000,
            "pool_size": [7, 7],
            "first_conv": "conv1",
            "classifier": "fc"
        }
    })
}

/// The configuration of `microsoft/resnet-50`, with two labels.
pub(crate) fn transformers() -> (Value, Value) {
    let config = json!({
        "architectures": ["ResNetForImageClassification"],
        "depths": [3, 4, 6, 3],
        "downsample_in_first_stage": false,
        "embedding_size": 64,
        "hidden_act": "relu",
        "hidden_sizes": [256, 512, 1024, 2048],
        "id2label": {"0": "tench, Tinca tinca", "1": "goldfish, Carassius auratus"},
        "layer_type": "bottleneck",
        "model_type": "resnet",
        "num_channels": 3
    });
    let preprocessor = json!({
        "crop_pct": 0.875,
        "do_normalize": true,
        "do_resize": true,
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": 224
    });
    (config, preprocessor)
}

pub(crate) fn with(document: &Value, field: &str, value: Value) -> Value {
    let mut changed = document.clone();
    changed[field] = value;
    changed
}

#[test]
fn timm_configuration() {
    let metadata = metadata(&timm(), None);
    let preprocessing = Preprocessing {
        resize: Resize::ShortSide(235),
        interpolation: Interpolation::Bicubic,
        ..Preprocessing::imagenet()
    };
    assert_eq!(
        metadata,
        Metadata {
            architecture: Some("resnet50".into()),
            preprocessing: Some(preprocessing),
            classes: Some(1000),
            ..Metadata::default()
        }
    );
}

#[test]
fn timm_configuration_variants() {
    let changed = |field: &str, value: Value| {
        let mut config = timm();
        config["pretrained_cfg"][field] = value;
        metadata(&config, None).preprocessing.unwrap()
    };
    assert_eq!(
        changed("crop_mode", json!("squash")).resize,
        Resize::Exact(235)
    );
    assert_eq!(
        changed("crop_pct", json!(0.875)).resize,
        Resize::ShortSide(256)
    );
    assert_eq!(
        changed("crop_pct", json!(1.0)).resize,
        Resize::ShortSide(224)
    );
    let large = changed("input_size", json!([3, 288, 288]));
    assert_eq!((large.resize, large.crop), (Resize::ShortSide(303), 288));
    assert_eq!(
        changed("interpolation", json!("bilinear")).interpolation,
        Interpolation::Bilinear
    );

    // The older flat form, with labels.
    let flat = json!({
        "architecture": "resnet18d", "crop_pct": 1.0, "input_size": [3, 64, 64],
        "label_names": ["cat", "n02084071"], "label_descriptions": {"n02084071": "dog"},
    });
    let metadata = metadata(&flat, None);
    let preprocessing = metadata.preprocessing.unwrap();
    assert_eq!(
        (preprocessing.resize, preprocessing.crop),
        (Resize::ShortSide(64), 64)
    );
    let labels = metadata.labels.unwrap();
    let labels: Vec<_> = labels
        .iter()
        .map(|label| (label.wnid.as_deref(), label.name.as_str()))
        .collect();
    assert_eq!(labels, [(None, "cat"), (Some("n02084071"), "dog")]);
}

#[test]
fn a_hierarchy_in_the_configuration() {
    let text = "n1\t\tpet\npet\ta pet\n";
    let (transformers, _) = transformers();
    for config in [timm(), transformers] {
        let metadata = metadata(&with(&config, "hierarchy", json!(text)), None);
        assert_eq!(metadata.hierarchy, Hierarchy::parse(text).ok());
    }
}

#[test]
fn transformers_configuration() {
    let (config, preprocessor) = transformers();
    let preprocessing = Preprocessing {
        interpolation: Interpolation::Bicubic,
        ..Preprocessing::imagenet()
    };
    let labels = ["tench, Tinca tinca", "goldfish, Carassius auratus"].map(str::to_owned);
    let expected = Metadata {
        architecture: Some("resnet50".into()),
        preprocessing: Some(preprocessing),
        labels: Some(Labels::from_names(labels)),
        channels: Some(3),
        stride_on_first_1x1: Some(false),
        pooled_shortcut: Some(false),
        ..Metadata::default()
    };
    assert_eq!(metadata(&config, Some(&preprocessor)), expected);

    let first = with(&config, "downsample_in_bottleneck", json!(true));
    let first = metadata(&first, None);
    assert_eq!(first.stride_on_first_1x1, Some(true));
    assert_eq!(first.architecture.as_deref(), Some("resnet50_v1"));
    // a name would be wrong; the tensors decide
    let half = with(&config, "hidden_sizes", json!([128, 256, 512, 1024]));
    assert_eq!(metadata(&half, None).architecture, None);
    let basic = with(
        &with(&config, "layer_type", json!("basic")),
        "depths",
        json!([2, 2, 2, 2]),
    );
    let basic = with(&basic, "hidden_sizes", json!([64, 128, 256, 512]));
    assert_eq!(
        metadata(&basic, None).architecture.as_deref(),
        Some("resnet18")
    );
    let unusual = with(&config, "depths", json!([1, 2, 3, 4]));
    assert_eq!(metadata(&unusual, None).architecture, None);
    let placeholders = with(&config, "id2label", json!({"0": "LABEL_0", "1": "LABEL_1"}));
    assert_eq!(metadata(&placeholders, None).labels, None);

    for (problem, activation) in [
        (Value::Null, None),
        (
            json!("single_label_classification"),
            Some(Activation::Softmax),
        ),
        (
            json!("multi_label_classification"),
            Some(Activation::Sigmoid),
        ),
        (json!("regression"), Some(Activation::None)),
    ] {
        let config = with(&config, "problem_type", problem);
        assert_eq!(metadata(&config, None).activation, activation);
    }
}

#[test]
fn unsupported_configurations_are_errors() {
    let (config, preprocessor) = transformers();
    let timm_with = |field: &str, value: Value| {
        let mut config = timm();
        config["pretrained_cfg"][field] = value;
        (config, None)
    };
    let config_with = |field: &str, value: Value| (with(&config, field, value), None);
    let preprocessor_with =
        |field: &str, value: Value| (config.clone(), Some(with(&preprocessor, field, value)));
    let cases = [
        (
            timm_with("input_size", json!([4, 28, 28])),
            "input_size",
            "it is [4, 28, 28]; only 1 or 3 channels and equal sides are supported",
        ),
        (
            timm_with("crop_mode", json!("border")),
            "crop_mode",
            "it is \"border\"; center and squash are supported",
        ),
        (
            timm_with("interpolation", json!("random")),
            "interpolation",
            "unknown variant `random`, expected one of `nearest`, `bilinear`, `bicubic`, `lanczos`",
        ),
        (
            timm_with("crop_pct", json!(0.0)),
            "pretrained_cfg",
            "the resize to 4294967295 pixels does not match the crop of 224 pixels; 224 to 4096 are supported",
        ),
        (
            timm_with("crop_pct", json!(1.5)),
            "pretrained_cfg",
            "the resize to 149 pixels does not match the crop of 224 pixels; 224 to 4096 are supported",
        ),
        (
            timm_with("std", json!([0.1, 0.2])),
            "std",
            "it has 2 values; 1 or 3 are supported",
        ),
        (
            (with(&timm(), "global_pool", json!("max")), None),
            "global_pool",
            "it is \"max\"; only \"avg\" is supported",
        ),
        (
            config_with("model_type", json!("vit")),
            "model_type",
            "it is \"vit\"; only \"resnet\" is supported",
        ),
        (
            config_with("hidden_act", json!("gelu")),
            "hidden_act",
            "it is \"gelu\"; only \"relu\" is supported",
        ),
        (
            config_with("problem_type", json!("ranking")),
            "problem_type",
            "it is \"ranking\"; single_label_classification, multi_label_classification and regression are supported",
        ),
        (
            config_with("hierarchy", json!("cat\t\tpet\n")),
            "hierarchy",
            "`cat` has the parent `pet`, which has no line",
        ),
        (
            config_with("id2label", json!({"1": "a"})),
            "id2label",
            "there are 1 classes but none with index 0; indices must be 0 to 0",
        ),
        (
            config_with("id2label", json!([[1]])),
            "id2label",
            "class 0 must be a name or a pair of WordNet id and name",
        ),
        (
            preprocessor_with("resample", json!(5)),
            "resample",
            "it is 5; Pillow's filters 0 to 3 are supported",
        ),
        (
            preprocessor_with("do_resize", json!(false)),
            "do_resize",
            "it is false; only true is supported",
        ),
        (
            preprocessor_with("rescale_factor", json!(-1.0)),
            "rescale_factor",
            "it is -1; it must be positive",
        ),
        (
            preprocessor_with("size", json!(0)),
            "size",
            "the crop is 0 pixels; 1 to 2048 are supported",
        ),
        (
            preprocessor_with("size", json!({"height": 1})),
            "size",
            "data did not match any variant of untagged enum Size",
        ),
    ];
    for ((config, preprocessor), field, reason) in cases {
        let mut configs = vec![("config.json", &config)];
        configs.extend(
            preprocessor
                .as_ref()
                .map(|content| ("preprocessor_config.json", content)),
        );
        let folder = folder(&configs);
        let file = folder.path().join(configs.last().unwrap().0);
        let error = open(folder.path()).err().unwrap().to_string();
        assert_eq!(
            error,
            format!("field `{field}` in {}: {reason}", file.display())
        );
    }
}

#[test]
fn a_folder_without_configuration_has_no_metadata() {
    let folder = folder(&[]);
    let checkpoint = open(folder.path()).unwrap();
    assert_eq!(*checkpoint.metadata(), Metadata::default());
    assert_eq!(
        checkpoint.name(),
        folder.path().file_name().unwrap().to_str().unwrap()
    );
}

#[test]
fn metadata_in_the_weights_takes_precedence_over_the_configuration() {
    let folder = folder(&[("config.json", &timm())]);
    let file = File::default()
        .f32("fc.bias", &[1], &[1.0])
        .metadata("architecture", "resnet50_thin");
    file.write(&folder.path().join("model.safetensors"));
    let metadata = open(folder.path()).unwrap().metadata().clone();
    assert_eq!(metadata.architecture.as_deref(), Some("resnet50_thin"));
    assert_eq!(
        metadata.preprocessing.unwrap().resize,
        Resize::ShortSide(235)
    );
}

#[test]
fn imagenet_labels_are_recognized_by_their_names() {
    let Some(imagenet) = shared("imagenet") else {
        return;
    };
    let classes: Vec<Value> =
        serde_json::from_slice(&fs::read(imagenet.join("classes.json")).unwrap()).unwrap();
    let id2label: serde_json::Map<String, Value> = classes
        .iter()
        .enumerate()
        .map(|(i, class)| {
            (
                i.to_string(),
                format!("{}, a synonym", class["name"].as_str().unwrap()).into(),
            )
        })
        .collect();
    let config = json!({"model_type": "resnet", "id2label": id2label});
    let labels = metadata(&config, None).labels.unwrap();
    let label = labels.get(999).unwrap();
    assert_eq!(label.wnid.as_deref(), classes[999]["wnid"].as_str());
    assert!(label.name.ends_with(", a synonym"));
}
