//! What a configuration says of the network: it is understood or refused.

use std::fs;

use resnet_weights::{Origin, Source};
use serde_json::{Value, json};

use crate::common::{File, offline_hub};
use crate::folders::{folder, metadata, open, timm, transformers, with};

fn refusal(config: &Value) -> String {
    let folder = folder(&[("config.json", config)]);
    open(folder.path()).err().unwrap().to_string()
}

#[test]
fn arguments_of_timm_that_change_the_network_are_refused_by_name() {
    for (name, value) in [
        ("act_layer", json!("silu")),
        ("global_pool", json!("max")),
        ("output_stride", json!(16)),
        ("norm_layer", json!("groupnorm")),
        ("aa_layer", json!("blurpool")),
        ("replace_stem_pool", json!(true)),
    ] {
        let error = refusal(&with(&timm(), "model_args", json!({name: value})));
        let expected =
            format!("argument `{name}` is {value}; it changes the network and is not supported");
        assert!(error.ends_with(&expected), "{error}");
    }
    let error = refusal(&with(&timm(), "model_args", json!({"in_chans": 4})));
    assert!(
        error.ends_with("argument `in_chans` is 4; 3 (RGB) and 1 (grey) are supported, because images have no other channels"),
        "{error}"
    );
    let inert = json!({
        "act_layer": "relu", "global_pool": "avg", "output_stride": 32, "drop_rate": 0.1,
        "norm_layer": "batchnorm2d", "num_classes": 1000, "aa_layer": null,
        "replace_stem_pool": false,
    });
    let config = with(&timm(), "model_args", inert);
    assert_eq!(metadata(&config, None), metadata(&timm(), None));
}

#[test]
fn labels_of_timm_in_older_forms() {
    let names = |config: &Value| -> Vec<String> {
        let labels = metadata(config, None).labels.unwrap();
        labels.iter().map(|label| label.name.clone()).collect()
    };
    let flat = json!({"architecture": "resnet18", "labels": ["cat", "dog"]});
    assert_eq!(names(&flat), ["cat", "dog"]);
    let by_index = with(&timm(), "label_names", json!({"1": "dog", "0": "cat"}));
    assert_eq!(names(&by_index), ["cat", "dog"]);
    let gap = with(&timm(), "label_names", json!({"2": "dog", "0": "cat"}));
    assert!(refusal(&gap).contains("without gaps"));
}

#[test]
fn a_configuration_of_something_else_is_refused() {
    let error = refusal(&json!({"port": 8000}));
    assert!(
        error.contains("config.json is not a usable checkpoint: it is a configuration of neither"),
        "{error}"
    );
    let (config, _) = transformers();
    let error = refusal(&with(&config, "layer_type", json!("inverted")));
    assert!(error.contains("field `layer_type`"), "{error}");
}

#[test]
fn an_unknown_property_in_the_weights_is_refused() {
    let folder = folder(&[]);
    File::default()
        .f32("fc.bias", &[1], &[1.0])
        .metadata("spec", r#"{"stride_on": "conv3"}"#)
        .write(&folder.path().join("model.safetensors"));
    let error = open(folder.path()).err().unwrap().to_string();
    assert!(
        error.ends_with("its `stride_on` is \"conv3\"; conv2 and conv1 are supported"),
        "{error}"
    );
}

/// The same model, whether the folder or the file in it is named.
#[test]
fn the_configuration_beside_a_file_belongs_to_it() {
    let (config, preprocessor) = transformers();
    let configs = [
        ("config.json", &config),
        ("preprocessor_config.json", &preprocessor),
    ];
    let folder = folder(&configs);
    let file = folder.path().join("model.safetensors");
    let from_folder = open(folder.path()).unwrap();
    let hub = offline_hub(folder.path());
    let source = Source::parse(file.to_str().unwrap()).unwrap();
    let from_file = source.open(&hub, &mut |_| ()).unwrap();
    assert_eq!(from_file.metadata(), from_folder.metadata());
    assert_eq!(from_file.name(), from_folder.name());
    assert_eq!(from_file.origins(), from_folder.origins());
    assert_eq!(source.files().unwrap().len(), 3);
    let origins = from_file.origins();
    assert_eq!(origins.architecture, Some(Origin::Config));
    assert_eq!(origins.preprocessing, Some(Origin::Preprocessor));
    assert_eq!(origins.activation, None);

    fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(source.open(&hub, &mut |_| ()).is_err());
}
