//! The fused plan against the plain candle reference, with nothing but the
//! repository: every block kind, batch size and instruction set.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};

use model::family::{self, Architecture, Norm};
use model::plan::{Input, Numbers, Plan};
use model::reference::Reference;
use model::{Calibration, Cores, Dtype, Level, Model, Options, build};
use weights::{Checkpoint, Facts, Recipe, synthetic};

/// Rows that between them use every part of the family, on small inputs.
const ROWS: &[(&str, usize)] = &[
    ("resnet18", 64),
    ("resnet50", 64),
    ("resnet50_thin", 96),
    ("resnet18_2x2", 64),
    ("resnext50_32x4d", 32),
    ("wide_resnet50_2", 32),
    ("resnet26d", 64),
    ("seresnet50", 32),
    ("ecaresnet50d", 64),
    ("resnetv2_50", 64),
    ("resnetv2_50d", 32),
    ("resnetv2_50x1_bit", 64),
    ("highway18", 64),
    ("plain18", 32),
    ("cifar_resnet20", 32),
    ("cifar_preact164", 32),
    ("wrn_16_4", 32),
];

const CLASSES: usize = 37;

fn checkpoint(row: &Architecture, size: usize) -> Checkpoint {
    let parameters = build::build(row, size, CLASSES).parameters();
    Checkpoint::synthetic(row.name, Facts::default(), parameters).unwrap()
}

/// Images `[n, 3, size, size]` that differ from one another.
fn images(n: usize, size: usize) -> Vec<f32> {
    synthetic::tensor("images", &[n, 3 * size * size / 2, 2])
        .iter()
        .map(|v| v * 10.0)
        .collect()
}

