//! Memory owned by a lane: device buffers, and pinned host memory for
//! asynchronous copies.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, DevicePtr, result,
};

use super::error::CudaError;
use super::tensor::DeviceTensor;
use crate::dtype::Dtype;

/// A buffer in device memory.
pub(super) struct DeviceBuffer(CudaSlice<u8>);

impl DeviceBuffer {
    /// Allocates `bytes` bytes and queues a memset to zero on `stream`.
    pub(super) fn zeros(stream: &Arc<CudaStream>, bytes: usize) -> Result<Self, CudaError> {
        Ok(Self(stream.alloc_zeros(bytes.max(16))?))
    }

    /// Allocates a buffer and copies `bytes` to it on `stream`. Blocks until
    /// `bytes` has been read.
    pub(super) fn upload(stream: &Arc<CudaStream>, bytes: &[u8]) -> Result<Self, CudaError> {
        Ok(Self(stream.clone_htod(bytes)?))
    }

    /// Device address of the first byte.
    pub(super) fn address(&self) -> u64 {
        self.0.device_ptr(self.0.stream()).0
    }

    /// Size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Copies the bytes at `range` to the host on `stream`, and waits for them.
    pub(super) fn download(
        &self,
        stream: &Arc<CudaStream>,
        range: Range<usize>,
    ) -> Result<Vec<u8>, CudaError> {
        if range.end > self.bytes() {
            return Err(CudaError::Internal(format!(
                "a copy of bytes {range:?} from a buffer of {} bytes",
                self.bytes()
            )));
        }
        let bytes = stream.clone_dtoh(&self.0.slice(range))?;
        stream.synchronize()?;
        Ok(bytes)
    }

    /// Copies `bytes` to the start of the buffer on `stream`. Blocks until
    /// `bytes` has been read.
    pub(super) fn fill(&mut self, stream: &Arc<CudaStream>, bytes: &[u8]) -> Result<(), CudaError> {
        if bytes.len() > self.bytes() {
            return Err(CudaError::Internal(format!(
                "a copy of {} bytes to a buffer of {} bytes",
                bytes.len(),
                self.bytes()
            )));
        }
        Ok(stream.memcpy_htod(bytes, &mut self.0)?)
    }
}

/// A buffer in pinned host memory.
pub(super) struct PinnedBuffer {
    start: NonNull<u8>,
    bytes: usize,
    context: Arc<CudaContext>,
}

// SAFETY: plain memory with a single owner; the driver can free it from any
// thread.
unsafe impl Send for PinnedBuffer {}

impl PinnedBuffer {
    /// Allocates `bytes` bytes and sets them to zero.
    pub(super) fn zeros(context: &Arc<CudaContext>, bytes: usize) -> Result<Self, CudaError> {
        context.bind_to_thread()?;
        let bytes = bytes.max(1);
        // SAFETY: a context is current, and no flags are set.
        let start = unsafe { result::malloc_host(bytes, 0)? };
        let start = NonNull::new(start.cast::<u8>())
            .ok_or_else(|| CudaError::Internal("the driver returned null pinned memory".into()))?;
        // SAFETY: the allocation is `bytes` bytes long.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Self {
            start,
            bytes,
            context: Arc::clone(context),
        })
    }

    /// The contents. The caller must have synchronized with every copy into
    /// this buffer.
    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: `bytes` initialized bytes, owned by `self` only.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// The contents, writable. The caller must have synchronized with every
    /// copy from or into this buffer.
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }

    /// Queues an asynchronous copy of bytes `start..start + bytes` to the same
    /// range of `to`. The bytes must not change until `stream` has copied them.
    pub(super) fn copy_to_device(
        &self,
        stream: &CudaStream,
        to: &DeviceBuffer,
        start: usize,
        bytes: usize,
    ) -> Result<(), CudaError> {
        let from = self.as_slice().get(start..start + bytes);
        let from = from.filter(|_| start + bytes <= to.bytes());
        let Some(from) = from else {
            return Err(CudaError::Internal(
                "a copy to the device exceeds its buffers".into(),
            ));
        };
        // SAFETY: both ranges were checked. The lane owns both buffers and
        // synchronizes its streams before it frees them.
        unsafe {
            result::memcpy_htod_async(to.address() + start as u64, from, stream.cu_stream())?
        };
        Ok(())
    }

    /// Queues an asynchronous copy of `from`, a tensor of `dtype`, to this
    /// buffer from byte `start` on.
    pub(super) fn copy_from_device(
        &mut self,
        stream: &CudaStream,
        from: &DeviceTensor,
        dtype: Dtype,
        start: usize,
    ) -> Result<(), CudaError> {
        let bytes = from.len() * dtype.bytes();
        let Some(to) = self.as_mut_slice().get_mut(start..start + bytes) else {
            return Err(CudaError::Internal(
                "a copy from the device exceeds its buffer".into(),
            ));
        };
        // SAFETY: as in `copy_to_device`; the tensor's memory is allocated (see
        // `DeviceTensor`).
        unsafe { result::memcpy_dtoh_async(to, from.at, stream.cu_stream())? };
        Ok(())
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        self.context.record_err(self.context.bind_to_thread());
        // SAFETY: allocated by `zeros` and freed only here.
        let freed = unsafe { result::free_host(self.start.as_ptr().cast()) };
        self.context.record_err(freed);
    }
}
