//! A program with compiled kernels inside: which of them a card is given.

use crate::fake::{image, machine, with_driver};
use crate::networks::{Network, difference, one_lane};
use model::plan::Input;

/// What a card of each capability runs: the kernels compiled for it or for an
/// earlier one of the same generation, else the PTX, which is for 7.5.
const CARDS: [(i32, &str); 10] = [
    (75, "sm_75"),
    (80, "sm_80"),
    (86, "sm_86"),
    (87, "sm_86"),
    (89, "sm_89"),
    (90, "sm_90"),
    (100, "sm_100"),
    (103, "sm_100"),
    (110, "compute_75"),
    (121, "sm_120"),
];

#[test]
fn cubins_are_for_their_generation_and_other_cards_get_the_ptx() {
    with_driver(
        "cubins::cubins_are_for_their_generation_and_other_cards_get_the_ptx",
        || {
            let network = Network::new("cifar_resnet20", 16, 1);
            let expected = network.expected();
            for (capability, takes) in CARDS {
                machine(1, capability, 13_000, 16 << 30);
                let plan = network.plan(&one_lane(1)).unwrap();
                assert_eq!(image(), takes, "on {capability}");
                let logits = plan.forward(Input::Planes(&network.images)).unwrap();
                assert!(difference(&logits, &expected) < 1e-2, "on {capability}");
            }
        },
    );
}
