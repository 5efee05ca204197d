//! Image processors of transformers: classes, their defaults, and what is not
//! supported.

use resnet_weights::{Interpolation, Preprocessing, Resize};
use serde_json::{Value, json};

use crate::folders::{folder, metadata, open, transformers, with};

fn preprocessing(preprocessor: &Value) -> Preprocessing {
    let (config, _) = transformers();
    metadata(&config, Some(preprocessor)).preprocessing.unwrap()
}

#[test]
fn sizes_of_a_convnext_processor() {
    let (_, convnext) = transformers();
    let sizes = |preprocessor: &Value| {
        let preprocessing = preprocessing(preprocessor);
        (preprocessing.resize, preprocessing.crop)
    };
    let size = |size: Value| with(&convnext, "size", size);
    assert_eq!(sizes(&convnext), (Resize::ShortSide(256), 224));
    assert_eq!(
        sizes(&size(json!({"shortest_edge": 288}))),
        (Resize::ShortSide(329), 288)
    );
    assert_eq!(
        sizes(&size(json!({"shortest_edge": 384}))),
        (Resize::Exact(384), 384)
    );
    let newer = with(
        &convnext,
        "image_processor_type",
        json!("ConvNextImageProcessorFast"),
    );
    assert_eq!(sizes(&newer), (Resize::ShortSide(256), 224));
}

/// Each class without any field but its name, as transformers 5.24 fills it.
#[test]
fn absent_fields_have_the_defaults_of_the_class() {
    const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    const HALF: ([f32; 3], [f32; 3]) = ([0.5; 3], [0.5; 3]);
    use Interpolation::{Bicubic, Bilinear};
    use Resize::{Exact, ShortSide};
    for (name, resize, crop, interpolation, (mean, std)) in [
        ("ConvNext", Exact(384), 384, Bicubic, HALF),
        ("ViT", Exact(224), 224, Bilinear, HALF),
        ("DeiT", Exact(256), 224, Bicubic, HALF),
        ("Beit", Exact(224), 224, Bicubic, HALF),
        ("Pvt", Exact(224), 224, Bicubic, IMAGENET),
        ("MobileNetV1", ShortSide(256), 224, Bilinear, HALF),
        ("MobileNetV2", ShortSide(256), 224, Bilinear, HALF),
        ("Levit", ShortSide(256), 224, Bicubic, IMAGENET),
        // `include_top` divides by the standard deviation twice
        (
            "EfficientNet",
            Exact(346),
            346,
            Bicubic,
            ([0.5; 3], [0.25; 3]),
        ),
    ] {
        for ending in ["ImageProcessor", "ImageProcessorFast", "FeatureExtractor"] {
            let class = json!({"image_processor_type": format!("{name}{ending}")});
            let expected = Preprocessing {
                resize,
                crop,
                interpolation,
                mean,
                std,
            };
            assert_eq!(preprocessing(&class), expected, "{name}{ending}");
        }
    }
    for name in ["Bit", "CLIP"] {
        let class = json!({"image_processor_type": format!("{name}ImageProcessor")});
        let found = preprocessing(&class);
        assert_eq!((found.resize, found.crop), (ShortSide(224), 224));
        assert!((found.mean[0] - 0.481_454_66).abs() < 1e-6, "{name}");
    }
    // without a class, the processor of a ResNet
    assert_eq!(preprocessing(&json!({})).resize, Exact(384));
}

#[test]
fn a_mobilevit_processor_normalizes_nothing() {
    let class = json!({
        "image_processor_type": "MobileViTImageProcessor", "size": {"shortest_edge": 288},
        "do_flip_channel_order": false,
    });
    let found = preprocessing(&class);
    assert_eq!((found.resize, found.crop), (Resize::ShortSide(288), 256));
    assert_eq!((found.mean, found.std), ([0.0; 3], [1.0; 3]));
}

/// The processor's formula on a value against `(value / 255 - mean) / std`.
#[test]
fn rescaling_is_part_of_mean_and_standard_deviation() {
    type Formula = fn(f64) -> f64;
    let cases: [(Value, Formula); 5] = [
        (json!({}), |value| (value / 255.0 - 0.4) / 0.2),
        (json!({"do_rescale": false}), |value| (value - 0.4) / 0.2),
        (json!({"rescale_factor": 0.01}), |value| {
            (value * 0.01 - 0.4) / 0.2
        }),
        (json!({"do_normalize": false}), |value| value / 255.0),
        (
            json!({"rescale_factor": 1.0 / 127.5, "rescale_offset": true}),
            |value| ((value - 127.5) / 127.5 - 0.4) / 0.2,
        ),
    ];
    for (fields, formula) in cases {
        let mut config = json!({
            "image_processor_type": "ViTImageProcessor", "image_mean": 0.4, "image_std": [0.2, 0.2, 0.2],
        });
        for (field, value) in fields.as_object().unwrap() {
            config[field] = value.clone();
        }
        let Preprocessing { mean, std, .. } = preprocessing(&config);
        for value in [0.0, 100.0, 255.0] {
            let ours = (value / 255.0 - f64::from(mean[1])) / f64::from(std[1]);
            let difference = ours - formula(value);
            assert!(difference.abs() < 1e-3, "{fields}: {ours}");
        }
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let (config, convnext) = transformers();
    let class = |name: &str| json!({"image_processor_type": name});
    for (preprocessor, field, reason) in [
        (
            class("PoolFormerImageProcessor"),
            "image_processor_type",
            "it is \"PoolFormerImageProcessor\", which is not supported",
        ),
        (
            json!({"feature_extractor_type": "DPTFeatureExtractor"}),
            "feature_extractor_type",
            "it is \"DPTFeatureExtractor\"",
        ),
        (
            class("MobileViTImageProcessor"),
            "do_flip_channel_order",
            "only RGB is supported, not BGR",
        ),
        (
            with(&convnext, "do_flip_channel_order", json!(true)),
            "do_flip_channel_order",
            "only RGB is supported, not BGR",
        ),
        (
            with(&convnext, "do_pad", json!(true)),
            "do_pad",
            "it is true; this field is not supported",
        ),
        (
            with(&convnext, "size_divisor", json!(32)),
            "size_divisor",
            "it is 32; this field is not supported",
        ),
        (
            with(&convnext, "rescale_offset", json!(true)),
            "rescale_offset",
            "only with a `rescale_factor` of 1/127.5",
        ),
        (
            // the crop is larger than the image and would be padded
            with(&class("ViTImageProcessor"), "do_center_crop", json!(true)),
            "size",
            "",
        ),
    ] {
        let preprocessor = match field {
            "size" => with(&preprocessor, "crop_size", json!(256)),
            _ => preprocessor,
        };
        let configs = [
            ("config.json", &config),
            ("preprocessor_config.json", &preprocessor),
        ];
        let error = open(folder(&configs).path()).err().unwrap().to_string();
        let start = format!("field `{field}` in ");
        assert!(
            error.starts_with(&start) && error.contains(reason),
            "{error}"
        );
    }
    let harmless = with(&convnext, "do_pad", json!(false));
    let harmless = with(&harmless, "_valid_processor_keys", json!(["images"]));
    assert_eq!(preprocessing(&harmless), preprocessing(&convnext));
}
