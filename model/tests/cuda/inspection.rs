//! The information about a loaded network: the engine of every step, and the ISA of
//! the model.

use crate::fake_driver::{counts, machine, with_driver, workspace};
use crate::networks::{Network, one_stream};
use resnet_model::cuda::Placement;
use resnet_model::{Backend, Choice, CudaOptions, Device, Model, Options, ThreadPool, Tuning};

#[test]
fn a_step_reports_its_engine_workspace_and_parts() {
    with_driver(
        "inspection::a_step_reports_its_engine_workspace_and_parts",
        || {
            let network = Network::new("cifar_resnet20", 32, 1);
            let convolutions = |placement: &Placement| {
                let plan = network.plan(placement).unwrap();
                let steps = plan.steps().into_iter();
                let mut all: Vec<String> = steps.map(|step| step.runs_as).collect();
                assert_eq!(all[0], "pixels");
                all.retain(|runs_as| runs_as.starts_with("cudnn"));
                // 19 convolutions with 3x3 kernels, and the classifier
                assert_eq!(all.len(), 20);
                all.dedup();
                all
            };
            let measured = Placement {
                tuning: Tuning::Measure(None),
                ..one_stream(6)
            };
            assert_eq!(convolutions(&one_stream(6)), ["cudnn engine 0, 0.0 MB"]);
            // six images exceed the limit of 256 MiB, three do not
            workspace(50 << 20);
            let halves = ["cudnn engine 0, 157.3 MB, 2 parts"];
            assert_eq!(convolutions(&one_stream(6)), halves);
            // the second engine of the fake cuDNN is the fastest
            let halves = ["cudnn engine 1, 157.3 MB, 2 parts"];
            assert_eq!(convolutions(&measured), halves);
            assert_eq!(counts().live_objects(), []);
        },
    );
}

#[test]
fn the_models_isa_is_the_compute_capability() {
    with_driver(
        "inspection::the_models_isa_is_the_compute_capability",
        || {
            let network = Network::new("cifar_resnet20", 32, 1);
            let threads = ThreadPool::new(1).unwrap();
            for (gpus, capability, isa) in [
                (vec![0], 89, "sm_89"),
                (vec![0, 1], 90, "sm_90"),
                (vec![1], 120, "sm_120"),
            ] {
                machine(2, capability, 13_000, 16 << 30);
                let options = Options {
                    device: Choice::Named(Device::Cuda(gpus)),
                    cuda: CudaOptions {
                        streams: 1,
                        largest_batch: 1,
                        tuning: Tuning::Guess,
                    },
                    ..Options::default()
                };
                let model = Model::load(&network.checkpoint, &options, &threads).unwrap();
                assert_eq!(model.info().isa, isa);
            }
        },
    );
}
