//! A lane is one CUDA stream with its own buffers: the arena, the workspace and
//! pinned host memory. It also has a second stream for copies to the device. It
//! runs one forward pass at a time. All memory is allocated, and all graphs are
//! captured, when the lane is created. A forward pass copies the pixels, replays
//! a graph and synchronizes once, at its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::cuda_backend::cudarc::driver::sys::{
    CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode,
};
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaGraph, CudaStream};

use super::dnn::Handle;
use super::error::CudaError;
use super::gpu::Gpu;
use super::kernels::Launch;
use super::memory::{DeviceBuffer, PinnedBuffer};
use super::network::Network;
use super::program::{Plans, Program, statistics_bytes};
use super::tensor::{DeviceTensor, padded};
use super::tune::Tuner;
use super::weights::Weights;
use crate::backend::StepObserver;
use crate::graph::Value;
use crate::outputs::{Output, Requested};

/// The batch sizes that are planned and captured: the powers of two below
/// `largest`, and `largest`.
pub(super) fn buckets(largest: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(1), |n| Some(n * 2));
    let mut buckets: Vec<usize> = powers.take_while(|&n| n < largest).collect();
    buckets.push(largest.max(1));
    buckets
}

/// Images per asynchronous copy to the device. While a copy runs, the host writes
/// the next images to pinned memory. Each copy costs the host a few microseconds,
/// so there is not one copy per image.
const IMAGES_PER_COPY: usize = 8;

/// Time spent by the GPU, measured with CUDA events.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct GpuTime {
    /// From the start of a batch's first copy to the end of its last one,
    /// including the time in which the GPU waits for the host.
    pub(super) upload: Duration,
    /// From the end of the last copy until the outputs are on the host.
    pub(super) compute: Duration,
}

/// The launches and the captured graph for one batch size.
struct Bucket {
    n: usize,
    /// Converts pixels to the network's input.
    input: Launch,
    /// All other steps.
    program: Program,
    graph: Option<Captured>,
}

/// A captured graph. It is `Send`, so that its lane can move to another thread.
struct Captured(CudaGraph);

// SAFETY: a graph is not bound to a thread. It must be used by one thread at a
// time, and only the thread that holds the lane uses it.
unsafe impl Send for Captured {}

/// A CUDA stream with its own buffers; see the module documentation. Each field
/// is declared before the fields that it depends on, so that it is dropped first.
pub(super) struct Lane {
    buckets: Vec<Bucket>,
    /// The cuDNN handle of `stream`.
    handle: Handle,
    /// The arena: one buffer per slot of the network.
    slots: Vec<DeviceBuffer>,
    /// Workspace of the execution plans and of group norm.
    workspace: DeviceBuffer,
    /// Pixels of a batch in device memory.
    pixels: DeviceBuffer,
    /// Pixels of a batch in pinned host memory.
    pinned_pixels: PinnedBuffer,
    /// Outputs in pinned host memory. It has room for the logits; it grows when
    /// a pass returns the embedding or the feature map for the first time.
    pinned_outputs: PinnedBuffer,
    /// Event on `copies` before the first copy of a pass.
    upload_start: CudaEvent,
    /// Event on `copies` after the last copy of a pass.
    upload_end: CudaEvent,
    /// Event on `stream` after the outputs are on the host.
    pass_end: CudaEvent,
    /// GPU time since the last `take_time`.
    time: GpuTime,
    /// The stream of the asynchronous copies to the device. The copies of one
    /// lane overlap with the computation of another lane. Within a lane, the
    /// computation starts after the copies.
    copies: Arc<CudaStream>,
    /// The stream of the computation and of the copies to the host.
    stream: Arc<CudaStream>,
    weights: Arc<Weights>,
    network: Arc<Network>,
    gpu: Arc<Gpu>,
}

