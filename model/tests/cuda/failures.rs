//! Lets single driver and cuDNN calls fail. Each failure is reported as an error,
//! and no memory or object is leaked.

use crate::fake_driver::{counts, fail_again_in, reject_plans, reset, with_driver};
use crate::networks::{Network, difference, forward, one_stream};
use resnet_model::cuda::Placement;
use resnet_model::{Backend, Input, Tuning};

/// The smallest network of the family; loading it takes a few thousand calls.
fn network() -> Network {
    Network::new("cifar_resnet20", 16, 1)
}

/// Loads a network repeatedly. In each load, call `k` fails. `k` starts at 0 and
/// increases by the result of `step`, whose argument is the number of convolutions
/// that ran. Returns how many loads failed, and how many succeeded in spite of the
/// failed call.
fn fail_loads(placement: &Placement, step: impl Fn(u64) -> u64) -> (u32, u32) {
    let network = network();
    let expected = network.expected();
    reset(None, false);
    drop(network.plan(placement).unwrap());
    let calls = counts().calls;
    assert!(calls > 500, "{calls}");
    let (mut failed, mut succeeded, mut convolutions) = (0, 0, 0);
    let mut k = 0;
    while k < calls {
        reset(Some(k), false);
        match network.plan(placement) {
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("cuda:0"), "call {k}: {error}");
                // an out-of-memory error states the free memory or the largest batch
                if error.contains("out of memory") {
                    let states_a_limit =
                        error.contains(" MB are free") || error.contains("batches of 1");
                    assert!(states_a_limit, "call {k}: {error}");
                }
                convolutions = counts().convolutions;
                failed += 1;
            }
            // the load succeeds because an engine that fails is skipped
            Ok(plan) => {
                reset(None, false);
                let logits = forward(&plan, Input::Planes(&network.images)).unwrap();
                assert!(difference(&logits, &expected) < 1e-2, "call {k}");
                succeeded += 1;
            }
        }
        assert_eq!(counts().live_objects(), [], "call {k} of {calls}");
        assert_eq!(counts().violations, 0, "call {k} of {calls}");
        k += step(convolutions);
    }
    println!("{calls} calls: {failed} loads failed, {succeeded} succeeded");
    (failed, succeeded)
}

#[test]
fn a_load_handles_a_failure_of_any_call() {
    with_driver("failures::a_load_handles_a_failure_of_any_call", || {
        let (failed, succeeded) = fail_loads(&one_stream(1), |_| 1);
        assert!(failed > succeeded);
    });
}

/// Every call fails once until the engines of two convolutions have been measured,
/// and then every seventh call. The remaining calls run the same code for other
/// shapes.
#[test]
fn a_load_that_measures_engines_handles_a_failure_of_any_call() {
    with_driver(
        "failures::a_load_that_measures_engines_handles_a_failure_of_any_call",
        || {
            let measured = Placement {
                tuning: Tuning::Measure(None),
                ..one_stream(1)
            };
            // each of four engines of a convolution runs seven times
            let two = 2 * 4 * 7;
            let step = |convolutions| if convolutions <= two { 1 } else { 7 };
            let (failed, succeeded) = fail_loads(&measured, step);
            assert!(failed > 100 && succeeded > 0);
        },
    );
}

