//! Memory that a lane owns: buffers of the card, and pinned memory of the host
//! that the card copies from and to while the host goes on.

use std::ptr::NonNull;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, DevicePtr, result,
};

use super::fault::Fault;
use super::map::Map;
use super::number::Number;

/// Bytes on a card.
pub(super) struct Buffer(CudaSlice<u8>);

impl Buffer {
    /// `bytes` zeros. The zeroing is queued on `stream`.
    pub(super) fn zeros(stream: &Arc<CudaStream>, bytes: usize) -> Result<Self, Fault> {
        Ok(Self(stream.alloc_zeros(bytes.max(16))?))
    }

    /// A copy of `bytes`, queued on `stream`; the host waits for it.
    pub(super) fn upload(stream: &Arc<CudaStream>, bytes: &[u8]) -> Result<Self, Fault> {
        Ok(Self(stream.clone_htod(bytes)?))
    }

    /// Its address.
    pub(super) fn at(&self) -> u64 {
        self.0.device_ptr(self.0.stream()).0
    }

    /// Its size.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Fills its start with `bytes`, in line on `stream`; the host waits.
    pub(super) fn fill(&mut self, stream: &Arc<CudaStream>, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() > self.bytes() {
            return Err(Fault::Internal(format!(
                "{} bytes do not fit a buffer of {}",
                bytes.len(),
                self.bytes()
            )));
        }
        Ok(stream.memcpy_htod(bytes, &mut self.0)?)
    }
}

/// Pinned bytes of the host.
pub(super) struct Pinned {
    start: NonNull<u8>,
    bytes: usize,
    context: Arc<CudaContext>,
}

// SAFETY: plain memory with one owner; the driver frees it from any thread.
unsafe impl Send for Pinned {}

impl Pinned {
    /// `bytes` zeros.
    pub(super) fn zeros(context: &Arc<CudaContext>, bytes: usize) -> Result<Self, Fault> {
        context.bind_to_thread()?;
        let bytes = bytes.max(1);
        // SAFETY: a context is bound, and the flags are none.
        let start = unsafe { result::malloc_host(bytes, 0)? };
        let start = NonNull::new(start.cast::<u8>())
            .ok_or_else(|| Fault::Internal("pinned memory at address 0".into()))?;
        // SAFETY: `bytes` bytes were just allocated there.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Self {
            start,
            bytes,
            context: Arc::clone(context),
        })
    }

    /// Its bytes. The caller has waited for every copy from the card to them.
    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: `bytes` bytes, written at least once, with no other owner.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// Its bytes, to write. The caller has waited for every copy of them.
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }

    /// Queues the copy of bytes `start..start + bytes` to the same place of
    /// `to`. They must stay as they are until `stream` has done it.
    pub(super) fn send(
        &self,
        stream: &CudaStream,
        to: &Buffer,
        start: usize,
        bytes: usize,
    ) -> Result<(), Fault> {
        let from = self.as_slice().get(start..start + bytes);
        let from = from.filter(|_| start + bytes <= to.bytes());
        let Some(from) = from else {
            return Err(Fault::Internal("an upload outside its buffers".into()));
        };
        // SAFETY: both ranges were checked, and both buffers are the lane's,
        // which waits for its streams before it lets go of them.
        unsafe { result::memcpy_htod_async(to.at() + start as u64, from, stream.cu_stream())? };
        Ok(())
    }

    /// Queues the copy of the first `bytes` of `from`, a map of values of
    /// `number`, to the first of these.
    pub(super) fn receive(
        &mut self,
        stream: &CudaStream,
        from: &Map,
        number: Number,
        bytes: usize,
    ) -> Result<(), Fault> {
        let to = self.as_mut_slice().get_mut(..bytes);
        let to = to.filter(|_| bytes <= from.len() * number.bytes());
        let Some(to) = to else {
            return Err(Fault::Internal("a download outside its buffers".into()));
        };
        // SAFETY: as in `send`; a map's memory is there (see `Map`).
        unsafe { result::memcpy_dtoh_async(to, from.at, stream.cu_stream())? };
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.context.record_err(self.context.bind_to_thread());
        // SAFETY: allocated by `zeros`, freed here only.
        let freed = unsafe { result::free_host(self.start.as_ptr().cast()) };
        self.context.record_err(freed);
    }
}
