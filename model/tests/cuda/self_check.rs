//! The self-check rejects a GPU whose kernels compute wrong results.

use crate::fake_driver::{counts, machine, with_driver, wrong_convolutions};
use crate::networks::{Network, difference};
use resnet_model::{
    Choice, CudaOptions, Device, Error, Model, Options, Outputs, Result, SelfCheck, ThreadPool,
    Tuning,
};

fn options(device: Choice<Device>) -> Options {
    Options {
        device,
        cuda: CudaOptions {
            streams: 1,
            largest_batch: 2,
            tuning: Tuning::Guess,
        },
        ..Options::default()
    }
}

fn named() -> Options {
    options(Choice::Named(Device::Cuda(vec![0])))
}

/// Loads a small network.
fn load(options: &Options) -> Result<Model> {
    let checkpoint = Network::new("cifar_resnet20", 32, 1).checkpoint;
    Model::load(&checkpoint, options, &ThreadPool::new(1).unwrap())
}

/// The logits of one image.
fn logits(model: &Model) -> Vec<f32> {
    let pixels: Vec<u8> = (0..32 * 32 * 3).map(|i| (i * 7 % 256) as u8).collect();
    model.forward(&[&pixels], Outputs::LOGITS).unwrap().logits
}

#[test]
fn a_gpu_with_correct_results_passes() {
    with_driver("self_check::a_gpu_with_correct_results_passes", || {
        for options in [named(), options(Choice::Auto)] {
            let model = load(&options).unwrap();
            assert_eq!(model.info().device, Device::Cuda(vec![0]));
        }
    });
}

#[test]
fn a_named_gpu_that_computes_wrong_logits_is_an_error_with_the_difference() {
    with_driver(
        "self_check::a_named_gpu_that_computes_wrong_logits_is_an_error_with_the_difference",
        || {
            wrong_convolutions(true);
            let error = load(&named()).err().unwrap();
            let Error::SelfCheck {
                difference,
                tolerance,
                ..
            } = error
            else {
                panic!("{error}");
            };
            assert!(tolerance < 0.02 && difference > tolerance, "{error}");
            let text = error.to_string();
            for part in [
                "fused on cuda:0, f16, sm_90",
                "of the largest logit",
                "1e-2",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert_eq!(counts().live_objects(), []);
        },
    );
}

#[test]
fn auto_uses_the_cpu_if_the_gpu_computes_wrong_logits() {
    with_driver(
        "self_check::auto_uses_the_cpu_if_the_gpu_computes_wrong_logits",
        || {
            let cpu = load(&options(Choice::Named(Device::Cpu))).unwrap();
            wrong_convolutions(true);
            let model = load(&options(Choice::Auto)).unwrap();
            assert_eq!(model.info().device, Device::Cpu);
            assert_eq!(logits(&model), logits(&cpu));
            assert_eq!(counts().live_objects(), []);
        },
    );
}

#[test]
fn a_gpu_with_wrong_results_is_used_if_the_self_check_is_off() {
    with_driver(
        "self_check::a_gpu_with_wrong_results_is_used_if_the_self_check_is_off",
        || {
            let cpu = load(&options(Choice::Named(Device::Cpu))).unwrap();
            wrong_convolutions(true);
            let unchecked = Options {
                self_check: SelfCheck::Off,
                ..named()
            };
            let model = load(&unchecked).unwrap();
            assert!(difference(&logits(&model), &logits(&cpu)) > 0.02);
        },
    );
}

#[test]
fn candle_without_kernels_is_an_error_and_auto_uses_the_cpu() {
    with_driver(
        "self_check::candle_without_kernels_is_an_error_and_auto_uses_the_cpu",
        || {
            // this build contains empty PTX in place of candle's CUDA kernels
            let candle = |device| Options {
                engine: "candle".parse().unwrap(),
                ..options(device)
            };
            machine(1, 90, 13_000, 16 << 30);
            let error = load(&candle(Choice::Named(Device::Cuda(vec![0])))).err();
            let error = error.unwrap().to_string();
            assert!(
                error.contains("cuda:0") && error.contains("candle"),
                "{error}"
            );
            let model = load(&candle(Choice::Auto)).unwrap();
            assert_eq!(model.info().device, Device::Cpu);
        },
    );
}
