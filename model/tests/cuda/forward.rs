//! Forward passes: their allocations, synchronizations and graph replays; batch
//! sizes, streams and several GPUs; deferred execution.

use crate::fake_driver::{counts, defer, reset, with_driver, workspace};
use crate::networks::{CLASSES, Network, difference, forward, one_stream};
use resnet_model::cuda::Placement;
use resnet_model::{Backend, Input, Tuning};

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
fn a_forward_pass_allocates_nothing_and_synchronizes_once() {
    with_driver(
        "forward::a_forward_pass_allocates_nothing_and_synchronizes_once",
        || {
            let network = Network::new("cifar_resnet20", 32, 1);
            let plan = network.plan(&one_stream(4)).unwrap();
            let pixels = pixels(32, 3);
            let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
            let first = forward(&plan, Input::Pixels(&images)).unwrap();
            let before = counts();
            reset(None, false);
            // deferred, because a wait for completed work is not counted
            defer(true);
            assert_eq!(forward(&plan, Input::Pixels(&images)).unwrap(), first);
            let after = counts();
            defer(false);
            assert_eq!(after.live_objects(), before.live_objects());
            assert_eq!((after.allocations, after.waits), (0, 1));
            assert_eq!((after.uploads, after.downloads), (1, 1));
            // one launch converts the pixels; the graph runs everything else
            assert_eq!((after.launches, after.replays), (1, 1));
            assert!(after.calls < 30, "{after:?}");
            let usage = plan.take_usage().unwrap();
            assert!(usage.compute > std::time::Duration::ZERO);
            let usage = plan.take_usage().unwrap();
            let zero = std::time::Duration::ZERO;
            assert_eq!((usage.upload, usage.compute), (zero, zero));
        },
    );
}

#[test]
fn images_are_copied_eight_at_a_time() {
    with_driver("forward::images_are_copied_eight_at_a_time", || {
        let network = Network::new("cifar_resnet20", 16, 1);
        let plan = network.plan(&one_stream(19)).unwrap();
        let pixels = pixels(16, 19);
        let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
        let one_by_one = images
            .iter()
            .map(|image| forward(&plan, Input::Pixels(&[image])).unwrap());
        let one_by_one = one_by_one.collect::<Vec<_>>().concat();
        for (n, copies) in [(1, 1), (8, 1), (9, 2), (16, 2), (19, 3)] {
            reset(None, false);
            let logits = forward(&plan, Input::Pixels(&images[..n])).unwrap();
            assert_eq!(counts().uploads, copies, "{n} images");
            assert_eq!(logits, one_by_one[..n * CLASSES], "{n} images");
        }
    });
}

#[test]
fn every_batch_size_gives_correct_logits() {
    with_driver("forward::every_batch_size_gives_correct_logits", || {
        let network = Network::new("cifar_resnet20", 32, 11);
        let plan = network.plan(&one_stream(6)).unwrap();
        let expected = network.expected();
        // buckets of 1, 2, 4 and 6; larger batches run in parts
        for n in [1, 2, 3, 4, 5, 6, 7, 11, 1] {
            let images = &network.images[..n * 3 * 32 * 32];
            let logits = forward(&plan, Input::Planes(images)).unwrap();
            let error = difference(&logits, &expected[..n * CLASSES]);
            assert!(error < 1e-2, "batch {n}: {error}");
        }
        assert!(forward(&plan, Input::Pixels(&[])).unwrap().is_empty());
        let error = forward(&plan, Input::Pixels(&[&[0; 5]])).unwrap_err();
        assert!(error.to_string().contains("5 values"), "{error}");
    });
}

