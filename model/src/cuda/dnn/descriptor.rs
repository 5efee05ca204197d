//! Descriptors of cuDNN's backend API: created, given attributes, finalized and
//! executed. All calls of cuDNN are in this file.

use std::ffi::c_void;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::sys::{self, cudnnStatus_t};
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use sys::cudnnBackendAttributeName_t as Attr;
use sys::cudnnBackendAttributeType_t as AttributeType;
use sys::cudnnBackendDescriptorType_t as DescriptorType;

use crate::cuda::error::CudaError;

fn check(call: &'static str, status: cudnnStatus_t) -> Result<(), CudaError> {
    match status {
        cudnnStatus_t::CUDNN_STATUS_SUCCESS => Ok(()),
        status => Err(CudaError::Cudnn { call, status }),
    }
}

/// A cuDNN handle, set to one stream.
pub(in crate::cuda) struct Handle {
    raw: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
}

// SAFETY: a cuDNN handle may be used on any thread, by one thread at a time. It
// is not `Sync`, and its owner, a lane, is used by one thread at a time.
unsafe impl Send for Handle {}

impl Handle {
    /// Creates a handle. Plans that are executed with it run on `stream`.
    pub(in crate::cuda) fn new(stream: &Arc<CudaStream>) -> Result<Self, CudaError> {
        stream.context().bind_to_thread()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes the handle, which only `drop` destroys.
        check("cudnnCreate", unsafe { sys::cudnnCreate(&raw mut raw) })?;
        let handle = Self {
            raw,
            stream: Arc::clone(stream),
        };
        // SAFETY: both the handle and the stream, which `handle` keeps alive, are
        // valid.
        let set = unsafe { sys::cudnnSetStream(handle.raw, stream.cu_stream().cast()) };
        check("cudnnSetStream", set)?;
        Ok(handle)
    }

    /// Queues an execution plan on the device addresses of a variant pack.
    ///
    /// # Safety
    /// The addresses must be device memory of at least the size of the plan's
    /// tensors and workspace, and stay valid until the stream has run the plan.
    pub(super) unsafe fn execute(
        &self,
        plan: &Descriptor,
        pack: &Descriptor,
    ) -> Result<(), CudaError> {
        // SAFETY: a valid handle and finalized descriptors of the right types;
        // the caller guarantees the addresses.
        let status = unsafe { sys::cudnnBackendExecute(self.raw, plan.raw, pack.raw) };
        check("cudnnBackendExecute", status)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let context = self.stream.context();
        context.record_err(context.bind_to_thread());
        // SAFETY: created by `new` and destroyed only here. Nothing can be done
        // about an error.
        let _ = unsafe { sys::cudnnDestroy(self.raw) };
    }
}

