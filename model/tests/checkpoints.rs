//! What is decided about a network from its checkpoint: the metadata is binding,
//! and what it does not say follows from the tensors.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

use resnet_model::{Model, Options, ThreadPool, build, complete_metadata, family};
use weights::{Activation, Checkpoint, Metadata};

/// A checkpoint of architecture `row` with `classes` outputs.
fn checkpoint(row: &str, classes: usize, metadata: Metadata) -> Checkpoint {
    let row = family::find(row).unwrap();
    let parameters = build::build(row, row.input, classes).parameters();
    Checkpoint::synthetic("network", metadata, parameters).unwrap()
}

#[test]
fn one_output_has_a_sigmoid_and_several_a_softmax_unless_the_checkpoint_says_otherwise() {
    use Activation::{None as Identity, Sigmoid, Softmax};
    let pool = ThreadPool::new(1).unwrap();
    for (classes, own, expected) in [
        (3, None, Softmax),
        (1, None, Sigmoid),
        (1, Some(Softmax), Sigmoid),
        (3, Some(Sigmoid), Sigmoid),
        (1, Some(Identity), Identity),
    ] {
        let metadata = Metadata {
            activation: own,
            ..Metadata::default()
        };
        let checkpoint = checkpoint("cifar_resnet20", classes, metadata);
        let complete = complete_metadata(&checkpoint).unwrap();
        assert_eq!(complete.activation, Some(expected), "{classes}, {own:?}");
        let model = Model::load(&checkpoint, &Options::default(), &pool).unwrap();
        assert_eq!(model.activation(), expected, "{classes}, {own:?}");
    }
}

/// A checkpoint of architecture `row` that says what `metadata` does.
fn of(row: &str, metadata: Metadata) -> Result<String, String> {
    let row = family::find(row).unwrap();
    let complete = complete_metadata(&checkpoint(row.name, row.classes, metadata));
    let architecture = complete.map(|metadata| metadata.architecture.unwrap());
    architecture.map_err(|error| error.to_string())
}

fn named(name: &str) -> Metadata {
    Metadata {
        architecture: Some(name.into()),
        ..Metadata::default()
    }
}

