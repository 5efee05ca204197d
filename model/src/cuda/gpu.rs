//! Opens a GPU. The installed libraries and the compute capability are checked
//! before anything is loaded. The error names what is missing.

use std::sync::Arc;

use candle_core::CudaDevice;
use candle_core::cuda_backend::CudaError as CandleCudaError;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasStatus_t;
use candle_core::cuda_backend::cudarc::driver::sys::{CUdevice_attribute as Attribute, CUresult};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaStream, DriverError};

use super::error::CudaError;
use super::kernels::Kernels;
use super::libraries;
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// An open GPU.
pub(super) struct Gpu {
    /// Device ordinal.
    pub(super) ordinal: usize,
    /// Name, compute capability and clock.
    pub(super) properties: GpuProperties,
    /// The kernels for the dtype that the GPU was opened with.
    pub(super) kernels: Kernels,
    /// candle's device: the context, and the stream that weights are loaded on.
    device: CudaDevice,
}

/// Properties of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuProperties {
    /// Product name, as the driver reports it.
    pub name: String,
    /// Compute capability: major, minor.
    pub capability: (i32, i32),
    /// Number of streaming multiprocessors.
    pub multiprocessors: i32,
    /// Clock rate of the multiprocessors in kHz.
    pub clock: i32,
}

impl GpuProperties {
    /// Peak multiply-adds per second at this clock rate: dense tensor core
    /// throughput for the 16-bit types, CUDA core throughput for f32.
    #[must_use]
    pub fn peak(&self, dtype: Dtype) -> f64 {
        let per_clock = match (dtype, self.capability) {
            (Dtype::F32, (7, 5) | (8, 0)) => 64.0,
            (Dtype::F32, _) => 128.0,
            (_, (8, 0)) => 1024.0,
            (_, (9, _)) => 2048.0,
            (_, (10, _)) => 4096.0,
            _ => 512.0,
        };
        f64::from(self.multiprocessors) * f64::from(self.clock) * 1e3 * per_clock
    }
}

/// Free and total memory of GPU `ordinal` in bytes, or `None` if the driver
/// does not report it.
pub(super) fn memory(ordinal: usize) -> Option<(usize, usize)> {
    let context = CudaContext::new(ordinal).ok()?;
    // asynchronous frees take effect only after synchronization
    context.synchronize().ok()?;
    context.mem_get_info().ok()
}

/// The driver's out-of-memory error, if `error` is an out-of-memory error of
/// candle.
fn out_of_memory(error: &candle_core::Error) -> Option<DriverError> {
    let cause = match error {
        candle_core::Error::WithBacktrace { inner, .. } => inner,
        error => error,
    };
    let candle_core::Error::Cuda(cause) = cause else {
        return None;
    };
    let out_of_memory = DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    match cause.downcast_ref::<CandleCudaError>()? {
        CandleCudaError::Cuda(error) if *error == out_of_memory => Some(out_of_memory),
        CandleCudaError::Cublas(error) if error.0 == cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => {
            Some(out_of_memory)
        }
        _ => None,
    }
}

impl Gpu {
    /// Opens GPU `ordinal` and loads the kernels for `dtype`.
    ///
    /// # Errors
    /// `Error::Device` if the GPU, a library or the compute capability is
    /// missing; `Error::Cuda` if a driver call fails.
    pub(super) fn open(ordinal: usize, dtype: Dtype) -> Result<Arc<Self>> {
        let device_error = |reason: String| Error::Device {
            device: format!("cuda:{ordinal}"),
            reason,
        };
        let count = libraries::device_count().map_err(device_error)?;
        if ordinal >= usize::try_from(count).unwrap_or(0) {
            return Err(device_error(match count {
                0 => libraries::NO_GPU.into(),
                1 => "the only GPU is cuda:0".into(),
                _ => format!("the available GPUs are cuda:0 to cuda:{}", count - 1),
            }));
        }
        libraries::check().map_err(device_error)?;
        let failed = |error: CudaError| Error::Cuda { ordinal, error };
        // create the context before candle does: candle's error does not show
        // that the context ran out of memory
        let context = CudaContext::new(ordinal).map_err(|e| failed(e.into()))?;
        let device = CudaDevice::new_with_stream(ordinal).map_err(|e| match out_of_memory(&e) {
            Some(error) => failed(error.into()),
            None => device_error(format!("candle cannot open it: {e}")),
        })?;
        drop(context);
        // SAFETY: buffers allocated from here on have no events. The buffers of
        // a lane are used on its two streams only, which it synchronizes itself;
        // weights are read only after their upload has been synchronized.
        unsafe { device.disable_event_tracking() };
        let stream = device.cuda_stream();
        let context = stream.context();
        let capability = context.compute_capability();
        let (major, minor) = capability.map_err(|e| failed(e.into()))?;
        let required = dtype.capability();
        if (major, minor) < required {
            return Err(device_error(format!(
                "its compute capability is {major}.{minor}, and {} needs {}.{}",
                dtype.name(),
                required.0,
                required.1
            )));
        }
        let attribute = |attribute| context.attribute(attribute);
        let properties = || {
            Ok(GpuProperties {
                name: context.name()?,
                capability: (major, minor),
                multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
                clock: attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
            })
        };
        let properties = properties().map_err(failed)?;
        let kernels = Kernels::load(context, dtype).map_err(failed)?;
        Ok(Arc::new(Self {
            ordinal,
            properties,
            kernels,
            device,
        }))
    }

    /// The GPU's context.
    pub(super) fn context(&self) -> Arc<CudaContext> {
        Arc::clone(self.device.cuda_stream().context())
    }

    /// The stream of candle's device, used for one-time uploads.
    pub(super) fn stream(&self) -> Arc<CudaStream> {
        self.device.cuda_stream()
    }

    /// Adds the ordinal of this GPU to `error`.
    pub(super) fn error(&self, error: CudaError) -> Error {
        Error::Cuda {
            ordinal: self.ordinal,
            error,
        }
    }
}
