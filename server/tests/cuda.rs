//! The binary with the CUDA feature on a machine without NVIDIA's driver: it
//! starts, serves on the processor, and says what is missing.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn classify(device: &str) -> Output {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../photos/cat.jpg");
    Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(["classify", "--json", "--device", device])
        .arg(photo)
        .output()
        .unwrap()
}

#[test]
fn without_a_driver_auto_is_the_processor_and_cuda_an_error() {
    let named = classify("cuda");
    let errors = String::from_utf8_lossy(&named.stderr);
    if named.status.success() || !errors.contains("libcuda.so.1 was not found") {
        // with a driver the other tests say more
        println!("skipped: there is a driver: {errors}");
        assert!(
            named.status.success() || errors.contains("cuda:0"),
            "{errors}"
        );
        return;
    }
    assert!(errors.contains("`cuda:0` cannot be used"), "{errors}");
    let auto = classify("auto");
    let (text, errors) = (
        String::from_utf8_lossy(&auto.stdout),
        String::from_utf8_lossy(&auto.stderr),
    );
    assert!(auto.status.success(), "{errors}");
    assert!(text.contains("tabby"), "{text}");
    assert!(
        errors.contains("device auto: cpu") && errors.contains("libcuda.so.1"),
        "{errors}"
    );
}
