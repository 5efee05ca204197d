//! Every row of the family's table on a card, as small as it still is itself:
//! it loads, and its logits are the processor's.

use crate::fake::{counts, with_driver};
use crate::networks::{Network, difference, one_lane};
use model::cuda::{Number, Placement};
use model::family::{Architecture, FAMILY, Norm};
use model::plan::{Input, Numbers, Plan};
use model::{Cores, Level};
use weights::Recipe;

/// Side of the input: five halvings leave a pixel of 32, two of CIFAR's four
/// of 16. Group norms of a single pixel would magnify every rounding.
fn side(row: &Architecture) -> usize {
    match (row.norm, row.input) {
        (Norm::Group, _) => 64,
        (_, 32) => 16,
        _ => 32,
    }
}

/// The number type, and what it may round, as a part of the largest logit.
fn number(row: &Architecture) -> (Number, f32) {
    match (row.name, row.norm) {
        // made-up weights let the sum of 600 residuals grow past what f16 holds
        ("cifar_resnet1202", _) => (Number::F32, 1e-4),
        // over a residual that nothing bounds: see `logits`
        (_, Norm::Group) => (Number::F16, 8e-2),
        _ => (Number::F16, 4e-3),
    }
}

fn check(row: &Architecture, cores: &Cores) {
    let network = Network::new(row.name, side(row), 1);
    let input = Input::Planes(&network.images);
    let plan = Plan::new(
        &network.graph,
        &network.checkpoint,
        &Recipe::imagenet(),
        Numbers::f32(Level::best()),
        cores,
    );
    let expected = plan.unwrap().forward(input).unwrap();
    let (number, tolerance) = number(row);
    let placement = Placement {
        number,
        ..one_lane(1)
    };
    let plan = network.plan(&placement);
    let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", row.name));
    let logits = plan.forward(input).unwrap();
    let error = difference(&logits, &expected);
    println!("{} in {}: {error:.1e}", row.name, number.name());
    assert!(error < tolerance, "{}: {error}", row.name);
    drop(plan);
    assert_eq!(counts().alive(), [], "{} leaks", row.name);
    assert_eq!(counts().violations, 0, "{}", row.name);
}

/// All rows for images of one size, on a processor's plan with one thread:
/// other tests run beside this one.
fn check_all(side: usize) {
    let cores = Cores::new(1).unwrap();
    let rows = FAMILY.iter().filter(|row| row.input == side);
    let checked = rows.map(|row| check(row, &cores)).count();
    assert!(checked > 10);
}

#[test]
fn every_row_for_imagenet_gives_the_processors_logits() {
    with_driver(
        "rows::every_row_for_imagenet_gives_the_processors_logits",
        || check_all(224),
    );
}

#[test]
fn every_row_for_cifar_gives_the_processors_logits() {
    with_driver(
        "rows::every_row_for_cifar_gives_the_processors_logits",
        || check_all(32),
    );
}
