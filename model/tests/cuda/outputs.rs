//! Embeddings and feature maps match the reference. If they are not requested, no
//! memory is allocated for them and they are not copied to the host.

use crate::fake_driver::{counts, reset, with_driver};
use crate::networks::{CLASSES, Network, difference, one_stream};
use resnet_model::cuda::Placement;
use resnet_model::{Backend, Dtype, Input, Outputs};

/// Architectures, input sizes, dtypes and tolerances.
const NETWORKS: &[(&str, usize, Dtype, f32)] = &[
    ("resnet18", 64, Dtype::F16, 4e-3),
    ("resnetv2_50", 64, Dtype::F16, 4e-3),
    ("seresnet50", 64, Dtype::F16, 4e-3),
    ("cifar_resnet20", 32, Dtype::F32, 1e-4),
    ("cifar_resnet20", 32, Dtype::Bf16, 8e-2),
    ("resnetv2_50x1_bit", 64, Dtype::F32, 1e-4),
];

#[test]
fn the_outputs_of_every_image_match_the_reference() {
    with_driver(
        "outputs::the_outputs_of_every_image_match_the_reference",
        || {
            for &(name, size, dtype, tolerance) in NETWORKS {
                // three images run in a bucket of two and one of one, and then in a
                // bucket of four
                let network = Network::new(name, size, 3);
                let expected = network.reference(Outputs::ALL);
                for largest in [2, 4] {
                    let placement = Placement {
                        dtype,
                        ..one_stream(largest)
                    };
                    let plan = network.plan(&placement).unwrap();
                    let input = Input::Planes(&network.images);
                    let logits = plan.forward(input, Outputs::LOGITS).unwrap();
                    assert_eq!((&logits.embedding, &logits.feature_map), (&None, &None));
                    let output = plan.forward(input, Outputs::ALL).unwrap();
                    assert_eq!(output.logits, logits.logits, "{name}");
                    let pairs = [
                        (output.logits, expected.logits.clone()),
                        (
                            output.embedding.unwrap(),
                            expected.embedding.clone().unwrap(),
                        ),
                        (
                            output.feature_map.unwrap(),
                            expected.feature_map.clone().unwrap(),
                        ),
                    ];
                    let errors = pairs.map(|(got, expected)| difference(&got, &expected));
                    println!("{name} in {dtype}: {errors:?}");
                    // logits are sums over many values, which averages their rounding
                    let tolerances = [tolerance, 2.0 * tolerance, 4.0 * tolerance];
                    let within = (0..3).all(|i| errors[i] < tolerances[i]);
                    assert!(within, "{name} in {dtype}, {largest}: {errors:?}");
                }
            }
            assert_eq!(counts().live_objects(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

#[test]
fn class_weights_are_read_back_from_the_device() {
    with_driver(
        "outputs::class_weights_are_read_back_from_the_device",
        || {
            // 37 classes are padded to 40
            for (name, dtype, tolerance) in [
                ("cifar_resnet20", Dtype::F32, 1e-4),
                ("resnet18", Dtype::F16, 4e-3),
                ("resnetv2_50x1_bit", Dtype::Bf16, 2e-2),
            ] {
                let network = Network::new(name, 64, 2);
                let placement = Placement {
                    dtype,
                    ..one_stream(2)
                };
                let plan = network.plan(&placement).unwrap();
                let images = Input::Planes(&network.images);
                let output = plan.forward(images, Outputs::ALL).unwrap();
                let feature_map = output.feature_map.unwrap();
                let mut pooled = Vec::new();
                for image in feature_map.chunks_exact(feature_map.len() / 2) {
                    for class in 0..CLASSES {
                        let class = plan.class_weights(class).unwrap();
                        let map = class.map(image);
                        pooled.push(map.iter().sum::<f32>() / map.len() as f32 + class.bias);
                    }
                }
                let error = difference(&pooled, &output.logits);
                println!("{name} in {dtype}: {error:.1e}");
                assert!(error < tolerance, "{name} in {dtype}: {error}");
                assert!(plan.class_weights(CLASSES).is_err());
            }
            assert_eq!(counts().live_objects(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

#[test]
fn memory_for_more_outputs_is_allocated_once_and_only_when_they_are_requested() {
    with_driver(
        "outputs::memory_for_more_outputs_is_allocated_once_and_only_when_they_are_requested",
        || {
            let network = Network::new("cifar_resnet20", 32, 4);
            let plan = network.plan(&one_stream(4)).unwrap();
            let values = 3 * 32 * 32;
            let pass = |n: usize, outputs: Outputs| {
                reset(None, false);
                let input = Input::Planes(&network.images[..n * values]);
                plan.forward(input, outputs).unwrap();
                (counts().allocations, counts().downloads)
            };
            // (allocations, copies to the host); one copy for each output
            assert_eq!(pass(4, Outputs::LOGITS), (0, 1));
            assert_eq!(pass(1, Outputs::ALL), (1, 3));
            for n in [4, 2] {
                assert_eq!(pass(n, Outputs::ALL), (0, 3), "{n}");
            }
            assert_eq!(pass(4, Outputs::LOGITS), (0, 1));
        },
    );
}