#[test]
fn a_name_that_is_not_in_the_table_is_refused() {
    for name in [
        "resnest50d",
        "res2net50_26w_4s",
        "skresnet50",
        "tresnet_m.miil_in21k",
        "nf_resnet50",
        "resnet50_clip",
        "resnet51q",
        "ecaresnet50d_pruned",
        "resnetv2_50d_evos",
        "my_net",
    ] {
        let error = of("resnet50", named(name)).unwrap_err();
        let expected =
            format!("its architecture is `{name}`, which is not in the table; nearest are ");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn what_stands_for_the_training_is_no_part_of_a_name() {
    for (name, row) in [
        ("resnet50.a1_in1k", "resnet50"),
        ("tv_resnet34", "resnet34"),
        ("gluon_resnet50_v1d", "resnet50d"),
        ("ssl_resnet18", "resnet18"),
        ("swsl_resnext50_32x4d", "resnext50_32x4d"),
        ("resnet18-2x2", "resnet18_2x2"),
    ] {
        assert_eq!(of(row, named(name)).as_deref(), Ok(row), "{name}");
    }
}

#[test]
fn a_name_and_tensors_that_contradict_each_other_are_refused() {
    let error = of("resnet34", named("resnet18")).unwrap_err();
    assert!(
        error.ends_with("`resnet18`, which its tensors contradict: they are those of `resnet34`"),
        "{error}"
    );
    let classes = Metadata {
        classes: Some(1001),
        ..named("resnet18")
    };
    let error = of("resnet18", classes).unwrap_err();
    assert!(
        error.ends_with("its configuration states 1001 classes, its classifier has 1000"),
        "{error}"
    );
}

#[test]
fn properties_that_the_tensors_do_not_show_must_agree_with_the_network() {
    let stride = |first: bool, metadata: Metadata| Metadata {
        stride_on_first_1x1: Some(first),
        ..metadata
    };
    let pool = |pools: bool, metadata: Metadata| Metadata {
        pooled_shortcut: Some(pools),
        ..metadata
    };
    let unnamed = Metadata::default;
    assert_eq!(
        of("resnet50", stride(true, unnamed())).unwrap(),
        "resnet50_v1"
    );
    assert_eq!(
        of("resnet50", stride(false, unnamed())).unwrap(),
        "resnet50"
    );
    // a basic block has one place for its stride
    assert_eq!(of("resnet18", stride(true, unnamed())).unwrap(), "resnet18");
    for (row, metadata, reason) in [
        // half width with the stride on the 3x3 is not in the table
        (
            "resnet50_thin",
            stride(false, unnamed()),
            "is on the 3x3 convolution; its tensors are those of `resnet50_thin`, where it is on the first 1x1",
        ),
        (
            "resnet50",
            stride(true, named("resnet50")),
            "is on the first 1x1 convolution",
        ),
        // the tensors of resnet200d, without its pool
        (
            "resnet200d",
            pool(false, unnamed()),
            "it has projection shortcuts without average pooling; its tensors are those of `resnet200d`, whose shortcuts are with it",
        ),
        (
            "resnet50",
            pool(true, named("resnet50")),
            "with average pooling",
        ),
    ] {
        let error = of(row, metadata).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn the_names_of_timm_are_those_of_the_networks_with_their_parameters() {
    let mut networks = 0;
    for line in include_str!("timm.txt").lines() {
        let Some((name, of_it)) = line.split_once(' ').filter(|(name, _)| *name != "#") else {
            continue;
        };
        match of_it.parse::<u64>() {
            Ok(parameters) => {
                let row = family::find(name).unwrap_or_else(|| panic!("{name}"));
                let graph = build::build(row, 224, 1000);
                assert_eq!(graph.trained_values(), parameters, "{name}");
                networks += 1;
            }
            // of an earlier version
            Err(_) => assert_eq!(of(of_it, named(name)).as_deref(), Ok(of_it), "{name}"),
        }
    }
    assert_eq!(networks, 105);
}

#[test]
fn a_file_that_is_named_after_a_lookalike_is_that_network() {
    let row = family::find("resnet50").unwrap();
    let parameters = build::build(row, row.input, 10).parameters();
    let checkpoint = |name: &str| {
        let metadata = Metadata::default();
        let checkpoint = Checkpoint::synthetic(name, metadata, parameters.clone()).unwrap();
        complete_metadata(&checkpoint).map_err(|error| error.to_string())
    };
    for (name, row) in [
        ("resnet50-0676ba61", "resnet50"),
        ("timm/resnetaa50.a1h_in1k", "resnetaa50"),
        ("resnetblur50-84f4748f", "resnetblur50"),
    ] {
        let architecture = checkpoint(name).unwrap().architecture;
        assert_eq!(architecture.as_deref(), Some(row), "{name}");
    }
    // the tensors are those of the network without the D
    let error = checkpoint("resnetaa50d.sw_in12k").unwrap_err();
    assert!(error.contains("those of `resnetaa50d`"), "{error}");
}

#[test]
fn a_tensor_that_no_network_needs_is_refused_by_name() {
    let row = family::find("resnet18").unwrap();
    let mut tensors = build::build(row, row.input, 10).parameters();
    tensors.push(("logit_scale".into(), vec![]));
    let checkpoint = Checkpoint::synthetic("x", Metadata::default(), tensors).unwrap();
    let error = complete_metadata(&checkpoint).unwrap_err().to_string();
    assert!(
        error.ends_with("1 tensor unexpected, first `logit_scale`"),
        "{error}"
    );
}

#[test]
fn what_was_decided_and_from_what_is_known() {
    let pool = ThreadPool::new(1).unwrap();
    let unnamed = checkpoint("cifar_resnet20", 10, Metadata::default());
    let model = Model::load(&unnamed, &Options::default(), &pool).unwrap();
    let decisions = &model.info().decisions;
    assert_eq!(
        decisions.architecture,
        "the first one with these tensors; cifar_plain20 has them too"
    );
    assert!(
        decisions.preprocessing.starts_with("assumed: "),
        "{decisions:?}"
    );
    assert!(decisions.labels.starts_with("none: "), "{decisions:?}");
    let stated = Metadata {
        activation: Some(Activation::Sigmoid),
        ..named("cifar_resnet20")
    };
    let stated = checkpoint("cifar_resnet20", 10, stated);
    let model = Model::load(&stated, &Options::default(), &pool).unwrap();
    let decisions = &model.info().decisions;
    assert_eq!(
        decisions.architecture,
        "named `cifar_resnet20` by the metadata of the weights"
    );
    assert_eq!(decisions.activation, "the metadata of the weights");
}

/// A stem of four channels could be one of RGBA, of infrared, of depth: nothing says
/// which, and images have three.
#[test]
fn a_stem_that_does_not_read_rgb_is_refused() {
    let row = family::find("resnet18").unwrap();
    for (channels, refused) in [(3, false), (1, false), (4, true), (12, true)] {
        let mut parameters = build::build(row, row.input, 10).parameters();
        for (name, shape) in &mut parameters {
            if name == "conv1.weight" {
                shape[1] = channels;
            }
        }
        let stated = |stated: Option<usize>| {
            let metadata = Metadata {
                channels: stated,
                ..Metadata::default()
            };
            let checkpoint = Checkpoint::synthetic("network", metadata, parameters.clone());
            let complete = complete_metadata(&checkpoint.unwrap());
            complete.err().map(|error| error.to_string())
        };
        for other in [1, 3] {
            let error = stated(Some(other));
            let contradicts = error.is_some_and(|error| {
                error.ends_with(&format!(
                    "states {other} input channels, its first convolution `conv1.weight` reads {channels}"
                ))
            });
            assert_eq!(contradicts, channels != other, "{channels}, {other}");
        }
        let error = stated(None);
        assert_eq!(error.is_some(), refused, "{channels}: {error:?}");
        if let Some(error) = error {
            let start = format!(
                "network cannot be served: its first convolution `conv1.weight` reads {channels} channels; "
            );
            assert!(error.starts_with(&start), "{error}");
        }
    }
}

#[test]
fn a_network_without_a_classifier_is_refused() {
    let row = family::find("resnet18").unwrap();
    let mut parameters = build::build(row, row.input, 10).parameters();
    parameters.retain(|(name, _)| !name.starts_with("fc."));
    let checkpoint = Checkpoint::synthetic("network", Metadata::default(), parameters).unwrap();
    let error = complete_metadata(&checkpoint).unwrap_err().to_string();
    assert!(
        error.starts_with("network cannot be served: it has no classifier `fc.weight`"),
        "{error}"
    );
}
