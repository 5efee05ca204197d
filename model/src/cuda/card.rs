//! A card that is known to work: its driver, libraries and compute capability
//! are checked before anything is loaded, and what is missing is named.

use std::sync::Arc;

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::cudnn::result::get_version;
use candle_core::cuda_backend::cudarc::driver::sys::{
    self, CUdevice_attribute as Attribute, CUresult,
};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaStream, result};

use super::fault::Fault;
use super::kernels::Kernels;
use super::number::Number;
use crate::error::{Error, Result};

/// The CUDA version whose functions this build calls, as the driver counts.
const CUDA: i32 = 13_000;
/// The oldest cuDNN whose graphs are used here.
const CUDNN: usize = 90_800;

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

/// What is missing, in words, or `None` when some card can be opened.
pub(super) fn missing() -> Option<String> {
    match driver() {
        Err(reason) => Some(reason),
        Ok(0) => Some("the driver sees no card".into()),
        Ok(_) => libraries().err(),
    }
}

/// The number of cards, once the driver is there and new enough.
fn driver() -> Result<i32, String> {
    match result::init() {
        Err(e) if e.0 == CUresult::CUDA_ERROR_SHARED_OBJECT_INIT_FAILED => {
            return Err("libcuda.so.1 was not found: NVIDIA's driver is not installed".into());
        }
        Err(e) if e.0 == CUresult::CUDA_ERROR_NO_DEVICE => return Ok(0),
        Err(e) => return Err(format!("NVIDIA's driver does not start: {e}")),
        Ok(()) => {}
    }
    let mut version = 0;
    // SAFETY: writes one integer.
    let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
    asked.map_err(|e| format!("NVIDIA's driver does not tell its version: {e}"))?;
    if version < CUDA {
        let dotted = |v: i32| format!("{}.{}", v / 1000, v % 1000 / 10);
        return Err(format!(
            "NVIDIA's driver is for CUDA {}, and this build needs {}: update the driver",
            dotted(version),
            dotted(CUDA)
        ));
    }
    CudaContext::device_count().map_err(|e| format!("the cards cannot be counted: {e}"))
}

/// Whether cuDNN is there and new enough.
fn libraries() -> Result<(), String> {
    let version = get_version();
    let dotted = |v: usize| format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100);
    if version < 80_000 {
        return Err("libcudnn.so.9 was not found: install cuDNN 9 for CUDA 13".into());
    }
    if version < CUDNN {
        return Err(format!(
            "cuDNN is {}, and this build needs {} or newer",
            dotted(version),
            dotted(CUDNN)
        ));
    }
    Ok(())
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
        let count = driver().map_err(refuse)?;
        if ordinal >= usize::try_from(count).unwrap_or(0) {
            return Err(refuse(match count {
                0 => "the driver sees no card".into(),
                1 => "the only card is cuda:0".into(),
                _ => format!("the cards are cuda:0 to cuda:{}", count - 1),
            }));
        }
        libraries().map_err(refuse)?;
        let failed = |fault: Fault| Error::Cuda { ordinal, fault };
        let device = CudaDevice::new_with_stream(ordinal).map_err(|e| {
            refuse(format!(
                "candle does not open it (cuBLAS for CUDA 13 and cuRAND are needed too): {e}"
            ))
        })?;
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
