//! Compares the fused CPU plan with the candle backend for every kind of block,
//! batch size, instruction set, dtype and output. Needs no reference data.

#![allow(clippy::unwrap_used)]

mod class_maps;
mod networks;
mod outputs;
#[path = "../small/mod.rs"]
mod small;

use networks::{CLASSES, Network, images, largest_difference};
use resnet_model::family::{self, Norm};
use resnet_model::plan::CpuConfig;
use resnet_model::{
    Backend, Choice, Dtype, Input, Model, Options, Outputs, SupportedIsa, ThreadPool, build,
};
use weights::{Checkpoint, Metadata, Preprocessing};

fn f32_options() -> Options {
    Options {
        dtype: Choice::Named(Dtype::F32),
        ..Options::default()
    }
}

/// The logits of `planes`.
fn logits(model: &Model, planes: &[f32]) -> Vec<f32> {
    model
        .forward_planes(planes, Outputs::LOGITS)
        .unwrap()
        .logits
}

#[test]
fn a_pool_is_fused_with_the_convolution_before_it() {
    let threads = ThreadPool::new(1).unwrap();
    for (name, pools) in [
        ("resnet50", vec!["max-pool", "global average"]),
        // the mean of each of its 16 blocks; the pool at the end reads the output
        // of a gate, so it is not fused
        (
            "seresnet50",
            std::iter::once("max-pool")
                .chain(["global average"; 16])
                .collect(),
        ),
        // its last feature map is the output of a group norm, and its max-pool counts
        // the padding as zeros
        ("resnetv2_50x1_bit", vec![]),
    ] {
        let plan = Network::new(name, 32).plan(CpuConfig::f32(SupportedIsa::best()), &threads);
        let mut steps = plan.steps();
        steps.retain(|step| step.runs_as.ends_with("fused with the previous step"));
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, pools, "{name}");
    }
}

#[test]
fn int8_without_ranges_is_an_error() {
    let threads = ThreadPool::new(1).unwrap();
    let options = Options {
        dtype: Choice::Named(Dtype::Int8),
        ..Options::default()
    };
    let model = Model::load(&weights::default_model().unwrap(), &options, &threads);
    let error = model.err().unwrap().to_string();
    assert!(error.contains("resnet quantize"), "{error}");
}

#[test]
fn every_architecture_matches_the_reference() {
    let threads = ThreadPool::new(2).unwrap();
    let rows = small::distinct();
    assert!(rows.len() > 50, "{}", rows.len());
    for row in rows {
        // a group norm over a single pixel amplifies rounding errors
        let size = if row.norm == Norm::Group { 64 } else { 32 };
        let network = Network::of(row, size);
        let input = images(1, size);
        let expected = network.reference(&input, &threads).logits;
        let plan = network.plan(CpuConfig::f32(SupportedIsa::best()), &threads);
        let output = plan
            .forward(Input::Planes(&input), Outputs::LOGITS)
            .unwrap();
        let error = largest_difference(&output.logits, &expected);
        assert!(error < 1e-4, "{}: {error}", row.name);
    }
}

#[test]
fn the_default_model_matches_the_reference_in_batches_of_1_to_8() {
    let threads = ThreadPool::new(2).unwrap();
    let checkpoint = weights::default_model().unwrap();
    let model = Model::load(&checkpoint, &f32_options(), &threads).unwrap();
    let size = model.info().input_size;
    let all = images(8, size).iter().map(|v| v / 5.0).collect::<Vec<_>>();
    let candle = Options {
        engine: "candle".parse().unwrap(),
        ..Options::default()
    };
    let candle = Model::load(&checkpoint, &candle, &threads).unwrap();
    let expected = logits(&candle, &all);
    let classes = model.info().classes;
    let one_by_one: Vec<f32> = all
        .chunks(3 * size * size)
        .flat_map(|image| logits(&model, image))
        .collect();
    for n in 1..=8 {
        let logits = logits(&model, &all[..n * 3 * size * size]);
        let error = largest_difference(&logits, &expected[..n * classes]);
        assert!(error < 1e-4, "batch {n}: {error} from the reference");
        let error = largest_difference(&logits, &one_by_one[..n * classes]);
        assert!(error < 1e-5, "batch {n}: {error} from batches of 1");
    }
}

