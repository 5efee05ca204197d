//! Class activation maps: the mean of a map plus the bias is the logit.

use resnet_model::plan::CpuConfig;
use resnet_model::{Backend, Dtype, Input, Outputs, SupportedIsa, ThreadPool};

use crate::networks::{CLASSES, Network, images, largest_difference};
use crate::small;

const IMAGES: usize = 2;

/// For each image and class, the mean of the class activation map plus the bias.
fn pooled_maps(backend: &dyn Backend, feature_map: &[f32]) -> Vec<f32> {
    let images = feature_map.chunks_exact(feature_map.len() / IMAGES);
    let classes: Vec<_> = (0..CLASSES)
        .map(|class| backend.class_weights(class).unwrap())
        .collect();
    let logit = |image: &[f32], class: usize| {
        let map = classes[class].map(image);
        map.iter().sum::<f32>() / map.len() as f32 + classes[class].bias
    };
    images
        .flat_map(|image| (0..CLASSES).map(move |class| (image, class)))
        .map(|(image, class)| logit(image, class))
        .collect()
}

/// The largest difference between pooled maps and logits.
fn error(backend: &dyn Backend, input: &[f32]) -> f32 {
    let images = Input::Planes(input);
    let output = backend.forward(images, Outputs::ALL).unwrap();
    let pooled = pooled_maps(backend, &output.feature_map.unwrap());
    largest_difference(&pooled, &output.logits)
}

#[test]
fn the_mean_of_each_map_plus_the_bias_is_the_logit() {
    let threads = ThreadPool::new(2).unwrap();
    for row in small::distinct() {
        let size = if row.input == 32 { 32 } else { 64 };
        let input = images(IMAGES, size);
        let network = Network::of(row, size);
        let isa = SupportedIsa::best();
        for (dtype, tolerance) in [(Dtype::F32, 1e-4), (Dtype::Bf16, 2e-2)] {
            let plan = network.plan(CpuConfig { dtype, isa }, &threads);
            let error = error(&plan, &input);
            println!("{} in {dtype}: {error:.1e}", row.name);
            assert!(error < tolerance, "{} in {dtype}: {error}", row.name);
        }
    }
    let network = Network::new("cifar_preact110", 32);
    let error = error(&network.candle(&threads), &images(IMAGES, 32));
    assert!(error < 1e-4, "candle: {error}");
}

/// The pooled features are rounded to 8 bits, the map is not.
#[test]
fn the_mean_of_each_map_plus_the_bias_is_almost_the_logit_of_int8() {
    let threads = ThreadPool::new(2).unwrap();
    for (name, size) in [
        ("resnet18", 64),
        ("seresnet50", 64),
        ("resnetv2_50x1_bit", 64),
        ("cifar_preact164", 32),
    ] {
        let input = images(IMAGES, size);
        let network = Network::new(name, size).quantized(&input, &threads);
        let (dtype, isa) = (Dtype::Int8, SupportedIsa::best());
        let error = error(&network.plan(CpuConfig { dtype, isa }, &threads), &input);
        println!("{name}: {error:.1e}");
        assert!(error < 2e-2, "{name}: {error}");
    }
}

#[test]
fn all_backends_and_instruction_sets_have_the_weights_of_the_checkpoint() {
    let threads = ThreadPool::new(1).unwrap();
    let input = images(1, 32);
    let network = Network::new("cifar_resnet20", 32).quantized(&input, &threads);
    let candle = network.candle(&threads);
    let values = network
        .checkpoint
        .read("fc.weight", &[CLASSES, 64])
        .unwrap();
    for class in [0, 1, CLASSES - 1] {
        let expected = candle.class_weights(class).unwrap();
        assert_eq!(expected.weight, values[class * 64..][..64]);
        for isa in SupportedIsa::all() {
            for (dtype, tolerance) in [(Dtype::F32, 0.0), (Dtype::Bf16, 4e-3), (Dtype::Int8, 4e-3)]
            {
                let plan = network.plan(CpuConfig { dtype, isa }, &threads);
                let found = plan.class_weights(class).unwrap();
                let error = largest_difference(&found.weight, &expected.weight);
                assert!(error <= tolerance, "{dtype} on {isa:?}: weights {error}");
                let error = (found.bias - expected.bias).abs();
                assert!(error <= 1e-5, "{dtype} on {isa:?}: bias {error}");
            }
        }
    }
    let plan = network.plan(CpuConfig::f32(SupportedIsa::best()), &threads);
    for backend in [&plan as &dyn Backend, &candle] {
        let error = backend.class_weights(CLASSES).unwrap_err().to_string();
        assert!(error.contains("class 37 of 37"), "{error}");
    }
}
