//! Checks the libraries that the CUDA backend needs: the driver, cuDNN, cuBLAS
//! and cuRAND. An error names the library that is missing or too old, and what
//! to install.

use candle_core::cuda_backend::cudarc::cublas::sys as cublas;
use candle_core::cuda_backend::cudarc::cudnn::result::get_version;
use candle_core::cuda_backend::cudarc::curand::sys as curand;
use candle_core::cuda_backend::cudarc::driver::sys::{self, CUresult};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result};

/// The CUDA version that this build is for, in the driver's encoding.
const REQUIRED_CUDA: i32 = 13_000;
/// The oldest cuDNN that is supported, in cuDNN's encoding.
const REQUIRED_CUDNN: usize = 90_800;
/// The error if the driver is installed but reports no device.
pub(super) const NO_GPU: &str = "NVIDIA's driver found no GPU";

/// Why no GPU can be used, or `None` if at least one can be opened.
pub(super) fn missing() -> Option<String> {
    match device_count() {
        Err(reason) => Some(reason),
        Ok(0) => Some(NO_GPU.into()),
        Ok(_) => check().err(),
    }
}

/// The number of GPUs. An error if the driver is missing or too old.
pub(super) fn device_count() -> Result<i32, String> {
    match result::init() {
        Err(e) if e.0 == CUresult::CUDA_ERROR_SHARED_OBJECT_INIT_FAILED => {
            return Err("libcuda.so.1 was not found: NVIDIA's driver is not installed".into());
        }
        Err(e) if e.0 == CUresult::CUDA_ERROR_NO_DEVICE => return Ok(0),
        Err(e) => return Err(format!("NVIDIA's driver cannot be initialized: {e}")),
        Ok(()) => {}
    }
    let version = driver_version()?;
    if version < REQUIRED_CUDA {
        return Err(format!(
            "NVIDIA's driver supports CUDA {}, and this build needs {}: update the driver",
            cuda_text(version),
            cuda_text(REQUIRED_CUDA)
        ));
    }
    CudaContext::device_count().map_err(|e| format!("the GPUs cannot be counted: {e}"))
}

/// The CUDA version that the driver supports.
fn driver_version() -> Result<i32, String> {
    let mut version = 0;
    // SAFETY: writes one integer.
    let status = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
    status.map_err(|e| format!("the version of NVIDIA's driver cannot be read: {e}"))?;
    Ok(version)
}

/// Checks that cuDNN, cuBLAS and cuRAND are installed and cuDNN is recent
/// enough. candle opens cuBLAS and cuRAND together with the device.
pub(super) fn check() -> Result<(), String> {
    let version = get_version();
    // every function of a missing library returns an error code
    if version < 80_000 {
        return Err("libcudnn.so.9 was not found: install cuDNN 9 for CUDA 13".into());
    }
    if version < REQUIRED_CUDNN {
        return Err(format!(
            "cuDNN is {}, and this build needs {} or newer: update cuDNN",
            cudnn_text(version),
            cudnn_text(REQUIRED_CUDNN)
        ));
    }
    let mut value = 0;
    let major = cublas::libraryPropertyType_t::MAJOR_VERSION;
    // SAFETY: writes one integer.
    let blas = unsafe { cublas::cublasGetProperty(major, &raw mut value) };
    if blas.result().is_err() {
        return Err(
            "libcublas.so.13 was not found: install cuBLAS of CUDA 13 (libcublas and libcublasLt)"
                .into(),
        );
    }
    // SAFETY: writes one integer.
    let random = unsafe { curand::curandGetVersion(&raw mut value) };
    if random.result().is_err() {
        return Err("libcurand.so.10 was not found: install cuRAND of CUDA 13".into());
    }
    Ok(())
}

/// The versions of the driver and of cuDNN, as text.
pub(super) fn versions() -> String {
    let driver = driver_version().map_or_else(|reason| reason, cuda_text);
    format!(
        "driver for CUDA {driver}, cuDNN {}",
        cudnn_text(get_version())
    )
}

fn cuda_text(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn cudnn_text(version: usize) -> String {
    let (major, minor) = (version / 10_000, version / 100 % 100);
    format!("{major}.{minor}.{}", version % 100)
}
