//! Loads a small version of every architecture of the table with the smallest
//! suitable input size, and compares its logits with those of the CPU.

use crate::fake_driver::{counts, with_driver};
use crate::networks::{Network, difference, forward, one_stream};
use crate::small;
use resnet_model::cuda::Placement;
use resnet_model::family::{Architecture, Norm};
use resnet_model::plan::{CpuConfig, CpuPlan};
use resnet_model::{Dtype, Input, SupportedIsa, ThreadPool};
use weights::Preprocessing;

/// Input size. ImageNet networks halve the size five times, which reduces 32 to 1.
/// CIFAR networks halve it twice, which reduces 16 to 4. With group norm the last
/// feature map must have more than one pixel, because a group norm over a single
/// pixel amplifies rounding errors.
fn side(row: &Architecture) -> usize {
    match (row.norm, row.input) {
        (Norm::Group, _) => 64,
        (_, 32) => 16,
        _ => 32,
    }
}

/// The dtype and its tolerance, relative to the largest logit.
fn dtype_and_tolerance(row: &Architecture) -> (Dtype, f32) {
    match row.norm {
        // the residual is not normalized: see `logits`
        Norm::Group => (Dtype::F16, 8e-2),
        Norm::Batch => (Dtype::F16, 4e-3),
    }
}

fn check(row: &Architecture, threads: &ThreadPool) {
    let network = Network::of(row, side(row), 1);
    let input = Input::Planes(&network.images);
    let plan = CpuPlan::new(
        &network.graph,
        &network.checkpoint,
        &Preprocessing::imagenet(),
        CpuConfig::f32(SupportedIsa::best()),
        threads,
    );
    let expected = forward(&plan.unwrap(), input).unwrap();
    let (dtype, tolerance) = dtype_and_tolerance(row);
    let placement = Placement {
        dtype,
        ..one_stream(1)
    };
    let plan = network.plan(&placement);
    let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", row.name));
    let logits = forward(&plan, input).unwrap();
    let error = difference(&logits, &expected);
    println!("{} in {}: {error:.1e}", row.name, dtype.name());
    assert!(error < tolerance, "{}: {error}", row.name);
    drop(plan);
    assert_eq!(counts().live_objects(), [], "{} leaks", row.name);
    assert_eq!(counts().violations, 0, "{}", row.name);
}

/// Checks all architectures whose default input size is `side`. The CPU plan
/// uses one thread, because other tests run at the same time.
fn check_all(side: usize) {
    let threads = ThreadPool::new(1).unwrap();
    let rows = small::distinct();
    let rows = rows.into_iter().filter(|row| row.input == side);
    let checked = rows.map(|row| check(row, &threads)).count();
    assert!(checked > 0, "no architecture has the input size {side}");
}

#[test]
fn every_imagenet_architecture_matches_the_cpu() {
    with_driver(
        "architectures::every_imagenet_architecture_matches_the_cpu",
        || check_all(224),
    );
}

#[test]
fn every_cifar_architecture_matches_the_cpu() {
    with_driver(
        "architectures::every_cifar_architecture_matches_the_cpu",
        || check_all(32),
    );
}