impl Lane {
    /// Creates a lane on `gpu` for batches of `sizes`, ascending: plans every
    /// convolution, allocates memory, runs every batch size once and captures it.
    pub(super) fn new(
        gpu: &Arc<Gpu>,
        network: &Arc<Network>,
        weights: &Arc<Weights>,
        tuner: &Tuner,
        sizes: &[usize],
    ) -> Result<Self, CudaError> {
        let context = gpu.context();
        let (stream, copies) = (context.new_stream()?, context.new_stream()?);
        let handle = Handle::new(&stream)?;
        let largest = sizes.last().copied().unwrap_or(1);
        let mut plans = Plans::default();
        for &n in sizes {
            plans.choose(network, (&handle, &stream), tuner, n)?;
        }
        tuner.save();
        let slots = network
            .slot_bytes(largest)
            .map(|bytes| DeviceBuffer::zeros(&stream, bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let workspace = plans.workspace().max(statistics_bytes(network, largest));
        let logits = largest * padded(network.classes()) * network.dtype.bytes();
        // the host thread blocks instead of spinning, so that other threads can
        // decode images while it waits
        let blocking = CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        let mut lane = Self {
            buckets: Vec::new(),
            handle,
            slots,
            workspace: DeviceBuffer::zeros(&stream, workspace)?,
            pixels: DeviceBuffer::zeros(&stream, largest * network.pixel_bytes())?,
            pinned_pixels: PinnedBuffer::zeros(&context, largest * network.pixel_bytes())?,
            pinned_outputs: PinnedBuffer::zeros(&context, logits)?,
            upload_start: context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))?,
            upload_end: context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))?,
            pass_end: context.new_event(Some(blocking))?,
            time: GpuTime::default(),
            copies,
            stream,
            weights: Arc::clone(weights),
            network: Arc::clone(network),
            gpu: Arc::clone(gpu),
        };
        // `stream` fills the buffers with zeros; wait for this before `copies` is
        // used
        lane.stream.synchronize()?;
        for &n in sizes {
            let bucket = lane.bucket(n, &plans)?;
            lane.buckets.push(bucket);
        }
        Ok(lane)
    }

    /// The GPU's ordinal.
    pub(super) fn ordinal(&self) -> usize {
        self.gpu.ordinal
    }

    /// The cuDNN engine of each step in the largest batch; see
    /// [`Program::engine`].
    pub(super) fn engines(&self) -> Vec<Option<String>> {
        let steps = 0..self.network.steps.len();
        let largest = self.buckets.last().map(|bucket| &bucket.program);
        steps
            .map(|step| largest.and_then(|program| program.engine(step)))
            .collect()
    }

    /// Prepares batches of `n`: runs the steps once, so that every kernel is
    /// loaded, and then captures them as a graph.
    fn bucket(&self, n: usize, plans: &Plans) -> Result<Bucket, CudaError> {
        let (network, kernels) = (&self.network, &self.gpu.kernels);
        let map = |value| self.map(value, n);
        let input = kernels.pixels(self.pixels.address(), &map(0)?, network.mean, network.std)?;
        let program = Program::new(
            network,
            n,
            &self.weights,
            (kernels, plans),
            map,
            self.workspace.address(),
        )?;
        input.run(&self.stream)?;
        program.run(&self.handle, &self.stream)?;
        self.stream.synchronize()?;
        let graph = self.capture(&program)?;
        Ok(Bucket {
            n,
            input,
            program,
            graph,
        })
    }

    /// Captures the launches of `program` as a CUDA graph.
    fn capture(&self, program: &Program) -> Result<Option<Captured>, CudaError> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode)?;
        let queued = program.run(&self.handle, &self.stream);
        // end the capture also after an error
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        queued?;
        let graph = graph?;
        if let Some(graph) = &graph {
            graph.upload()?;
        }
        Ok(graph.map(Captured))
    }

    /// The device tensor of a value in batches of `n`.
    fn map(&self, value: Value, n: usize) -> Result<DeviceTensor, CudaError> {
        let slot = self.network.slot(value).and_then(|at| self.slots.get(at));
        let slot = slot.ok_or_else(|| CudaError::Internal(format!("value {value} has no slot")))?;
        let map = DeviceTensor::new(slot.address(), n, self.network.graph.shape(value));
        if map.len() * self.network.dtype.bytes() > slot.bytes() {
            return Err(CudaError::Internal(format!(
                "value {value} is larger than its slot"
            )));
        }
        Ok(map)
    }

    /// The smallest bucket whose batch size is at least `n`.
    fn bucket_of(&self, n: usize) -> Result<&Bucket, CudaError> {
        let bucket = self.buckets.iter().find(|bucket| bucket.n >= n);
        bucket.ok_or_else(|| CudaError::Internal(format!("no bucket for {n} images")))
    }

    /// Returns the requested outputs of RGB images `[S, S, 3]`, at most as many as
    /// the batch size of the largest bucket. If the bucket is larger than `images`,
    /// its remaining images are pixels of earlier passes, and their outputs are
    /// discarded.
    pub(super) fn forward(
        &mut self,
        images: &[&[u8]],
        requested: Requested,
    ) -> Result<Output, CudaError> {
        let bytes = self.network.pixel_bytes();
        self.upload_start.record(&self.copies)?;
        for (index, group) in images.chunks(IMAGES_PER_COPY).enumerate() {
            let (start, length) = (index * IMAGES_PER_COPY * bytes, group.len() * bytes);
            let part = self
                .pinned_pixels
                .as_mut_slice()
                .get_mut(start..start + length);
            let part = part.filter(|_| group.iter().all(|image| image.len() == bytes));
            let Some(part) = part else {
                return Err(CudaError::Internal("an image of the wrong size".into()));
            };
            for (to, image) in part.chunks_exact_mut(bytes).zip(group) {
                to.copy_from_slice(image);
            }
            self.pinned_pixels
                .copy_to_device(&self.copies, &self.pixels, start, length)?;
        }
        self.upload_end.record(&self.copies)?;
        self.stream.wait(&self.upload_end)?;
        let bucket = self.bucket_of(images.len())?;
        bucket.input.run(&self.stream)?;
        match &bucket.graph {
            Some(graph) => graph.0.launch()?,
            None => bucket.program.run(&self.handle, &self.stream)?,
        }
        let output = self.finish(images.len(), requested)?;
        let milliseconds = |ms: f32| Duration::from_secs_f32(ms.max(0.0) / 1e3);
        self.time.upload += milliseconds(self.upload_start.elapsed_ms(&self.upload_end)?);
        self.time.compute += milliseconds(self.upload_end.elapsed_ms(&self.pass_end)?);
        Ok(output)
    }

    /// GPU time since the last call.
    pub(super) fn take_time(&mut self) -> GpuTime {
        std::mem::take(&mut self.time)
    }

    /// Like [`Lane::forward`], for normalized planes `[N, 3, S, S]`. If `observe`
    /// is given, synchronizes after each step and calls it with the index and the
    /// duration of the step.
    pub(super) fn forward_planes(
        &mut self,
        planes: &[f32],
        requested: Requested,
        observe: Option<StepObserver>,
    ) -> Result<Output, CudaError> {
        let (network, stream) = (Arc::clone(&self.network), Arc::clone(&self.stream));
        let pixels = network.side() * network.side();
        let n = planes.len() / (3 * pixels);
        let mut start = Instant::now();
        let mut input = vec![0.0; n * pixels * 8];
        for (i, plane) in planes.chunks_exact(pixels).enumerate() {
            for (at, &value) in plane.iter().enumerate() {
                input[(i / 3 * pixels + at) * 8 + i % 3] = value;
            }
        }
        let encoded = network.dtype.encode(&input);
        let slot = network.slot(0).and_then(|at| self.slots.get_mut(at));
        let slot = slot.ok_or_else(|| CudaError::Internal("the input has no slot".into()))?;
        slot.fill(&stream, &encoded)?;
        let bucket = self.bucket_of(n)?;
        match (observe, &bucket.graph) {
            (Some(observe), _) => {
                stream.synchronize()?;
                let mut report = |step| {
                    observe(step, start.elapsed());
                    start = Instant::now();
                };
                report(0);
                bucket
                    .program
                    .run_observed(&self.handle, &stream, &mut report)?;
            }
            (None, Some(graph)) => graph.0.launch()?,
            (None, None) => bucket.program.run(&self.handle, &stream)?,
        }
        self.finish(n, requested)
    }

    /// Copies the requested outputs to the host, waits for the pass to complete, and
    /// returns the outputs of the first `n` images.
    fn finish(&mut self, n: usize, requested: Requested) -> Result<Output, CudaError> {
        let dtype = self.network.dtype;
        let mut tensors = Vec::new();
        let mut bytes = 0;
        for value in requested.values() {
            let tensor = self.map(value, n)?;
            tensors.push((bytes, tensor));
            bytes += tensor.len() * dtype.bytes();
        }
        if bytes > self.pinned_outputs.as_slice().len() {
            let largest = self.buckets.last().map_or(n, |bucket| bucket.n);
            self.pinned_outputs = PinnedBuffer::zeros(&self.gpu.context(), bytes / n * largest)?;
        }
        for (start, tensor) in &tensors {
            self.pinned_outputs
                .copy_from_device(&self.stream, tensor, dtype, *start)?;
        }
        self.pass_end.record(&self.stream)?;
        self.pass_end.synchronize()?;
        // drops the padding channels of each pixel
        let mut read = tensors.into_iter().map(|(start, tensor)| {
            let pixel = tensor.channels * dtype.bytes();
            let bytes = &self.pinned_outputs.as_slice()[start..][..n * tensor.pixels() * pixel];
            let pixels = bytes.chunks_exact(pixel);
            let values = pixels.flat_map(|pixel| dtype.decode(pixel).take(tensor.real_channels));
            values.collect()
        });
        // `values` and `read` have the same order
        requested.read(|_| Ok(read.next().unwrap_or_default()))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Queued work must finish before its memory is freed. After an error, the
        // context is unusable and runs no more work.
        for stream in [&self.copies, &self.stream] {
            let _ = stream.synchronize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_the_powers_of_two_and_the_largest_batch() {
        assert_eq!(buckets(1), [1]);
        assert_eq!(buckets(16), [1, 2, 4, 8, 16]);
        assert_eq!(buckets(24), [1, 2, 4, 8, 16, 24]);
    }
}
