//! What fails ends as an error that names it, and loses nothing.

use crate::fake::{again_in, counts, reset, unplanned, with_driver};
use crate::networks::{Network, difference, one_lane};
use model::Tuning;
use model::cuda::Placement;
use model::plan::Input;

/// The smallest network of the family: its load is some thousand calls.
fn network() -> Network {
    Network::new("cifar_resnet20", 16, 1)
}

/// Lets loads fail at one call after another, `step` further each time (told
/// how many convolutions had run); gives how many failed and how many went on.
fn fail_loads(placement: &Placement, step: impl Fn(u64) -> u64) -> (u32, u32) {
    let network = network();
    let expected = network.expected();
    reset(None, false);
    drop(network.plan(placement).unwrap());
    let calls = counts().calls;
    assert!(calls > 500, "{calls}");
    let (mut failed, mut went_on, mut convolutions) = (0, 0, 0);
    let mut k = 0;
    while k < calls {
        reset(Some(k), false);
        match network.plan(placement) {
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("cuda:0"), "call {k}: {error}");
                // memory says what there is of it, or what batch it holds
                if error.contains("out of memory") {
                    let says = error.contains(" MB are free") || error.contains("batches of 1");
                    assert!(says, "call {k}: {error}");
                }
                convolutions = counts().convolutions;
                failed += 1;
            }
            // an engine that fails is passed over
            Ok(plan) => {
                reset(None, false);
                let logits = plan.forward(Input::Planes(&network.images)).unwrap();
                assert!(difference(&logits, &expected) < 1e-2, "call {k}");
                went_on += 1;
            }
        }
        assert_eq!(counts().alive(), [], "call {k} of {calls}");
        assert_eq!(counts().violations, 0, "call {k} of {calls}");
        k += step(convolutions);
    }
    println!("{calls} calls: {failed} loads failed, {went_on} went on");
    (failed, went_on)
}

#[test]
fn a_load_may_fail_at_every_call() {
    with_driver("faults::a_load_may_fail_at_every_call", || {
        let (failed, went_on) = fail_loads(&one_lane(1), |_| 1);
        assert!(failed > went_on);
    });
}

/// Every call until the engines of two convolutions have been measured; what
/// follows is the same for other shapes, and then a load without measuring.
#[test]
fn a_load_that_measures_may_fail_at_every_call() {
    with_driver(
        "faults::a_load_that_measures_may_fail_at_every_call",
        || {
            let measured = Placement {
                tuning: Tuning::Measure(None),
                ..one_lane(1)
            };
            // four engines of each do, and run seven times
            let two = 2 * 4 * 7;
            let step = |convolutions| if convolutions <= two { 1 } else { 7 };
            let (failed, went_on) = fail_loads(&measured, step);
            assert!(failed > 100 && went_on > 0);
        },
    );
}

#[test]
fn a_pass_may_fail_at_every_call_and_the_next_one_runs() {
    with_driver(
        "faults::a_pass_may_fail_at_every_call_and_the_next_one_runs",
        || {
            let network = network();
            let plan = network.plan(&one_lane(1)).unwrap();
            let pixels: Vec<u8> = (0..16 * 16 * 3).map(|i| (i % 256) as u8).collect();
            let images: [&[u8]; 1] = [&pixels];
            reset(None, false);
            let expected = plan.forward(Input::Pixels(&images)).unwrap();
            let (calls, before) = (counts().calls, counts());
            for k in 0..calls {
                reset(Some(k), false);
                let error = plan.forward(Input::Pixels(&images)).unwrap_err();
                assert!(error.to_string().contains("cuda:0"), "call {k}: {error}");
                // the lane was made again
                assert_eq!((plan.lanes(), plan.fault()), (1, None), "call {k}");
                assert_eq!(plan.forward(Input::Pixels(&images)).unwrap(), expected);
                assert_eq!(counts().alive(), before.alive(), "call {k} of {calls}");
            }
            drop(plan);
            assert_eq!(counts().alive(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

/// The pass fails at its first call, then the making of the new lane at each
/// of its own.
#[test]
fn a_lane_that_is_made_again_may_fail_at_every_call() {
    with_driver(
        "faults::a_lane_that_is_made_again_may_fail_at_every_call",
        || {
            let network = network();
            let planes = Input::Planes(&network.images);
            let mut plan = network.plan(&one_lane(1)).unwrap();
            let expected = plan.forward(planes).unwrap();
            let before = counts().alive();
            reset(Some(0), false);
            plan.forward(planes).unwrap_err();
            let calls = counts().calls;
            assert!(calls > 500, "{calls}");
            let (mut lost, mut made) = (0, 0);
            for j in 0..calls {
                reset(Some(0), false);
                again_in(j);
                let error = plan.forward(planes).unwrap_err().to_string();
                assert!(error.contains("cuda:0"), "call {j}: {error}");
                reset(None, false);
                if plan.lanes() == 1 {
                    assert_eq!(plan.fault(), None, "call {j}");
                    assert_eq!(plan.forward(planes).unwrap(), expected, "call {j}");
                    assert_eq!(counts().alive(), before, "call {j} of {calls}");
                    made += 1;
                } else {
                    assert_eq!(plan.lanes(), 0, "call {j}");
                    assert!(plan.fault().unwrap().contains("cuda:0"), "call {j}");
                    plan.forward(planes).unwrap_err();
                    drop(plan);
                    assert_eq!(counts().alive(), [], "call {j} of {calls}");
                    plan = network.plan(&one_lane(1)).unwrap();
                    lost += 1;
                }
                assert_eq!(counts().violations, 0, "call {j} of {calls}");
            }
            println!("{calls} calls: {lost} lanes lost, {made} made again");
            assert!(lost > 0 && made > 0);
        },
    );
}

#[test]
fn a_card_that_is_lost_is_told_and_takes_nothing_with_it() {
    with_driver(
        "faults::a_card_that_is_lost_is_told_and_takes_nothing_with_it",
        || {
            let network = network();
            let plan = network.plan(&one_lane(1)).unwrap();
            reset(Some(3), true);
            let planes = Input::Planes(&network.images);
            plan.forward(planes).unwrap_err();
            assert_eq!(plan.lanes(), 0);
            assert!(plan.fault().unwrap().contains("cuda:0"));
            let error = plan.forward(planes).unwrap_err().to_string();
            assert!(error.contains("no lane works"), "{error}");
            drop(plan);
            // its memory went with its context
            assert_eq!(counts().alive(), []);
            reset(None, false);
            let plan = network.plan(&one_lane(1)).unwrap();
            plan.forward(planes).unwrap();
        },
    );
}

#[test]
fn a_convolution_without_a_plan_is_named() {
    with_driver("faults::a_convolution_without_a_plan_is_named", || {
        let network = network();
        unplanned(true);
        for tuning in [Tuning::Guess, Tuning::Measure(None)] {
            let placement = Placement {
                tuning,
                ..one_lane(2)
            };
            let error = network.plan(&placement).err().unwrap().to_string();
            assert!(error.contains("cuda:0"), "{error}");
            assert!(error.contains("8x16x16 3x3/1 g1 16x16x16"), "{error}");
            assert_eq!(counts().alive(), []);
        }
        unplanned(false);
        let plan = network.plan(&one_lane(2)).unwrap();
        plan.forward(Input::Planes(&network.images)).unwrap();
        drop(plan);
        assert_eq!(counts().violations, 0);
    });
}
