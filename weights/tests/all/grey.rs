//! Networks of grey images get the luminance of RGB images.

use resnet_weights::{Checkpoint, Metadata};
use serde_json::json;

use crate::folders::{metadata, timm, transformers, with};

#[test]
fn the_first_convolution_of_a_grey_network_reads_the_luminance() {
    let kernel = |scale: f32| -> Vec<f32> { (0..9).map(|i| i as f32 * scale).collect() };
    let kernels = [kernel(1.0), kernel(-2.5)];
    let tensors = [
        (
            "conv1.weight".to_owned(),
            vec![2, 1, 3, 3],
            kernels.concat(),
        ),
        // not the first convolution
        (
            "layer1.0.conv1.weight".to_owned(),
            vec![1, 1, 1, 1],
            vec![3.0],
        ),
    ];
    let checkpoint = Checkpoint::from_tensors("grey", Metadata::default(), tensors).unwrap();
    let rgb = checkpoint.read("conv1.weight", &[2, 3, 3, 3]).unwrap();
    let shares = [0.299, 0.587, 0.114];
    let mut expected = Vec::new();
    for kernel in &kernels {
        for share in shares {
            expected.extend(kernel.iter().map(|weight| weight * share));
        }
    }
    assert_eq!(rgb, expected);
    assert_eq!(
        checkpoint.shape("layer1.0.conv1.weight"),
        Some(&[1, 1, 1, 1][..])
    );
    assert!(
        checkpoint.notes()[0].contains("grey images"),
        "{:?}",
        checkpoint.notes()
    );
}

#[test]
fn configurations_of_grey_networks_are_read() {
    let (config, preprocessor) = transformers();
    let grey = metadata(
        &with(&config, "num_channels", json!(1)),
        Some(&with(&preprocessor, "image_mean", json!([0.25]))),
    );
    assert_eq!(grey.channels, Some(1));
    assert_eq!(grey.preprocessing.unwrap().mean, [0.25; 3]);
    let mut config = timm();
    config["model_args"] = json!({"in_chans": 1});
    config["pretrained_cfg"]["input_size"] = json!([1, 224, 224]);
    assert_eq!(metadata(&config, None).channels, Some(1));
}
