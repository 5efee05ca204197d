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
