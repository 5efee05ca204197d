//! Embeddings and feature maps match the reference in every dtype and are
//! consistent with the logits.

use resnet_model::family::{self, Norm};
use resnet_model::plan::{CpuConfig, CpuPlan};
use resnet_model::{
    Backend, Dtype, Error, Input, Model, Options, Output, Outputs, SupportedIsa, ThreadPool, build,
};

use crate::networks::{CLASSES, Network, all_rows, differences, images, largest_difference, rows};

#[test]
fn every_kind_of_block_matches_the_reference_on_every_instruction_set() {
    let threads = ThreadPool::new(2).unwrap();
    for (row, size) in all_rows() {
        let name = row.name;
        let network = Network::of(row, size);
        let input = images(2, size);
        let expected = network.reference(&input, &threads);
        for isa in SupportedIsa::all() {
            for dtype in [Dtype::F32, Dtype::Bf16] {
                let plan = network.plan(CpuConfig { dtype, isa }, &threads);
                let output = plan.forward(Input::Planes(&input), Outputs::ALL).unwrap();
                assert_same_alone(&plan, &input, &output);
                let errors = differences(&output, &expected);
                println!("{name} in {dtype} on {}: {errors:?}", isa.get());
                let [logits, embedding, map] = errors;
                let tolerance = network.tolerance(dtype);
                assert!(
                    logits < tolerance,
                    "{name} in {dtype} on {isa:?}: {errors:?}"
                );
                // logits are sums over many values, which averages their rounding
                let values = embedding.max(map);
                assert!(
                    values < 2.0 * tolerance,
                    "{name} in {dtype} on {isa:?}: {errors:?}"
                );
            }
        }
    }
}

/// The last image of a batch has the same outputs, bit for bit, when it runs alone.
fn assert_same_alone(plan: &CpuPlan, planes: &[f32], output: &Output) {
    let images = output.logits.len() / CLASSES;
    let last = &planes[planes.len() - planes.len() / images..];
    let alone = plan.forward(Input::Planes(last), Outputs::ALL).unwrap();
    let same = |batch: &[f32], alone: &[f32]| batch[batch.len() - alone.len()..] == *alone;
    assert!(same(&output.logits, &alone.logits), "logits");
    for (batch, alone) in [
        (&output.embedding, &alone.embedding),
        (&output.feature_map, &alone.feature_map),
    ] {
        let (batch, alone) = (batch.as_deref().unwrap(), alone.as_deref().unwrap());
        assert!(same(batch, alone), "an embedding or a feature map");
    }
}

#[test]
fn int8_outputs_are_close_to_those_of_f32_on_every_instruction_set() {
    let threads = ThreadPool::new(2).unwrap();
    for (row, size) in rows() {
        let name = row.name;
        let network = Network::of(row, size);
        let input = images(3, size);
        let exact = network.plan(CpuConfig::f32(SupportedIsa::best()), &threads);
        let expected = exact.forward(Input::Planes(&input), Outputs::ALL).unwrap();
        let network = network.quantized(&input, &threads);
        for isa in SupportedIsa::all() {
            let dtype = Dtype::Int8;
            let plan = network.plan(CpuConfig { dtype, isa }, &threads);
            let output = plan.forward(Input::Planes(&input), Outputs::ALL).unwrap();
            assert_same_alone(&plan, &input, &output);
            let errors = differences(&output, &expected);
            println!("{name} in int8 on {}: {errors:?}", isa.get());
            let [logits, embedding, map] = errors;
            let tolerance = network.tolerance(dtype);
            assert!(logits < tolerance, "{name} on {isa:?}: {errors:?}");
            // single values are rounded to 8 bits; logits are sums over many values,
            // which averages their rounding
            let values = embedding.max(map);
            assert!(values < 3.0 * tolerance, "{name} on {isa:?}: {errors:?}");
        }
    }
}

/// Logits computed from the embeddings of `output` with the checkpoint's classifier.
fn classify(network: &Network, output: &Output) -> Vec<f32> {
    let embedding = output.embedding.as_ref().unwrap();
    let channels = embedding.len() * CLASSES / output.logits.len();
    let read = |name: &str, shape: &[usize]| network.checkpoint.read(name, shape).unwrap();
    let weight = read("fc.weight", &[CLASSES, channels]);
    let bias = read("fc.bias", &[CLASSES]);
    let row = |embedding: &[f32]| -> Vec<f32> {
        let logit = |class: usize| {
            let weights = &weight[class * channels..][..channels];
            let products = embedding.iter().zip(weights).map(|(x, w)| x * w);
            bias[class] + products.sum::<f32>()
        };
        (0..CLASSES).map(logit).collect()
    };
    embedding.chunks_exact(channels).flat_map(row).collect()
}

/// The mean over the pixels of each of the `n` feature maps of `output`.
fn pool(output: &Output, n: usize) -> Vec<f32> {
    let map = output.feature_map.as_ref().unwrap();
    let channels = output.embedding.as_ref().unwrap().len() / n;
    let image = |map: &[f32]| -> Vec<f32> {
        let pixels = map.len() / channels;
        let mean = |c: usize| map.iter().skip(c).step_by(channels).sum::<f32>() / pixels as f32;
        (0..channels).map(mean).collect()
    };
    map.chunks_exact(map.len() / n).flat_map(image).collect()
}