#[test]
fn a_batch_above_the_workspace_limit_runs_in_parts() {
    with_driver(
        "forward::a_batch_above_the_workspace_limit_runs_in_parts",
        || {
            let network = Network::new("cifar_resnet20", 32, 6);
            let expected = network.expected();
            let convolutions = |placement: &Placement| {
                let plan = network.plan(placement).unwrap();
                reset(None, false);
                let logits = forward(&plan, Input::Planes(&network.images)).unwrap();
                assert!(difference(&logits, &expected) < 1e-2);
                counts().convolutions
            };
            let measured = Placement {
                tuning: Tuning::Measure(None),
                ..one_stream(6)
            };
            let whole = convolutions(&one_stream(6));
            // The limit is 256 MiB. Six images need 600 MiB, three need 300, one needs
            // 100.
            workspace(100 << 20);
            assert_eq!(convolutions(&one_stream(6)), 6 * whole);
            // three images need 240 MiB
            workspace(80 << 20);
            assert_eq!(convolutions(&one_stream(6)), 2 * whole);
            // a single image may exceed the limit; no engine is measured then
            workspace(300 << 20);
            assert_eq!(convolutions(&measured), 6 * whole);
            assert_eq!(counts().live_objects(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

#[test]
fn deferred_execution_gives_the_same_logits() {
    with_driver("forward::deferred_execution_gives_the_same_logits", || {
        let network = Network::new("seresnet50", 32, 3);
        defer(true);
        let plan = network.plan(&one_stream(4)).unwrap();
        let expected = network.expected();
        for _ in 0..2 {
            let logits = forward(&plan, Input::Planes(&network.images)).unwrap();
            assert!(difference(&logits, &expected) < 1e-2);
        }
        let pixels = pixels(32, 4);
        let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
        let deferred = forward(&plan, Input::Pixels(&images)).unwrap();
        let reversed: Vec<&[u8]> = images.iter().rev().copied().collect();
        forward(&plan, Input::Pixels(&reversed)).unwrap();
        defer(false);
        assert_eq!(forward(&plan, Input::Pixels(&images)).unwrap(), deferred);
        drop(plan);
        assert_eq!(counts().live_objects(), []);
        assert_eq!(counts().violations, 0);
    });
}

#[test]
fn a_thousand_passes_on_two_gpus_leak_nothing() {
    with_driver(
        "forward::a_thousand_passes_on_two_gpus_leak_nothing",
        || {
            let network = Network::new("cifar_resnet20", 32, 1);
            let placement = Placement {
                gpus: vec![0, 1],
                streams: 2,
                ..one_stream(1)
            };
            let plan = network.plan(&placement).unwrap();
            assert_eq!(plan.streams(), 4);
            let names: Vec<&str> = plan.gpus().iter().map(|c| c.name.as_str()).collect();
            assert_eq!(names, ["Fake 0", "Fake 1"]);
            let expected = network.expected();
            let before = counts();
            std::thread::scope(|scope| {
                for _ in 0..5 {
                    scope.spawn(|| {
                        for _ in 0..200 {
                            let logits = forward(&plan, Input::Planes(&network.images)).unwrap();
                            assert!(difference(&logits, &expected) < 1e-2);
                        }
                    });
                }
            });
            let after = counts();
            assert_eq!(after.live_objects(), before.live_objects());
            assert_eq!(after.bytes, before.bytes);
            drop(plan);
            assert_eq!(counts().live_objects(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

#[test]
fn every_step_is_timed_once_in_order() {
    with_driver("forward::every_step_is_timed_once_in_order", || {
        let network = Network::new("resnetv2_50x1_bit", 32, 1);
        let plan = network.plan(&one_stream(1)).unwrap();
        let mut steps = Vec::new();
        let output = plan
            .forward_timed(&network.images, &mut |step, _| steps.push(step))
            .unwrap();
        assert_eq!(
            output.logits,
            forward(&plan, Input::Planes(&network.images)).unwrap()
        );
        assert_eq!(steps, (0..steps.len()).collect::<Vec<_>>());
        let fused = resnet_model::fuse::fuse(&network.graph).unwrap();
        assert_eq!(steps.len(), fused.len());
    });
}

#[test]
fn the_fastest_engine_is_measured_once_and_stored() {
    with_driver(
        "forward::the_fastest_engine_is_measured_once_and_stored",
        || {
            let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("tuned-{}", std::process::id()));
            let network = Network::new("cifar_resnet20", 32, 1);
            let expected = network.expected();
            let placement = Placement {
                streams: 2,
                tuning: Tuning::Measure(Some(folder.clone())),
                ..one_stream(2)
            };
            let load = || {
                reset(None, false);
                let plan = network.plan(&placement).unwrap();
                let convolutions = counts().convolutions;
                let logits = forward(&plan, Input::Planes(&network.images)).unwrap();
                assert!(difference(&logits, &expected) < 1e-2);
                convolutions
            };
            let (first, second) = (load(), load());
            assert!(first > 2 * second, "{first}, {second}");
            let files: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
            assert_eq!(files.len(), 1, "{files:?}");
            let file = files[0].as_ref().unwrap();
            let name = file.file_name().into_string().unwrap();
            assert_eq!(name, "cudnn-92100-Fake-0.tsv");
            let text = std::fs::read_to_string(file.path()).unwrap();
            // the second engine of the fake cuDNN is the fastest
            assert!(text.lines().count() > 10 && text.lines().all(|l| l.ends_with("\t1")));
            std::fs::remove_dir_all(folder).unwrap();
            assert_eq!(counts().live_objects(), []);
        },
    );
}