#[test]
fn pixels_and_planes_give_the_same_logits() {
    let threads = ThreadPool::new(2).unwrap();
    let network = Network::new("cifar_resnet20", 32);
    let preprocessing = Preprocessing::imagenet();
    let plan = network.plan(CpuConfig::f32(SupportedIsa::best()), &threads);
    let pixels: Vec<u8> = (0..32 * 32 * 3).map(|i| (i * 7 % 256) as u8).collect(); // [H, W, 3]
    let planes: Vec<f32> = (0..3 * 32 * 32)
        .map(|i| {
            (f32::from(pixels[i % 1024 * 3 + i / 1024]) / 255.0 - preprocessing.mean[i / 1024])
                / preprocessing.std[i / 1024]
        })
        .collect();
    let candle = network.candle(&threads);
    let backends: [&dyn Backend; 2] = [&plan, &candle];
    for backend in backends {
        let logits = |input: Input| backend.forward(input, Outputs::LOGITS).unwrap().logits;
        let from_pixels = logits(Input::Pixels(&[&pixels]));
        let from_planes = logits(Input::Planes(&planes));
        let error = largest_difference(&from_pixels, &from_planes);
        assert!(error < 1e-5, "{:?}: {error}", backend.info());
    }
}

#[test]
fn an_image_of_the_wrong_size_is_an_error() {
    let threads = ThreadPool::new(1).unwrap();
    let model = Model::load(
        &weights::default_model().unwrap(),
        &Options::default(),
        &threads,
    )
    .unwrap();
    let error = model.forward(&[&[0; 5]], Outputs::LOGITS).unwrap_err();
    assert!(error.to_string().contains("5 values"), "{error}");
    let none = model.forward(&[], Outputs::LOGITS).unwrap();
    assert!(none.logits.is_empty());
}

#[test]
fn a_named_device_that_is_missing_is_an_error() {
    let threads = ThreadPool::new(1).unwrap();
    let options = Options {
        device: "cuda:1".parse().unwrap(),
        ..Options::default()
    };
    let model = Model::load(&weights::default_model().unwrap(), &options, &threads);
    let error = model.err().unwrap().to_string();
    assert!(
        error.contains("cuda:1") && error.contains("no CUDA"),
        "{error}"
    );
}

#[test]
fn the_architecture_is_detected_from_the_tensors() {
    let threads = ThreadPool::new(1).unwrap();
    for name in [
        "resnet34",
        "cifar_resnet32",
        "wrn_16_4",
        "plain18",
        "highway18",
        "seresnet50",
    ] {
        let row = family::find(name).unwrap();
        let parameters = build::build(row, row.input, CLASSES).parameters();
        let checkpoint = Checkpoint::synthetic(row.name, Metadata::default(), parameters).unwrap();
        let model = Model::load(&checkpoint, &Options::default(), &threads).unwrap();
        assert_eq!(model.info().architecture, name);
        assert_eq!(model.info().classes, CLASSES);
    }
}

#[test]
fn the_error_for_an_unknown_architecture_names_the_closest_one() {
    let threads = ThreadPool::new(1).unwrap();
    let row = family::find("resnet18").unwrap();
    let parameters = build::build(row, 224, CLASSES).parameters().into_iter();
    let incomplete = parameters.filter(|(name, _)| name != "layer3.1.conv2.weight");
    let checkpoint = Checkpoint::synthetic("incomplete", Metadata::default(), incomplete).unwrap();
    let error = Model::load(&checkpoint, &Options::default(), &threads)
        .err()
        .unwrap()
        .to_string();
    for part in [
        "incomplete",
        "resnet18",
        "1 tensor missing",
        "layer3.1.conv2.weight",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
