//! How a forward pass runs: what it allocates, waits for and replays; batches,
//! lanes and cards; work that is late.

use crate::fake::{counts, defer, reset, with_driver, workspace};
use crate::networks::{CLASSES, Network, difference, one_lane};
use model::Tuning;
use model::cuda::Placement;
use model::plan::Input;

fn pixels(size: usize, n: usize) -> Vec<Vec<u8>> {
    (0..n)
        .map(|n| {
            (0..size * size * 3)
                .map(|i| ((i * 7 + n * 31) % 256) as u8)
                .collect()
        })
        .collect()
}

#[test]
fn a_forward_pass_allocates_nothing_and_waits_once() {
    with_driver(
        "running::a_forward_pass_allocates_nothing_and_waits_once",
        || {
            let network = Network::new("cifar_resnet20", 32, 1);
            let plan = network.plan(&one_lane(4)).unwrap();
            let pixels = pixels(32, 3);
            let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
            let first = plan.forward(Input::Pixels(&images)).unwrap();
            let before = counts();
            reset(None, false);
            // so that a wait is one: else everything is done at once
            defer(true);
            assert_eq!(plan.forward(Input::Pixels(&images)).unwrap(), first);
            let after = counts();
            defer(false);
            assert_eq!(after.alive(), before.alive());
            assert_eq!((after.allocations, after.waits), (0, 1));
            assert_eq!((after.uploads, after.downloads), (1, 1));
            // the pixels' kernel; everything else is the graph's
            assert_eq!((after.launches, after.replays), (1, 1));
            assert!(after.calls < 30, "{after:?}");
            let usage = plan.take_usage();
            assert!(usage.compute > std::time::Duration::ZERO);
            assert_eq!(plan.take_usage(), model::cuda::Usage::default());
        },
    );
}

#[test]
fn images_are_copied_eight_at_a_time() {
    with_driver("running::images_are_copied_eight_at_a_time", || {
        let network = Network::new("cifar_resnet20", 16, 1);
        let plan = network.plan(&one_lane(19)).unwrap();
        let pixels = pixels(16, 19);
        let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
        let alone = images
            .iter()
            .map(|image| plan.forward(Input::Pixels(&[image])).unwrap());
        let alone = alone.collect::<Vec<_>>().concat();
        for (n, copies) in [(1, 1), (8, 1), (9, 2), (16, 2), (19, 3)] {
            reset(None, false);
            let logits = plan.forward(Input::Pixels(&images[..n])).unwrap();
            assert_eq!(counts().uploads, copies, "{n} images");
            assert_eq!(logits, alone[..n * CLASSES], "{n} images");
        }
    });
}

#[test]
fn batches_of_every_size_give_each_image_its_own_logits() {
    with_driver(
        "running::batches_of_every_size_give_each_image_its_own_logits",
        || {
            let network = Network::new("cifar_resnet20", 32, 11);
            let plan = network.plan(&one_lane(6)).unwrap();
            let expected = network.expected();
            // in buckets of 1, 2, 4 and 6, and in parts above
            for n in [1, 2, 3, 4, 5, 6, 7, 11, 1] {
                let images = &network.images[..n * 3 * 32 * 32];
                let logits = plan.forward(Input::Planes(images)).unwrap();
                let error = difference(&logits, &expected[..n * CLASSES]);
                assert!(error < 1e-2, "batch {n}: {error}");
            }
            assert!(plan.forward(Input::Pixels(&[])).unwrap().is_empty());
            let error = plan.forward(Input::Pixels(&[&[0; 5]])).unwrap_err();
            assert!(error.to_string().contains("5 values"), "{error}");
        },
    );
}

