//! A card that is known to work: what must be installed and its compute
//! capability are checked before anything is loaded, and what is missing is named.

use std::sync::Arc;

use candle_core::CudaDevice;
use candle_core::cuda_backend::CudaError;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasStatus_t;
use candle_core::cuda_backend::cudarc::driver::sys::{CUdevice_attribute as Attribute, CUresult};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaStream, DriverError};

use super::fault::Fault;
use super::kernels::Kernels;
use super::libraries;
use super::number::Number;
use crate::error::{Error, Result};

/// A card, opened.
pub(super) struct Card {
    /// Its ordinal among the process's cards.
    pub(super) ordinal: usize,
    /// What it is.
    pub(super) facts: CardFacts,
    /// Kernels for the number type it was opened for.
    pub(super) kernels: Kernels,
    /// candle's device: its context and the stream that weights are loaded on.
    device: CudaDevice,
}

/// What a card is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardFacts {
    /// As NVIDIA calls it.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Streaming multiprocessors.
    pub multiprocessors: i32,
    /// Their clock in kHz.
    pub clock: i32,
}

impl CardFacts {
    /// Multiply-adds a second at its clock: of its tensor cores in 16 bits,
    /// dense, and of its plain ones in f32.
    #[must_use]
    pub fn peak(&self, number: Number) -> f64 {
        let per_clock = match (number, self.capability) {
            (Number::F32, (7, 5) | (8, 0)) => 64.0,
            (Number::F32, _) => 128.0,
            (_, (8, 0)) => 1024.0,
            (_, (9, _)) => 2048.0,
            (_, (10, _)) => 4096.0,
            _ => 512.0,
        };
        f64::from(self.multiprocessors) * f64::from(self.clock) * 1e3 * per_clock
    }
}

/// Bytes that are free on card `ordinal`, and that it has in all; nothing where
/// it cannot even tell.
pub(super) fn memory(ordinal: usize) -> Option<(usize, usize)> {
    let context = CudaContext::new(ordinal).ok()?;
    // what was let go is only free once it has been waited for
    context.synchronize().ok()?;
    context.mem_get_info().ok()
}

/// What the driver says, where it is for want of memory that candle fails.
fn no_memory(error: &candle_core::Error) -> Option<DriverError> {
    let cause = match error {
        candle_core::Error::WithBacktrace { inner, .. } => inner,
        error => error,
    };
    let candle_core::Error::Cuda(cause) = cause else {
        return None;
    };
    let none = DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    match cause.downcast_ref::<CudaError>()? {
        CudaError::Cuda(error) if *error == none => Some(none),
        CudaError::Cublas(error) if error.0 == cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => {
            Some(none)
        }
        _ => None,
    }
}

impl Card {
    /// Opens card `ordinal` and loads the kernels for `number`.
    ///
    /// # Errors
    /// `Error::Device` naming what is missing; a call that fails.
    pub(super) fn open(ordinal: usize, number: Number) -> Result<Arc<Self>> {
        let refuse = |reason: String| Error::Device {
            device: format!("cuda:{ordinal}"),
            reason,
        };
        let count = libraries::cards().map_err(refuse)?;
        if ordinal >= usize::try_from(count).unwrap_or(0) {
            return Err(refuse(match count {
                0 => "the driver sees no card".into(),
                1 => "the only card is cuda:0".into(),
                _ => format!("the cards are cuda:0 to cuda:{}", count - 1),
            }));
        }
        libraries::check().map_err(refuse)?;
        let failed = |fault: Fault| Error::Cuda { ordinal, fault };
        // before candle does, so that memory that does not even suffice for this
        // is told as such
        let opened = CudaContext::new(ordinal).map_err(|e| failed(e.into()))?;
        let device = CudaDevice::new_with_stream(ordinal).map_err(|e| match no_memory(&e) {
            Some(none) => failed(none.into()),
            None => refuse(format!("candle does not open it: {e}")),
        })?;
        drop(opened);
        // SAFETY: buffers made from here on carry no events. A lane's buffers
        // are used on its own streams, which it orders itself; weights are
        // only read once their upload has been waited for.
        unsafe { device.disable_event_tracking() };
        let stream = device.cuda_stream();
        let context = stream.context();
        let capability = context.compute_capability();
        let (major, minor) = capability.map_err(|e| failed(e.into()))?;
        let least = number.capability();
        if (major, minor) < least {
            return Err(refuse(format!(
                "its compute capability is {major}.{minor}, and {} needs {}.{}",
                number.name(),
                least.0,
                least.1
            )));
        }
        let attribute = |attribute| context.attribute(attribute);
        let facts = || {
            Ok(CardFacts {
                name: context.name()?,
                capability: (major, minor),
                multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
                clock: attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
            })
        };
        let facts = facts().map_err(failed)?;
        let kernels = Kernels::load(context, number).map_err(failed)?;
        Ok(Arc::new(Self {
            ordinal,
            facts,
            kernels,
            device,
        }))
    }

    /// The card's context.
    pub(super) fn context(&self) -> Arc<CudaContext> {
        Arc::clone(self.device.cuda_stream().context())
    }

    /// The stream of candle's device, for what is loaded once.
    pub(super) fn stream(&self) -> Arc<CudaStream> {
        self.device.cuda_stream()
    }

    /// `fault` as an error of this card.
    pub(super) fn error(&self, fault: Fault) -> Error {
        Error::Cuda {
            ordinal: self.ordinal,
            fault,
        }
    }
}
