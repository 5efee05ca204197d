//! Descriptors of cuDNN's backend interface: made, given attributes, finalized,
//! executed. Every call of cuDNN is in this file.

use std::ffi::c_void;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::sys::{self, cudnnStatus_t};
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendAttributeType_t as Type;
use sys::cudnnBackendDescriptorType_t as Kind;

use crate::cuda::fault::Fault;

fn check(call: &'static str, status: cudnnStatus_t) -> Result<(), Fault> {
    match status {
        cudnnStatus_t::CUDNN_STATUS_SUCCESS => Ok(()),
        status => Err(Fault::Dnn { call, status }),
    }
}

/// cuDNN, opened for one stream.
pub(in crate::cuda) struct Handle {
    raw: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
}

// SAFETY: cuDNN allows a handle on any thread, one thread at a time; it is not
// `Sync`, and its owner, a lane, is used by one thread at a time.
unsafe impl Send for Handle {}

impl Handle {
    /// Opens cuDNN; what is executed with the handle runs on `stream`.
    pub(in crate::cuda) fn new(stream: &Arc<CudaStream>) -> Result<Self, Fault> {
        stream.context().bind_to_thread()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes the handle, which only `drop` ends.
        check("cudnnCreate", unsafe { sys::cudnnCreate(&raw mut raw) })?;
        let handle = Self {
            raw,
            stream: Arc::clone(stream),
        };
        // SAFETY: a live handle and a live stream, which the handle keeps.
        let set = unsafe { sys::cudnnSetStream(handle.raw, stream.cu_stream().cast()) };
        check("cudnnSetStream", set)?;
        Ok(handle)
    }

    /// Queues a plan over the addresses of a pack.
    ///
    /// # Safety
    /// The pack's addresses must be memory of the card, as large as the plan's
    /// tensors and workspace, until the stream has run it.
    pub(super) unsafe fn execute(&self, plan: &Descriptor, pack: &Descriptor) -> Result<(), Fault> {
        // SAFETY: a live handle and finalized descriptors of the right kinds;
        // the addresses are the caller's promise.
        let status = unsafe { sys::cudnnBackendExecute(self.raw, plan.raw, pack.raw) };
        check("cudnnBackendExecute", status)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let context = self.stream.context();
        context.record_err(context.bind_to_thread());
        // SAFETY: made by `new`, ended here only. A failure leaves nothing to do.
        let _ = unsafe { sys::cudnnDestroy(self.raw) };
    }
}