/// The GPU that plans are made for: the GPU of a handle, or a GPU that is described
/// by its properties and may be absent from this machine.
#[derive(Clone, Copy)]
pub(in crate::cuda) enum PlanTarget<'a> {
    Handle(&'a Handle),
    Properties(&'a CudnnDeviceProperties),
}

/// The device properties of a GPU (cuDNN 9.8 and newer).
pub(in crate::cuda) struct CudnnDeviceProperties(Descriptor);

impl CudnnDeviceProperties {
    /// Parses the JSON that cuDNN writes for a GPU.
    pub(in crate::cuda) fn new(json: &str) -> Result<Self, CudaError> {
        let mut properties = Descriptor::new(DescriptorType::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?;
        let name = Attr::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION;
        // cuDNN expects a terminating null byte
        let text: Vec<u8> = json.bytes().chain([0]).collect();
        properties.set(name, &text)?;
        properties.finalize()?;
        Ok(Self(properties))
    }
}

/// A cuDNN backend descriptor; destroyed on drop.
pub(super) struct Descriptor {
    raw: sys::cudnnBackendDescriptor_t,
}

// SAFETY: cuDNN's descriptors are host memory that is not bound to a thread.
// They are written only before they are finalized, through `&mut`, and only
// read afterwards.
unsafe impl Send for Descriptor {}
// SAFETY: as above.
unsafe impl Sync for Descriptor {}

/// A type of attribute values.
///
/// # Safety
/// `TYPE` must be the cuDNN type with the memory layout of the implementor.
pub(super) unsafe trait AttributeValue: Copy {
    const TYPE: AttributeType;
}

/// A descriptor as an attribute value of another descriptor.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct DescriptorReference(sys::cudnnBackendDescriptor_t);

/// An address in device memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct DevicePointer(pub(super) u64);

macro_rules! attribute_value {
    ($($rust:ty => $type:ident),* $(,)?) => {$(
        // SAFETY: these pairs are from cuDNN's documentation.
        unsafe impl AttributeValue for $rust {
            const TYPE: AttributeType = AttributeType::$type;
        }
    )*};
}
attribute_value! {
    u8 => CUDNN_TYPE_CHAR,
    i64 => CUDNN_TYPE_INT64,
    bool => CUDNN_TYPE_BOOLEAN,
    f32 => CUDNN_TYPE_FLOAT,
    DescriptorReference => CUDNN_TYPE_BACKEND_DESCRIPTOR,
    DevicePointer => CUDNN_TYPE_VOID_PTR,
    sys::cudnnHandle_t => CUDNN_TYPE_HANDLE,
    sys::cudnnDataType_t => CUDNN_TYPE_DATA_TYPE,
    sys::cudnnConvolutionMode_t => CUDNN_TYPE_CONVOLUTION_MODE,
    sys::cudnnPointwiseMode_t => CUDNN_TYPE_POINTWISE_MODE,
    sys::cudnnBackendHeurMode_t => CUDNN_TYPE_HEUR_MODE,
}

impl Descriptor {
    /// Creates a descriptor without attributes.
    pub(super) fn new(kind: DescriptorType) -> Result<Self, CudaError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes the descriptor, which only `drop` destroys.
        let status = unsafe { sys::cudnnBackendCreateDescriptor(kind, &raw mut raw) };
        check("cudnnBackendCreateDescriptor", status)?;
        Ok(Self { raw })
    }

    /// Sets an attribute.
    pub(super) fn set<T: AttributeValue>(
        &mut self,
        name: Attr,
        values: &[T],
    ) -> Result<(), CudaError> {
        // SAFETY: `values` have the given type, and cuDNN copies them.
        let status = unsafe {
            sys::cudnnBackendSetAttribute(
                self.raw,
                name,
                T::TYPE,
                values.len() as i64,
                values.as_ptr().cast::<c_void>(),
            )
        };
        check("cudnnBackendSetAttribute", status)
    }

    /// Sets the target as the attribute `handle` or `properties`. Does nothing
    /// if the descriptor has no attribute for this kind of target.
    pub(super) fn set_target(
        &mut self,
        target: PlanTarget,
        handle: Option<Attr>,
        properties: Option<Attr>,
    ) -> Result<(), CudaError> {
        match (target, handle, properties) {
            (PlanTarget::Handle(h), Some(name), _) => self.set(name, &[h.raw]),
            (PlanTarget::Properties(p), _, Some(name)) => self.set(name, &[p.0.reference()]),
            _ => Ok(()),
        }
    }

    /// The descriptor as an attribute value of another descriptor, which must not
    /// outlive this one.
    pub(super) fn reference(&self) -> DescriptorReference {
        DescriptorReference(self.raw)
    }

    /// Finalizes the descriptor: cuDNN validates its attributes.
    pub(super) fn finalize(&mut self) -> Result<(), CudaError> {
        // SAFETY: a valid descriptor.
        let status = unsafe { sys::cudnnBackendFinalize(self.raw) };
        check("cudnnBackendFinalize", status)
    }

    /// Reads up to `values.len()` values of an attribute. Returns how many the
    /// attribute has.
    fn read<T>(
        &self,
        name: Attr,
        kind: AttributeType,
        values: &mut [T],
    ) -> Result<usize, CudaError> {
        let mut count = 0;
        let out = match values.len() {
            0 => std::ptr::null_mut(),
            _ => values.as_mut_ptr().cast::<c_void>(),
        };
        // SAFETY: cuDNN writes at most `values.len()` values. Every caller below
        // passes the attribute type that matches `T`.
        let status = unsafe {
            sys::cudnnBackendGetAttribute(
                self.raw,
                name,
                kind,
                values.len() as i64,
                &raw mut count,
                out,
            )
        };
        check("cudnnBackendGetAttribute", status)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Reads an integer attribute.
    pub(super) fn integer(&self, name: Attr) -> Result<i64, CudaError> {
        let mut value = [0i64];
        self.read(name, AttributeType::CUDNN_TYPE_INT64, &mut value)?;
        Ok(value[0])
    }

    /// Reads an engine's numerical notes. They are integers, because a newer
    /// cuDNN may return notes that these bindings do not define.
    pub(super) fn notes(&self) -> Result<Vec<u32>, CudaError> {
        let mut notes = [0u32; 32];
        let name = Attr::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE;
        let count = self.read(name, AttributeType::CUDNN_TYPE_NUMERICAL_NOTE, &mut notes)?;
        Ok(notes[..count.min(notes.len())].to_vec())
    }

    /// Reads up to `limit` descriptors of type `kind` from an attribute.
    pub(super) fn children(
        &self,
        name: Attr,
        kind: DescriptorType,
        limit: usize,
    ) -> Result<Vec<Self>, CudaError> {
        let children: Vec<Self> = (0..limit)
            .map(|_| Self::new(kind))
            .collect::<Result<_, _>>()?;
        let mut raw: Vec<_> = children.iter().map(|child| child.raw).collect();
        let count = self.read(name, AttributeType::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut raw)?;
        // cuDNN fills the given descriptors in order
        Ok(children.into_iter().take(count).collect())
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: created by `new` and destroyed only here. Nothing can be done
        // about an error.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.raw) };
    }
}
