//! What must be installed beside a card: the driver, cuDNN, cuBLAS and cuRAND.
//! What is missing or too old is named, with what to do.

use candle_core::cuda_backend::cudarc::cublas::sys as cublas;
use candle_core::cuda_backend::cudarc::cudnn::result::get_version;
use candle_core::cuda_backend::cudarc::curand::sys as curand;
use candle_core::cuda_backend::cudarc::driver::sys::{self, CUresult};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result};

/// The CUDA version whose functions this build calls, as the driver counts.
const CUDA: i32 = 13_000;
/// The oldest cuDNN whose graphs are used here.
const CUDNN: usize = 90_800;

/// What is missing, in words, or `None` when some card can be opened.
pub(super) fn missing() -> Option<String> {
    match cards() {
        Err(reason) => Some(reason),
        Ok(0) => Some("the driver sees no card".into()),
        Ok(_) => check().err(),
    }
}

/// The number of cards, once the driver is there and new enough.
pub(super) fn cards() -> Result<i32, String> {
    match result::init() {
        Err(e) if e.0 == CUresult::CUDA_ERROR_SHARED_OBJECT_INIT_FAILED => {
            return Err("libcuda.so.1 was not found: NVIDIA's driver is not installed".into());
        }
        Err(e) if e.0 == CUresult::CUDA_ERROR_NO_DEVICE => return Ok(0),
        Err(e) => return Err(format!("NVIDIA's driver does not start: {e}")),
        Ok(()) => {}
    }
    let version = driver()?;
    if version < CUDA {
        return Err(format!(
            "NVIDIA's driver is for CUDA {}, and this build needs {}: update the driver",
            of_cuda(version),
            of_cuda(CUDA)
        ));
    }
    CudaContext::device_count().map_err(|e| format!("the cards cannot be counted: {e}"))
}

/// The driver's CUDA version.
fn driver() -> Result<i32, String> {
    let mut version = 0;
    // SAFETY: writes one integer.
    let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
    asked.map_err(|e| format!("NVIDIA's driver does not tell its version: {e}"))?;
    Ok(version)
}

/// Whether the libraries are there, and cuDNN new enough. candle opens cuBLAS
/// and cuRAND with its device.
pub(super) fn check() -> Result<(), String> {
    let version = get_version();
    // a library that is not there answers each call with an error
    if version < 80_000 {
        return Err("libcudnn.so.9 was not found: install cuDNN 9 for CUDA 13".into());
    }
    if version < CUDNN {
        return Err(format!(
            "cuDNN is {}, and this build needs {} or newer",
            of_cudnn(version),
            of_cudnn(CUDNN)
        ));
    }
    let mut asked = 0;
    let major = cublas::libraryPropertyType_t::MAJOR_VERSION;
    // SAFETY: writes one integer.
    let blas = unsafe { cublas::cublasGetProperty(major, &raw mut asked) };
    if blas.result().is_err() {
        return Err(
            "libcublas.so.13 was not found: install cuBLAS of CUDA 13 (libcublas and libcublasLt)"
                .into(),
        );
    }
    // SAFETY: writes one integer.
    let random = unsafe { curand::curandGetVersion(&raw mut asked) };
    if random.result().is_err() {
        return Err("libcurand.so.10 was not found: install cuRAND of CUDA 13".into());
    }
    Ok(())
}

/// The versions of the driver and of cuDNN, in words.
pub(super) fn versions() -> String {
    let driver = driver().map_or_else(|reason| reason, of_cuda);
    format!(
        "driver for CUDA {driver}, cuDNN {}",
        of_cudnn(get_version())
    )
}

fn of_cuda(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn of_cudnn(version: usize) -> String {
    let (major, minor) = (version / 10_000, version / 100 % 100);
    format!("{major}.{minor}.{}", version % 100)
}