#[test]
fn logits_embedding_and_feature_map_are_consistent() {
    let threads = ThreadPool::new(2).unwrap();
    for (row, size) in rows() {
        let name = row.name;
        let input = images(3, size);
        let network = Network::of(row, size).quantized(&input, &threads);
        // bf16 and int8 plans also round the weights of the classifier; in int8, the
        // ranges of the embedding and of the feature map are calibrated separately
        let calibrated = if row.norm == Norm::Group { 3e-2 } else { 1e-2 };
        for (dtype, logits_tolerance, embedding_tolerance) in [
            (Dtype::F32, 1e-4, 1e-5),
            (Dtype::Bf16, 1e-2, 1e-2),
            (Dtype::Int8, 2e-2, calibrated),
        ] {
            let isa = SupportedIsa::best();
            let plan = network.plan(CpuConfig { dtype, isa }, &threads);
            let output = plan.forward(Input::Planes(&input), Outputs::ALL).unwrap();
            let error = largest_difference(&classify(&network, &output), &output.logits);
            assert!(
                error < logits_tolerance,
                "{name} in {dtype}: logits {error}"
            );
            let embedding = output.embedding.as_ref().unwrap();
            let error = largest_difference(&pool(&output, 3), embedding);
            assert!(
                error < embedding_tolerance,
                "{name} in {dtype}: embedding {error}"
            );
        }
    }
}

#[test]
fn outputs_of_an_image_do_not_depend_on_its_batch() {
    let threads = ThreadPool::new(2).unwrap();
    // In both networks, the first steps run on a few images at a time. In the
    // second, these steps include the stage before the last.
    for (name, size) in [("resnet50", 64), ("cifar_resnet20", 32)] {
        let network = Network::new(name, size);
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let isa = SupportedIsa::best();
            let plan = network.plan(CpuConfig { dtype, isa }, &threads);
            let input = images(70, size);
            let all = plan.forward(Input::Planes(&input), Outputs::ALL).unwrap();
            let values = 3 * size * size;
            for at in [0, 1, 35, 69] {
                let image = &input[at * values..(at + 1) * values];
                let alone = plan.forward(Input::Planes(image), Outputs::ALL).unwrap();
                let part = |all: &[f32], one: &[f32]| {
                    largest_difference(&all[at * one.len()..(at + 1) * one.len()], one)
                };
                let embedding = part(
                    all.embedding.as_ref().unwrap(),
                    alone.embedding.as_ref().unwrap(),
                );
                let map = part(
                    all.feature_map.as_ref().unwrap(),
                    alone.feature_map.as_ref().unwrap(),
                );
                let tolerance = if dtype == Dtype::F32 { 1e-5 } else { 1e-2 };
                let worst = part(&all.logits, &alone.logits).max(embedding).max(map);
                assert!(worst < tolerance, "{name} in {dtype}, image {at}: {worst}");
            }
        }
    }
}

#[test]
fn only_the_requested_outputs_are_returned() {
    let threads = ThreadPool::new(2).unwrap();
    let network = Network::new("cifar_resnet20", 32);
    let plan = network.plan(CpuConfig::f32(SupportedIsa::best()), &threads);
    let input = images(2, 32);
    let all = plan.forward(Input::Planes(&input), Outputs::ALL).unwrap();
    for embedding in [false, true] {
        for feature_map in [false, true] {
            let outputs = Outputs {
                embedding,
                feature_map,
            };
            let output = plan.forward(Input::Planes(&input), outputs).unwrap();
            assert_eq!(output.logits, all.logits);
            assert_eq!(
                output.embedding,
                all.embedding.clone().filter(|_| embedding)
            );
            assert_eq!(
                output.feature_map,
                all.feature_map.clone().filter(|_| feature_map)
            );
            let none = plan.forward(Input::Pixels(&[]), outputs).unwrap();
            assert_eq!(none.logits.len(), 0);
            assert_eq!(none.embedding.is_some(), embedding);
            assert_eq!(none.feature_map.is_some(), feature_map);
        }
    }
}

#[test]
fn output_sizes_match_the_model_information() {
    let threads = ThreadPool::new(1).unwrap();
    let checkpoint = weights::default_model().unwrap();
    let model = Model::load(&checkpoint, &Options::default(), &threads).unwrap();
    let info = model.info();
    let pixels = vec![100; 3 * info.input_size * info.input_size];
    let output = model.forward(&[&pixels], Outputs::ALL).unwrap();
    assert_eq!(output.logits.len(), info.classes);
    assert_eq!(output.embedding.unwrap().len(), info.embedding_size);
    let values = info.feature_map.iter().product::<usize>();
    assert_eq!(output.feature_map.unwrap().len(), values);
}

#[test]
fn an_output_missing_in_the_network_is_an_error() {
    use resnet_model::graph::{Graph, Op};
    use resnet_model::plan::CpuPlan;
    use weights::{Checkpoint, Metadata, Preprocessing};
    let threads = ThreadPool::new(1).unwrap();
    let mut graph = Graph::new(1);
    graph.push("fc", Op::Linear, &[0], CLASSES);
    let checkpoint =
        Checkpoint::synthetic("linear", Metadata::default(), graph.parameters()).unwrap();
    let (preprocessing, config) = (
        Preprocessing::imagenet(),
        CpuConfig::f32(SupportedIsa::best()),
    );
    let plan = CpuPlan::new(&graph, &checkpoint, &preprocessing, config, &threads).unwrap();
    let input = Input::Planes(&[0.5, -1.0, 2.0]);
    let error = plan.forward(input, Outputs::ALL).unwrap_err();
    assert!(
        matches!(
            error,
            Error::MissingOutput {
                output: "feature map"
            }
        ),
        "{error}"
    );
    let outputs = Outputs {
        embedding: true,
        ..Outputs::LOGITS
    };
    let embedding = plan.forward(input, outputs).unwrap().embedding;
    assert_eq!(embedding.unwrap(), [0.5, -1.0, 2.0]);
    let architectures = family::FAMILY.iter();
    let mut graphs = architectures.map(|row| build::build(row, row.input, row.classes));
    assert!(graphs.all(|graph| graph.feature_map().is_some()));
}
