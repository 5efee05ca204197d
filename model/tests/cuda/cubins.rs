//! Builds with the feature `cubins`: which kernel image is loaded on which GPU.

use crate::fake_driver::{loaded_image, machine, with_driver};
use crate::networks::{Network, difference, forward, one_stream};
use resnet_model::Input;

/// Compute capabilities (times ten) and the image that is loaded. It is the machine
/// code for the same or an earlier capability of the same generation, or the PTX
/// for 7.5 if there is none.
const EXPECTED_IMAGES: [(i32, &str); 10] = [
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
fn a_gpu_runs_cubins_of_its_generation_or_the_ptx() {
    with_driver(
        "cubins::a_gpu_runs_cubins_of_its_generation_or_the_ptx",
        || {
            let network = Network::new("cifar_resnet20", 16, 1);
            let expected = network.expected();
            for (capability, image) in EXPECTED_IMAGES {
                machine(1, capability, 13_000, 16 << 30);
                let plan = network.plan(&one_stream(1)).unwrap();
                assert_eq!(loaded_image(), image, "capability {capability}");
                let logits = forward(&plan, Input::Planes(&network.images)).unwrap();
                assert!(
                    difference(&logits, &expected) < 1e-2,
                    "capability {capability}"
                );
            }
        },
    );
}