/// What plans are made for: the card of a handle, or a card that need not be
/// there, by its properties.
#[derive(Clone, Copy)]
pub(in crate::cuda) enum Target<'a> {
    Handle(&'a Handle),
    Properties(&'a Properties),
}

/// A card's properties, as cuDNN 9.8 and newer read them.
pub(in crate::cuda) struct Properties(Descriptor);

impl Properties {
    /// From the JSON that cuDNN writes for a card.
    pub(in crate::cuda) fn new(json: &str) -> Result<Self, Fault> {
        let mut properties = Descriptor::new(Kind::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?;
        let name = Name::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION;
        // with the zero that ends a C string
        let text: Vec<u8> = json.bytes().chain([0]).collect();
        properties.set(name, &text)?;
        properties.finalize()?;
        Ok(Self(properties))
    }
}

/// A descriptor; destroyed with its owner.
pub(super) struct Descriptor {
    raw: sys::cudnnBackendDescriptor_t,
}

// SAFETY: cuDNN's descriptors are plain memory of the host with no tie to a
// thread. They are written before they are finalized, through `&mut` only, and
// read after.
unsafe impl Send for Descriptor {}
// SAFETY: as above.
unsafe impl Sync for Descriptor {}

/// A value that an attribute can hold.
///
/// # Safety
/// `TYPE` must be the type cuDNN stores as the implementor's bytes.
pub(super) unsafe trait Element: Copy {
    const TYPE: Type;
}

/// A descriptor inside another's attribute.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Reference(sys::cudnnBackendDescriptor_t);

/// An address of the card's memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Address(pub(super) u64);

macro_rules! element {
    ($($rust:ty => $type:ident),* $(,)?) => {$(
        // SAFETY: cuDNN's documentation pairs these.
        unsafe impl Element for $rust {
            const TYPE: Type = Type::$type;
        }
    )*};
}
element! {
    u8 => CUDNN_TYPE_CHAR,
    i64 => CUDNN_TYPE_INT64,
    bool => CUDNN_TYPE_BOOLEAN,
    f32 => CUDNN_TYPE_FLOAT,
    Reference => CUDNN_TYPE_BACKEND_DESCRIPTOR,
    Address => CUDNN_TYPE_VOID_PTR,
    sys::cudnnHandle_t => CUDNN_TYPE_HANDLE,
    sys::cudnnDataType_t => CUDNN_TYPE_DATA_TYPE,
    sys::cudnnConvolutionMode_t => CUDNN_TYPE_CONVOLUTION_MODE,
    sys::cudnnPointwiseMode_t => CUDNN_TYPE_POINTWISE_MODE,
    sys::cudnnBackendHeurMode_t => CUDNN_TYPE_HEUR_MODE,
}

impl Descriptor {
    /// An empty one.
    pub(super) fn new(kind: Kind) -> Result<Self, Fault> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes the descriptor, which only `drop` ends.
        let status = unsafe { sys::cudnnBackendCreateDescriptor(kind, &raw mut raw) };
        check("cudnnBackendCreateDescriptor", status)?;
        Ok(Self { raw })
    }

    /// Sets an attribute.
    pub(super) fn set<T: Element>(&mut self, name: Name, values: &[T]) -> Result<(), Fault> {
        // SAFETY: `values` are of the type that is named, and cuDNN copies them.
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

    /// Sets the attribute that names the handle, or the one that holds the
    /// properties; either may be without.
    pub(super) fn set_target(
        &mut self,
        target: Target,
        handle: Option<Name>,
        properties: Option<Name>,
    ) -> Result<(), Fault> {
        match (target, handle, properties) {
            (Target::Handle(h), Some(name), _) => self.set(name, &[h.raw]),
            (Target::Properties(p), _, Some(name)) => self.set(name, &[p.0.reference()]),
            _ => Ok(()),
        }
    }

    /// As an attribute of another descriptor, which must not outlive it.
    pub(super) fn reference(&self) -> Reference {
        Reference(self.raw)
    }

    /// Ends the setting of attributes; cuDNN checks them.
    pub(super) fn finalize(&mut self) -> Result<(), Fault> {
        // SAFETY: a live descriptor.
        let status = unsafe { sys::cudnnBackendFinalize(self.raw) };
        check("cudnnBackendFinalize", status)
    }

    /// Reads up to `values.len()` values of an attribute; gives how many there
    /// are.
    fn read<T>(&self, name: Name, kind: Type, values: &mut [T]) -> Result<usize, Fault> {
        let mut count = 0;
        let out = match values.len() {
            0 => std::ptr::null_mut(),
            _ => values.as_mut_ptr().cast::<c_void>(),
        };
        // SAFETY: at most `values.len()` values of the type that the callers
        // below name are written.
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

    /// An integer.
    pub(super) fn integer(&self, name: Name) -> Result<i64, Fault> {
        let mut value = [0i64];
        self.read(name, Type::CUDNN_TYPE_INT64, &mut value)?;
        Ok(value[0])
    }

    /// An engine's numerical notes, as numbers: a newer library may know others
    /// than these bindings.
    pub(super) fn notes(&self) -> Result<Vec<u32>, Fault> {
        let mut notes = [0u32; 32];
        let name = Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE;
        let count = self.read(name, Type::CUDNN_TYPE_NUMERICAL_NOTE, &mut notes)?;
        Ok(notes[..count.min(notes.len())].to_vec())
    }

    /// The descriptors of `kind` that an attribute holds, at most `limit`.
    pub(super) fn children(
        &self,
        name: Name,
        kind: Kind,
        limit: usize,
    ) -> Result<Vec<Self>, Fault> {
        let children: Vec<Self> = (0..limit)
            .map(|_| Self::new(kind))
            .collect::<Result<_, _>>()?;
        let mut raw: Vec<_> = children.iter().map(|child| child.raw).collect();
        let count = self.read(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut raw)?;
        // cuDNN fills the descriptors it was given, first ones first
        Ok(children.into_iter().take(count).collect())
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: made by `new`, ended here only. A failure leaves nothing to do.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.raw) };
    }
}
