//! The logits match the reference up to the rounding of each dtype.

use crate::fake_driver::{counts, with_driver};
use crate::networks::{Network, difference, forward, one_stream};
use resnet_model::cuda::Placement;
use resnet_model::{Dtype, Input};
use weights::Preprocessing;

/// Architectures and input sizes that together use every kind of step.
const ARCHITECTURES: &[(&str, usize)] = &[
    ("resnet18", 64),
    ("resnet50", 64),
    ("resnet18_2x2", 32),
    ("resnext50_32x4d", 32),
    ("resnet26d", 32),
    ("seresnet50", 32),
    ("ecaresnet50d", 32),
    ("resnetv2_50", 32),
    ("highway18", 32),
    ("plain18", 32),
    ("cifar_resnet20", 32),
    ("cifar_preact110", 16),
    ("wrn_16_4", 32),
];

/// Runs three images in a bucket of four.
fn check(row: &str, size: usize, dtype: Dtype, tolerance: f32) {
    let network = Network::new(row, size, 3);
    let placement = Placement {
        dtype,
        ..one_stream(4)
    };
    let plan = network.plan(&placement).unwrap();
    let logits = forward(&plan, Input::Planes(&network.images)).unwrap();
    let error = difference(&logits, &network.expected());
    println!("{row} in {}: {error:.1e}", dtype.name());
    assert!(error < tolerance, "{row} in {dtype:?}: {error}");
    drop(plan);
    assert_eq!(counts().live_objects(), [], "{row} leaks");
    assert_eq!(counts().violations, 0, "{row}");
}

#[test]
fn every_kind_of_step_matches_the_reference_in_f16() {
    with_driver(
        "logits::every_kind_of_step_matches_the_reference_in_f16",
        || {
            ARCHITECTURES
                .iter()
                .for_each(|&(row, size)| check(row, size, Dtype::F16, 4e-3))
        },
    );
}

#[test]
fn bf16_and_f32_match_the_reference() {
    with_driver("logits::bf16_and_f32_match_the_reference", || {
        for row in ["resnet18", "seresnet50", "cifar_resnet20"] {
            check(row, 32, Dtype::F32, 1e-4);
            check(row, 32, Dtype::Bf16, 8e-2);
        }
        // In 50 group norms with a residual that is not normalized, the rounding
        // error grows to a few percent in f16, but not in f32.
        check("resnetv2_50x1_bit", 32, Dtype::F32, 1e-4);
        check("resnetv2_50x1_bit", 32, Dtype::F16, 4e-2);
    });
}

#[test]
fn pixels_and_planes_give_the_same_logits() {
    with_driver("logits::pixels_and_planes_give_the_same_logits", || {
        let network = Network::new("cifar_resnet20", 32, 2);
        let plan = network.plan(&one_stream(2)).unwrap();
        let preprocessing = Preprocessing::imagenet();
        let pixels: Vec<Vec<u8>> = (0..2)
            .map(|n| {
                (0..32 * 32 * 3)
                    .map(|i| ((i * 7 + n * 31) % 256) as u8)
                    .collect()
            })
            .collect();
        let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
        let planes: Vec<f32> = (0..2 * 3 * 1024)
            .map(|i| {
                let (n, c, at) = (i / 3072, i / 1024 % 3, i % 1024);
                (f32::from(pixels[n][at * 3 + c]) / 255.0 - preprocessing.mean[c])
                    / preprocessing.std[c]
            })
            .collect();
        let from_pixels = forward(&plan, Input::Pixels(&images)).unwrap();
        let from_planes = forward(&plan, Input::Planes(&planes)).unwrap();
        assert!(difference(&from_pixels, &from_planes) < 5e-3);
    });
}