fn f32_options() -> Options {
    Options {
        dtype: Dtype::F32,
        ..Options::default()
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn every_block_kind_gives_the_references_logits_on_every_instruction_set() {
    let cores = Cores::new(2).unwrap();
    for &(name, size) in ROWS {
        let row = family::find(name).unwrap();
        let checkpoint = checkpoint(row, size);
        let graph = build::build(row, size, CLASSES);
        let input = images(2, size);
        let tensor = Tensor::from_slice(&input, (2, 3, size, size), &Device::Cpu).unwrap();
        let reference = Reference::new(graph.clone(), &checkpoint, &Device::Cpu).unwrap();
        let expected = reference.forward(&tensor).unwrap();
        let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for level in Level::all() {
            // group norms of a few pixels magnify what rounding did, 20 times
            let of_bf16 = if name.ends_with("bit") { 2e-1 } else { 2e-2 };
            for (dtype, most) in [(Dtype::F32, 1e-4), (Dtype::Bf16, of_bf16)] {
                let numbers = Numbers { dtype, level };
                let recipe = Recipe::imagenet();
                let plan = Plan::new(&graph, &checkpoint, &recipe, numbers, &cores).unwrap();
                let logits = tensor.apply_op1_no_bwd(&plan).unwrap();
                let logits = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let error = largest_difference(&logits, &expected);
                println!("{name} in {dtype} on {}: {error:.1e}", level.isa());
                assert!(error < most, "{name} in {dtype} on {level:?}: {error}");
            }
        }
    }
}

#[test]
fn every_block_kind_runs_in_8_bits_on_every_instruction_set() {
    let cores = Cores::new(2).unwrap();
    let recipe = Recipe::imagenet();
    for &(name, size) in ROWS {
        let row = family::find(name).unwrap();
        let checkpoint = checkpoint(row, size);
        let graph = build::build(row, size, CLASSES);
        let exact = Numbers::f32(Level::best());
        let exact = Plan::new(&graph, &checkpoint, &recipe, exact, &cores).unwrap();
        let input = images(3, size);
        let expected = exact.forward(Input::Planes(&input)).unwrap();
        let mut calibration = Calibration::new(&exact);
        calibration.add(Input::Planes(&input)).unwrap();
        let facts = Facts {
            ranges: Some(calibration.ranges()),
            ..checkpoint.facts().clone()
        };
        let corrections = calibration.corrections(&checkpoint).unwrap();
        let corrected = checkpoint.with_values(corrections).unwrap();
        let corrected = corrected.with_facts(facts);
        for level in Level::all() {
            let dtype = Dtype::Int8;
            let numbers = Numbers { dtype, level };
            let plan = Plan::new(&graph, &corrected, &recipe, numbers, &cores).unwrap();
            let logits = plan.forward(Input::Planes(&input)).unwrap();
            let error = largest_difference(&logits, &expected);
            println!("{name} in int8 on {}: {error:.1e}", level.isa());
            // group norms of a few pixels magnify what rounding did
            let most = if row.norm == Norm::Group { 0.5 } else { 0.05 };
            assert!(error < most, "{name} in int8 on {level:?}: {error}");
        }
    }
}

#[test]
fn a_pool_runs_with_the_convolution_before_it() {
    let cores = Cores::new(1).unwrap();
    for (name, pools) in [
        ("resnet50", vec!["max-pool", "global average"]),
        // the means of its blocks; the last is of what a gate made
        (
            "seresnet50",
            std::iter::once("max-pool")
                .chain(["global average"; 16])
                .collect(),
        ),
        // its last map is a norm's, and its maximum sees a border of zeros
        ("resnetv2_50x1_bit", vec![]),
    ] {
        let row = family::find(name).unwrap();
        let graph = build::build(row, 32, CLASSES);
        let numbers = Numbers::f32(Level::best());
        let checkpoint = checkpoint(row, 32);
        let plan = Plan::new(&graph, &checkpoint, &Recipe::imagenet(), numbers, &cores).unwrap();
        let mut steps = plan.steps();
        steps.retain(|step| step.runs_as.ends_with("with the step before"));
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, pools, "{name}");
    }
}

#[test]
fn eight_bits_without_ranges_are_refused() {
    let cores = Cores::new(1).unwrap();
    let options = Options {
        dtype: Dtype::Int8,
        ..Options::default()
    };
    let model = Model::load(&weights::default_model().unwrap(), &options, &cores);
    let error = model.err().unwrap().to_string();
    assert!(error.contains("resnet quantize"), "{error}");
}

#[test]
fn every_row_of_the_table_gives_the_references_logits() {
    let cores = Cores::new(2).unwrap();
    for row in family::FAMILY {
        // group norms of a single pixel would magnify every rounding
        let size = if row.norm == Norm::Group { 64 } else { 32 };
        let checkpoint = checkpoint(row, size);
        let graph = build::build(row, size, CLASSES);
        let tensor = Tensor::from_vec(images(1, size), (1, 3, size, size), &Device::Cpu).unwrap();
        let reference = Reference::new(graph.clone(), &checkpoint, &Device::Cpu).unwrap();
        let expected = reference.forward(&tensor).unwrap();
        let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        drop(reference);
        let level = Level::best();
        let plan = Plan::new(
            &graph,
            &checkpoint,
            &Recipe::imagenet(),
            Numbers::f32(level),
            &cores,
        )
        .unwrap();
        let logits = tensor.apply_op1_no_bwd(&plan).unwrap();
        let logits = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let error = largest_difference(&logits, &expected);
        assert!(error < 1e-4, "{}: {error}", row.name);
    }
}

#[test]
fn the_default_model_gives_the_references_logits_in_batches_of_1_to_8() {
    let cores = Cores::new(2).unwrap();
    let checkpoint = weights::default_model().unwrap();
    let model = Model::load(&checkpoint, &f32_options(), &cores).unwrap();
    let reference = Reference::new(model.graph().clone(), &checkpoint, &Device::Cpu).unwrap();
    let size = model.card().input_size;
    let all = images(8, size).iter().map(|v| v / 5.0).collect::<Vec<_>>();
    let tensor = Tensor::from_slice(&all, (8, 3, size, size), &Device::Cpu).unwrap();
    let expected = reference.forward(&tensor).unwrap().flatten_all().unwrap();
    let expected = expected.to_vec1::<f32>().unwrap();
    let classes = model.card().classes;
    let alone: Vec<f32> = all
        .chunks(3 * size * size)
        .flat_map(|image| model.forward_planes(image).unwrap())
        .collect();
    for n in 1..=8 {
        let logits = model.forward_planes(&all[..n * 3 * size * size]).unwrap();
        let error = largest_difference(&logits, &expected[..n * classes]);
        assert!(error < 1e-4, "batch {n}: {error} from the reference");
        let error = largest_difference(&logits, &alone[..n * classes]);
        assert!(error < 1e-5, "batch {n}: {error} from the images alone");
    }
}

#[test]
fn pixels_and_planes_give_the_same_logits() {
    let cores = Cores::new(2).unwrap();
    let row = family::find("cifar_resnet20").unwrap();
    let graph = build::build(row, 32, CLASSES);
    let recipe = Recipe::cifar();
    let level = Level::best();
    let plan = Plan::new(
        &graph,
        &checkpoint(row, 32),
        &recipe,
        Numbers::f32(level),
        &cores,
    )
    .unwrap();
    let pixels: Vec<u8> = (0..32 * 32 * 3).map(|i| (i * 7 % 256) as u8).collect(); // [H, W, 3]
    let planes: Vec<f32> = (0..3 * 32 * 32)
        .map(|i| {
            (f32::from(pixels[i % 1024 * 3 + i / 1024]) / 255.0 - recipe.mean[i / 1024])
                / recipe.std[i / 1024]
        })
        .collect();
    let from_pixels = plan.forward(Input::Pixels(&[&pixels])).unwrap();
    let from_planes = plan.forward(Input::Planes(&planes)).unwrap();
    assert!(largest_difference(&from_pixels, &from_planes) < 1e-5);
}

#[test]
fn a_batch_of_the_wrong_size_is_refused() {
    let cores = Cores::new(1).unwrap();
    let model = Model::load(
        &weights::default_model().unwrap(),
        &Options::default(),
        &cores,
    )
    .unwrap();
    let error = model.forward(&[&[0; 5]]).unwrap_err().to_string();
    assert!(error.contains("5 values"), "{error}");
    assert!(model.forward(&[]).unwrap().is_empty());
}

#[test]
fn a_device_that_is_asked_for_and_missing_is_an_error() {
    let cores = Cores::new(1).unwrap();
    let options = Options {
        device: "cuda:1".parse().unwrap(),
        ..Options::default()
    };
    let model = Model::load(&weights::default_model().unwrap(), &options, &cores);
    let error = model.err().unwrap().to_string();
    assert!(
        error.contains("cuda:1") && error.contains("no CUDA"),
        "{error}"
    );
}

#[test]
fn a_checkpoint_tells_its_row_by_its_tensors() {
    let cores = Cores::new(1).unwrap();
    for name in [
        "resnet34",
        "cifar_resnet32",
        "wrn_16_4",
        "plain18",
        "highway18",
        "seresnet50",
    ] {
        let row = family::find(name).unwrap();
        let model = Model::load(&checkpoint(row, row.input), &Options::default(), &cores).unwrap();
        assert_eq!(model.card().architecture, name);
        assert_eq!(model.card().classes, CLASSES);
    }
}

#[test]
fn a_checkpoint_that_fits_no_row_is_told_the_closest() {
    let cores = Cores::new(1).unwrap();
    let row = family::find("resnet18").unwrap();
    let parameters = build::build(row, 224, CLASSES).parameters().into_iter();
    let torn = parameters.filter(|(name, _)| name != "layer3.1.conv2.weight");
    let checkpoint = Checkpoint::synthetic("torn", Facts::default(), torn).unwrap();
    let error = Model::load(&checkpoint, &Options::default(), &cores)
        .err()
        .unwrap()
        .to_string();
    for part in [
        "torn",
        "resnet18",
        "1 tensor missing",
        "layer3.1.conv2.weight",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