#[test]
fn a_batch_that_wants_too_much_workspace_runs_in_parts() {
    with_driver(
        "running::a_batch_that_wants_too_much_workspace_runs_in_parts",
        || {
            let network = Network::new("cifar_resnet20", 32, 6);
            let expected = network.expected();
            let convolutions = |placement: &Placement| {
                let plan = network.plan(placement).unwrap();
                reset(None, false);
                let logits = plan.forward(Input::Planes(&network.images)).unwrap();
                assert!(difference(&logits, &expected) < 1e-2);
                counts().convolutions
            };
            let measured = Placement {
                tuning: Tuning::Measure(None),
                ..one_lane(6)
            };
            let whole = convolutions(&one_lane(6));
            // of the 256 MiB that a plan may want: six, three, then one
            workspace(100 << 20);
            assert_eq!(convolutions(&one_lane(6)), 6 * whole);
            // three at a time
            workspace(80 << 20);
            assert_eq!(convolutions(&one_lane(6)), 2 * whole);
            // one image wants more than that, and gets it; nothing is measured
            workspace(300 << 20);
            assert_eq!(convolutions(&measured), 6 * whole);
            assert_eq!(counts().alive(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

#[test]
fn work_that_runs_late_changes_nothing() {
    with_driver("running::work_that_runs_late_changes_nothing", || {
        let network = Network::new("seresnet50", 32, 3);
        defer(true);
        let plan = network.plan(&one_lane(4)).unwrap();
        let expected = network.expected();
        for _ in 0..2 {
            let logits = plan.forward(Input::Planes(&network.images)).unwrap();
            assert!(difference(&logits, &expected) < 1e-2);
        }
        let pixels = pixels(32, 4);
        let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
        let late = plan.forward(Input::Pixels(&images)).unwrap();
        let backwards: Vec<&[u8]> = images.iter().rev().copied().collect();
        plan.forward(Input::Pixels(&backwards)).unwrap();
        defer(false);
        assert_eq!(plan.forward(Input::Pixels(&images)).unwrap(), late);
        drop(plan);
        assert_eq!(counts().alive(), []);
        assert_eq!(counts().violations, 0);
    });
}

#[test]
fn a_thousand_passes_on_two_cards_leak_nothing() {
    with_driver(
        "running::a_thousand_passes_on_two_cards_leak_nothing",
        || {
            let network = Network::new("cifar_resnet20", 32, 1);
            let placement = Placement {
                cards: vec![0, 1],
                lanes: 2,
                ..one_lane(1)
            };
            let plan = network.plan(&placement).unwrap();
            assert_eq!(plan.lanes(), 4);
            let names: Vec<&str> = plan.cards().iter().map(|c| c.name.as_str()).collect();
            assert_eq!(names, ["Fake 0", "Fake 1"]);
            let expected = network.expected();
            let before = counts();
            std::thread::scope(|scope| {
                for _ in 0..5 {
                    scope.spawn(|| {
                        for _ in 0..200 {
                            let logits = plan.forward(Input::Planes(&network.images)).unwrap();
                            assert!(difference(&logits, &expected) < 1e-2);
                        }
                    });
                }
            });
            let after = counts();
            assert_eq!(after.alive(), before.alive());
            assert_eq!(after.bytes, before.bytes);
            drop(plan);
            assert_eq!(counts().alive(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

#[test]
fn steps_are_observed_one_by_one() {
    with_driver("running::steps_are_observed_one_by_one", || {
        let network = Network::new("resnetv2_50x1_bit", 32, 1);
        let plan = network.plan(&one_lane(1)).unwrap();
        let mut steps = Vec::new();
        let logits = plan
            .forward_timed(&network.images, &mut |step, _| steps.push(step))
            .unwrap();
        assert_eq!(
            logits,
            plan.forward(Input::Planes(&network.images)).unwrap()
        );
        assert_eq!(steps, (0..steps.len()).collect::<Vec<_>>());
        let fused = model::fuse::fuse(&network.graph).unwrap();
        assert_eq!(steps.len(), fused.len());
    });
}

#[test]
fn the_fastest_engine_is_measured_once_and_kept() {
    with_driver(
        "running::the_fastest_engine_is_measured_once_and_kept",
        || {
            let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("tuned-{}", std::process::id()));
            let network = Network::new("cifar_resnet20", 32, 1);
            let expected = network.expected();
            let placement = Placement {
                lanes: 2,
                tuning: Tuning::Measure(Some(folder.clone())),
                ..one_lane(2)
            };
            let load = || {
                reset(None, false);
                let plan = network.plan(&placement).unwrap();
                let convolutions = counts().convolutions;
                let logits = plan.forward(Input::Planes(&network.images)).unwrap();
                assert!(difference(&logits, &expected) < 1e-2);
                convolutions
            };
            let (measuring, knowing) = (load(), load());
            assert!(measuring > 2 * knowing, "{measuring}, {knowing}");
            let files: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
            assert_eq!(files.len(), 1, "{files:?}");
            let file = files[0].as_ref().unwrap();
            let name = file.file_name().into_string().unwrap();
            assert_eq!(name, "cudnn-92100-Fake-0.tsv");
            let text = std::fs::read_to_string(file.path()).unwrap();
            // the driver's second engine is its fastest
            assert!(text.lines().count() > 10 && text.lines().all(|l| l.ends_with("\t1")));
            std::fs::remove_dir_all(folder).unwrap();
            assert_eq!(counts().alive(), []);
        },
    );
}
