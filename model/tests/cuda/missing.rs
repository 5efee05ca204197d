//! What a machine lacks is named, with what to do: a library, a card, memory.

use crate::fake::{counts, dnn, machine, with_driver, with_driver_but};
use crate::networks::{Network, one_lane};
use model::cuda::{CudaPlan, Number, Placement};

/// The smallest network of the family.
fn network() -> Network {
    Network::new("cifar_resnet20", 16, 1)
}

/// The whole program's and a load's words where `library` is not installed.
fn without(library: &str, test: &str, words: [&str; 2]) {
    with_driver_but(library, &format!("missing::{test}"), || {
        let missing = CudaPlan::missing().unwrap();
        let [found, install] = words;
        assert!(missing.contains(library), "{missing}");
        assert!(
            missing.contains(found) && missing.contains(install),
            "{missing}"
        );
        let error = network().plan(&one_lane(1)).err().unwrap().to_string();
        assert!(
            error.contains("cuda:0") && error.contains(&missing),
            "{error}"
        );
        assert_eq!(counts().alive(), []);
    });
}

#[test]
fn a_driver_that_is_not_installed_is_named() {
    let words = ["was not found", "NVIDIA's driver is not installed"];
    without(
        "libcuda.so.1",
        "a_driver_that_is_not_installed_is_named",
        words,
    );
}

#[test]
fn cudnn_that_is_not_installed_is_named() {
    let words = ["was not found", "install cuDNN 9 for CUDA 13"];
    without(
        "libcudnn.so.9",
        "cudnn_that_is_not_installed_is_named",
        words,
    );
}

#[test]
fn cublas_that_is_not_installed_is_named() {
    let words = ["was not found", "install cuBLAS of CUDA 13"];
    without(
        "libcublas.so.13",
        "cublas_that_is_not_installed_is_named",
        words,
    );
}

#[test]
fn curand_that_is_not_installed_is_named() {
    let words = ["was not found", "install cuRAND of CUDA 13"];
    without(
        "libcurand.so.10",
        "curand_that_is_not_installed_is_named",
        words,
    );
}

#[test]
fn cudnn_that_is_too_old_is_told_its_version_and_the_one_needed() {
    with_driver(
        "missing::cudnn_that_is_too_old_is_told_its_version_and_the_one_needed",
        || {
            assert!(CudaPlan::versions().ends_with("CUDA 13.0, cuDNN 9.21.0"));
            dnn(90_701);
            let missing = CudaPlan::missing().unwrap();
            assert_eq!(
                missing,
                "cuDNN is 9.7.1, and this build needs 9.8.0 or newer"
            );
            let error = network().plan(&one_lane(1)).err().unwrap().to_string();
            assert!(
                error.contains("cuda:0") && error.contains(&missing),
                "{error}"
            );
        },
    );
}

#[test]
fn what_is_missing_is_named() {
    with_driver("missing::what_is_missing_is_named", || {
        let network = network();
        let refused = |placement: &Placement| {
            let plan = network.plan(placement);
            plan.err().unwrap().to_string()
        };
        assert_eq!(CudaPlan::missing(), None);
        let second = Placement {
            cards: vec![2],
            ..one_lane(1)
        };
        let error = refused(&second);
        assert!(
            error.contains("cuda:2") && error.contains("cuda:0 to cuda:1"),
            "{error}"
        );

        machine(1, 70, 13_000, 16 << 30);
        let error = refused(&one_lane(1));
        assert!(error.contains("7.0") && error.contains("7.5"), "{error}");
        machine(1, 75, 13_000, 16 << 30);
        let bf16 = Placement {
            number: Number::Bf16,
            ..one_lane(1)
        };
        let error = refused(&bf16);
        assert!(
            error.contains("7.5") && error.contains("bf16 needs 8.0"),
            "{error}"
        );

        machine(1, 90, 12_040, 16 << 30);
        let error = refused(&one_lane(1));
        assert!(
            error.contains("CUDA 12.4") && error.contains("13.0"),
            "{error}"
        );
        assert!(CudaPlan::missing().unwrap().contains("update the driver"));
        machine(0, 90, 13_000, 16 << 30);
        assert!(CudaPlan::missing().unwrap().contains("no card"));
        assert_eq!(counts().alive(), []);
    });
}

#[test]
fn memory_that_does_not_suffice_names_the_batch_that_does() {
    with_driver(
        "missing::memory_that_does_not_suffice_names_the_batch_that_does",
        || {
            let network = network();
            machine(1, 90, 13_000, 1 << 20);
            let batches = |largest| Placement {
                lanes: 2,
                ..one_lane(largest)
            };
            let error = network.plan(&batches(64)).err().unwrap().to_string();
            assert!(
                error.contains("cuda:0") && error.contains("2 lanes"),
                "{error}"
            );
            let (_, fits) = error.split_once("the largest batch that fits is ").unwrap();
            let fits: usize = fits.parse().unwrap();
            assert!(network.plan(&batches(fits)).is_ok(), "{error}");
            assert!(network.plan(&batches(fits + 1)).is_err(), "{error}");
            assert_eq!(counts().alive(), []);
            assert_eq!(counts().violations, 0);
        },
    );
}

#[test]
fn memory_that_does_not_hold_the_weights_says_what_would() {
    with_driver(
        "missing::memory_that_does_not_hold_the_weights_says_what_would",
        || {
            let network = Network::new("resnext50_32x4d", 32, 1);
            for (number, choose) in [(Number::F16, "another card"), (Number::F32, "f16")] {
                let placement = Placement {
                    number,
                    ..one_lane(1)
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
                    &format!("they need {needed:.1} MB in {}", number.name()),
                    "10.0 of the card's 10.0 MB are free",
                    &format!("choose {choose}"),
                ] {
                    assert!(error.contains(part), "{part}: {error}");
                }
                assert_eq!(counts().alive(), []);
            }
            assert_eq!(counts().violations, 0);
        },
    );
}
