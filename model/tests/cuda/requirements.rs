//! Missing requirements: the error names the library, the GPU or the memory that is
//! missing, and a remedy.

use crate::fake_driver::{counts, cudnn_version, machine, with_driver, with_driver_except};
use crate::networks::{Network, one_stream};
use resnet_model::cuda::{CudaPlan, Placement};
use resnet_model::{Backend, Dtype};

/// The smallest network of the family.
fn network() -> Network {
    Network::new("cifar_resnet20", 16, 1)
}

/// Checks, on a machine where `library` is not installed, that the reason and the
/// error of a load contain `parts`.
fn check_without(library: &str, test: &str, parts: [&str; 2]) {
    with_driver_except(library, &format!("requirements::{test}"), || {
        let missing = CudaPlan::missing().unwrap();
        let [problem, remedy] = parts;
        assert!(missing.contains(library), "{missing}");
        assert!(
            missing.contains(problem) && missing.contains(remedy),
            "{missing}"
        );
        let error = network().plan(&one_stream(1)).err().unwrap().to_string();
        assert!(
            error.contains("cuda:0") && error.contains(&missing),
            "{error}"
        );
        assert_eq!(counts().live_objects(), []);
    });
}

#[test]
fn a_missing_driver_is_reported() {
    let parts = ["was not found", "NVIDIA's driver is not installed"];
    check_without("libcuda.so.1", "a_missing_driver_is_reported", parts);
}

#[test]
fn a_missing_cudnn_is_reported() {
    let parts = ["was not found", "install cuDNN 9 for CUDA 13"];
    check_without("libcudnn.so.9", "a_missing_cudnn_is_reported", parts);
}

#[test]
fn a_missing_cublas_is_reported() {
    let parts = ["was not found", "install cuBLAS of CUDA 13"];
    check_without("libcublas.so.13", "a_missing_cublas_is_reported", parts);
}

#[test]
fn a_missing_curand_is_reported() {
    let parts = ["was not found", "install cuRAND of CUDA 13"];
    check_without("libcurand.so.10", "a_missing_curand_is_reported", parts);
}

#[test]
fn an_outdated_cudnn_is_reported_with_both_versions() {
    with_driver(
        "requirements::an_outdated_cudnn_is_reported_with_both_versions",
        || {
            assert!(CudaPlan::versions().ends_with("CUDA 13.0, cuDNN 9.21.0"));
            cudnn_version(90_701);
            let missing = CudaPlan::missing().unwrap();
            assert_eq!(
                missing,
                "cuDNN is 9.7.1, and this build needs 9.8.0 or newer: update cuDNN"
            );
            let error = network().plan(&one_stream(1)).err().unwrap().to_string();
            assert!(
                error.contains("cuda:0") && error.contains(&missing),
                "{error}"
            );
        },
    );
}

#[test]
fn missing_gpus_capabilities_and_driver_versions_are_reported() {
    with_driver(
        "requirements::missing_gpus_capabilities_and_driver_versions_are_reported",
        || {
            let network = network();
            let error_of = |placement: &Placement| {
                let plan = network.plan(placement);
                plan.err().unwrap().to_string()
            };
            assert_eq!(CudaPlan::missing(), None);
            let second = Placement {
                gpus: vec![2],
                ..one_stream(1)
            };
            let error = error_of(&second);
            assert!(
                error.contains("cuda:2") && error.contains("cuda:0 to cuda:1"),
                "{error}"
            );

            machine(1, 70, 13_000, 16 << 30);
            let error = error_of(&one_stream(1));
            assert!(error.contains("7.0") && error.contains("7.5"), "{error}");
            machine(1, 75, 13_000, 16 << 30);
            let bf16 = Placement {
                dtype: Dtype::Bf16,
                ..one_stream(1)
            };
            let error = error_of(&bf16);
            assert!(
                error.contains("7.5") && error.contains("bf16 needs 8.0"),
                "{error}"
            );

            machine(1, 90, 12_040, 16 << 30);
            let error = error_of(&one_stream(1));
            assert!(
                error.contains("CUDA 12.4") && error.contains("13.0"),
                "{error}"
            );
            assert!(CudaPlan::missing().unwrap().contains("update the driver"));
            machine(0, 90, 13_000, 16 << 30);
            assert!(CudaPlan::missing().unwrap().contains("found no GPU"));
            assert_eq!(counts().live_objects(), []);
        },
    );
}

#[test]
fn an_out_of_memory_error_states_the_largest_batch_that_fits() {
    with_driver(
        "requirements::an_out_of_memory_error_states_the_largest_batch_that_fits",
        || {
            let network = network();
            machine(1, 90, 13_000, 1 << 20);
            let batches = |largest| Placement {
                streams: 2,
                ..one_stream(largest)
            };
            let error = network.plan(&batches(64)).err().unwrap().to_string();
            assert!(
                error.contains("cuda:0") && error.contains("2 streams"),
                "{error}"
            );
            let (_, fits) = error.split_once("the largest batch that fits is ").unwrap();
            let fits: usize = fits.parse().unwrap();
            assert!(network.plan(&batches(fits)).is_ok(), "{error}");
            assert!(network.plan(&batches(fits + 1)).is_err(), "{error}");
            assert_eq!(counts().live_objects(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

#[test]
fn an_out_of_memory_error_states_the_size_of_the_weights() {
    with_driver(
        "requirements::an_out_of_memory_error_states_the_size_of_the_weights",
        || {
            let network = Network::new("resnext50_32x4d", 32, 1);
            for (dtype, remedy) in [(Dtype::F16, "another GPU"), (Dtype::F32, "f16")] {
                let placement = Placement {
                    dtype,
                    ..one_stream(1)
                };
                machine(1, 90, 13_000, 16 << 30);
                let plan = network.plan(&placement).unwrap();
                let needed = plan.weight_bytes() as f64 / 1e6;
                drop(plan);
                machine(1, 90, 13_000, 10_000_000);
                let error = network.plan(&placement).err().unwrap().to_string();
                for part in [
                    "device `cuda:0`",
                    "out of memory while loading the weights",
                    &format!("they need {needed:.1} MB in {}", dtype.name()),
                    "10.0 MB of 10.0 MB are free",
                    &format!("use {remedy}"),
                ] {
                    assert!(error.contains(part), "{part}: {error}");
                }
                assert_eq!(counts().live_objects(), []);
            }
            assert_eq!(counts().violations, 0);
        },
    );
}