#[test]
fn a_pass_reports_a_failure_of_any_call_and_the_next_one_succeeds() {
    with_driver(
        "failures::a_pass_reports_a_failure_of_any_call_and_the_next_one_succeeds",
        || {
            let network = network();
            let plan = network.plan(&one_stream(1)).unwrap();
            let pixels: Vec<u8> = (0..16 * 16 * 3).map(|i| (i % 256) as u8).collect();
            let images: [&[u8]; 1] = [&pixels];
            reset(None, false);
            let expected = forward(&plan, Input::Pixels(&images)).unwrap();
            let (calls, before) = (counts().calls, counts());
            for k in 0..calls {
                reset(Some(k), false);
                let error = forward(&plan, Input::Pixels(&images)).unwrap_err();
                assert!(error.to_string().contains("cuda:0"), "call {k}: {error}");
                // the stream was recreated
                assert_eq!((plan.streams(), plan.failure()), (1, None), "call {k}");
                assert_eq!(forward(&plan, Input::Pixels(&images)).unwrap(), expected);
                assert_eq!(
                    counts().live_objects(),
                    before.live_objects(),
                    "call {k} of {calls}"
                );
            }
            drop(plan);
            assert_eq!(counts().live_objects(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

/// The first call of a pass fails, and then one call while the stream is
/// recreated.
#[test]
fn recreating_a_stream_handles_a_failure_of_any_call() {
    with_driver(
        "failures::recreating_a_stream_handles_a_failure_of_any_call",
        || {
            let network = network();
            let planes = Input::Planes(&network.images);
            let mut plan = network.plan(&one_stream(1)).unwrap();
            let expected = forward(&plan, planes).unwrap();
            let before = counts().live_objects();
            reset(Some(0), false);
            forward(&plan, planes).unwrap_err();
            let calls = counts().calls;
            assert!(calls > 500, "{calls}");
            let (mut lost, mut recreated) = (0, 0);
            for j in 0..calls {
                reset(Some(0), false);
                fail_again_in(j);
                let error = forward(&plan, planes).unwrap_err().to_string();
                assert!(error.contains("cuda:0"), "call {j}: {error}");
                reset(None, false);
                if plan.streams() == 1 {
                    assert_eq!(plan.failure(), None, "call {j}");
                    assert_eq!(forward(&plan, planes).unwrap(), expected, "call {j}");
                    assert_eq!(counts().live_objects(), before, "call {j} of {calls}");
                    recreated += 1;
                } else {
                    assert_eq!(plan.streams(), 0, "call {j}");
                    assert!(plan.failure().unwrap().contains("cuda:0"), "call {j}");
                    forward(&plan, planes).unwrap_err();
                    drop(plan);
                    assert_eq!(counts().live_objects(), [], "call {j} of {calls}");
                    plan = network.plan(&one_stream(1)).unwrap();
                    lost += 1;
                }
                assert_eq!(counts().violations, 0, "call {j} of {calls}");
            }
            println!("{calls} calls: {lost} streams lost, {recreated} recreated");
            assert!(lost > 0 && recreated > 0);
        },
    );
}

#[test]
fn a_lost_gpu_is_reported_and_leaks_nothing() {
    with_driver("failures::a_lost_gpu_is_reported_and_leaks_nothing", || {
        let network = network();
        let plan = network.plan(&one_stream(1)).unwrap();
        reset(Some(3), true);
        let planes = Input::Planes(&network.images);
        forward(&plan, planes).unwrap_err();
        assert_eq!(plan.streams(), 0);
        assert!(plan.failure().unwrap().contains("cuda:0"));
        let error = forward(&plan, planes).unwrap_err().to_string();
        assert!(error.contains("no CUDA stream is usable"), "{error}");
        drop(plan);
        // the memory was freed with the context
        assert_eq!(counts().live_objects(), []);
        reset(None, false);
        let plan = network.plan(&one_stream(1)).unwrap();
        forward(&plan, planes).unwrap();
    });
}

#[test]
fn the_error_names_a_convolution_without_a_plan() {
    with_driver(
        "failures::the_error_names_a_convolution_without_a_plan",
        || {
            let network = network();
            reject_plans(true);
            for tuning in [Tuning::Guess, Tuning::Measure(None)] {
                let placement = Placement {
                    tuning,
                    ..one_stream(2)
                };
                let error = network.plan(&placement).err().unwrap().to_string();
                assert!(error.contains("cuda:0"), "{error}");
                assert!(error.contains("8x16x16 3x3/1 g1 16x16x16"), "{error}");
                assert_eq!(counts().live_objects(), []);
            }
            reject_plans(false);
            let plan = network.plan(&one_stream(2)).unwrap();
            forward(&plan, Input::Planes(&network.images)).unwrap();
            drop(plan);
            assert_eq!(counts().violations, 0);
        },
    );
}
