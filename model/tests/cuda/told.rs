//! What a network on cards tells of itself: to `inspect`, and on its card.

use crate::fake::{counts, machine, with_driver, workspace};
use crate::networks::{Network, one_lane};
use model::cuda::Placement;
use model::{Cores, CudaOptions, DeviceChoice, Model, Options, Tuning};

#[test]
fn a_step_tells_its_engine_workspace_and_parts() {
    with_driver("told::a_step_tells_its_engine_workspace_and_parts", || {
        let network = Network::new("cifar_resnet20", 32, 1);
        let convolutions = |placement: &Placement| {
            let plan = network.plan(placement).unwrap();
            let steps = plan.steps().into_iter();
            let mut all: Vec<String> = steps.map(|step| step.runs_as).collect();
            assert_eq!(all[0], "pixels");
            all.retain(|runs_as| runs_as.starts_with("cudnn"));
            // 19 of 3x3, and the classifier
            assert_eq!(all.len(), 20);
            all.dedup();
            all
        };
        let measured = Placement {
            tuning: Tuning::Measure(None),
            ..one_lane(6)
        };
        assert_eq!(convolutions(&one_lane(6)), ["cudnn engine 0, 0.0 MB"]);
        // six images want more than 256 MiB, three do not
        workspace(50 << 20);
        let halves = ["cudnn engine 0, 157.3 MB, 2 parts"];
        assert_eq!(convolutions(&one_lane(6)), halves);
        // the driver's second engine is its fastest
        let halves = ["cudnn engine 1, 157.3 MB, 2 parts"];
        assert_eq!(convolutions(&measured), halves);
        assert_eq!(counts().alive(), []);
    });
}

#[test]
fn the_kernels_instruction_set_is_the_compute_capability() {
    with_driver(
        "told::the_kernels_instruction_set_is_the_compute_capability",
        || {
            let network = Network::new("cifar_resnet20", 32, 1);
            let cores = Cores::new(1).unwrap();
            for (cards, capability, isa) in [
                (vec![0], 89, "sm_89"),
                (vec![0, 1], 90, "sm_90"),
                (vec![1], 120, "sm_120"),
            ] {
                machine(2, capability, 13_000, 16 << 30);
                let options = Options {
                    device: DeviceChoice::Cuda(cards),
                    cuda: CudaOptions {
                        lanes: 1,
                        largest_batch: 1,
                        tuning: Tuning::Guess,
                    },
                    ..Options::default()
                };
                let model = Model::load(&network.checkpoint, &options, &cores).unwrap();
                assert_eq!(model.card().isa, isa);
            }
        },
    );
}
