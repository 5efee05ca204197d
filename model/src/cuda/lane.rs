//! A lane: a stream of a card with its own maps and plans, one forward pass at
//! a time. Everything is allocated, planned and captured when it is made; a
//! forward pass copies pixels, replays a graph and waits once, at its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::cuda_backend::cudarc::driver::sys::{
    CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode,
};
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaGraph, CudaStream};

use super::card::Card;
use super::dnn::Handle;
use super::fault::Fault;
use super::kernels::Launch;
use super::map::Map;
use super::memory::{Buffer, Pinned};
use super::network::Network;
use super::program::{Plans, Program, statistics_bytes};
use super::tune::Tuner;
use super::weights::Weights;
use crate::graph::Value;

/// The batch sizes that are planned and captured: powers of two below the
/// largest, and the largest.
pub(super) fn buckets(largest: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(1), |n| Some(n * 2));
    let mut buckets: Vec<usize> = powers.take_while(|&n| n < largest).collect();
    buckets.push(largest.max(1));
    buckets
}

/// Images of one copy to the card. While it runs the next ones are brought into
/// pinned memory; one copy an image would cost the host some microseconds each.
const COPIED: usize = 8;

/// Time of a card, as its own clock has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// From the start of a batch's first copy of pixels to the end of its last:
    /// with the waits in between for the host to bring them.
    pub upload: Duration,
    /// From there to the logits: computing, and copying them back.
    pub compute: Duration,
}

/// What a batch size needs.
struct Bucket {
    n: usize,
    /// Pixels to the stem's input.
    input: Launch,
    /// Every other step.
    program: Program,
    graph: Option<Captured>,
}

/// A captured graph, to be moved with its lane.
struct Captured(CudaGraph);

// SAFETY: a graph is not tied to a thread, but may only be used by one at a
// time: by the one that has its lane.
unsafe impl Send for Captured {}

/// See the module. Fields that use others stand before them: they end first.
pub(super) struct Lane {
    buckets: Vec<Bucket>,
    handle: Handle,
    slots: Vec<Buffer>,
    workspace: Buffer,
    /// Pixels of a batch, on the card.
    pixels: Buffer,
    /// Pixels and logits, on the host.
    sent: Pinned,
    received: Pinned,
    /// When the copies began, when they were done, and when the pass was.
    began: CudaEvent,
    uploaded: CudaEvent,
    done: CudaEvent,
    usage: Usage,
    /// Carries the pixels, some images' while the next are brought into pinned
    /// memory. One lane's copies and another's computing overlap; a lane's own
    /// follow each other.
    copies: Arc<CudaStream>,
    stream: Arc<CudaStream>,
    weights: Arc<Weights>,
    network: Arc<Network>,
    card: Arc<Card>,
}

impl Lane {
    /// A lane of `card` for batches of `sizes`, ascending: memory, plans,
    /// warm-up and graphs.
    pub(super) fn new(
        card: &Arc<Card>,
        network: &Arc<Network>,
        weights: &Arc<Weights>,
        tuner: &Tuner,
        sizes: &[usize],
    ) -> Result<Self, Fault> {
        let context = card.context();
        let (stream, copies) = (context.new_stream()?, context.new_stream()?);
        let handle = Handle::new(&stream)?;
        let largest = sizes.last().copied().unwrap_or(1);
        let mut plans = Plans::default();
        for &n in sizes {
            plans.choose(network, (&handle, &stream), tuner, n)?;
        }
        tuner.keep();
        let slots = network
            .slot_bytes(largest)
            .map(|bytes| Buffer::zeros(&stream, bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let workspace = plans.workspace().max(statistics_bytes(network, largest));
        let logits = largest * network.classes().next_multiple_of(8) * network.number.bytes();
        // the host sleeps while it waits: photos are decoded meanwhile
        let blocking = CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        let mut lane = Self {
            buckets: Vec::new(),
            handle,
            slots,
            workspace: Buffer::zeros(&stream, workspace)?,
            pixels: Buffer::zeros(&stream, largest * network.pixel_bytes())?,
            sent: Pinned::zeros(&context, largest * network.pixel_bytes())?,
            received: Pinned::zeros(&context, logits)?,
            began: context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))?,
            uploaded: context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))?,
            done: context.new_event(Some(blocking))?,
            usage: Usage::default(),
            copies,
            stream,
            weights: Arc::clone(weights),
            network: Arc::clone(network),
            card: Arc::clone(card),
        };
        // the copies' stream writes where zeros were queued on the other
        lane.stream.synchronize()?;
        for &n in sizes {
            let bucket = lane.bucket(n, &plans)?;
            lane.buckets.push(bucket);
        }
        Ok(lane)
    }

    /// The card's ordinal.
    pub(super) fn ordinal(&self) -> usize {
        self.card.ordinal
    }

    /// What of cuDNN's runs each step in the largest batch; see
    /// [`Program::engine`].
    pub(super) fn engines(&self) -> Vec<Option<String>> {
        let steps = 0..self.network.steps.len();
        let largest = self.buckets.last().map(|bucket| &bucket.program);
        steps
            .map(|step| largest.and_then(|program| program.engine(step)))
            .collect()
    }

    /// Prepares batches of `n`: runs the steps once, so that every kernel is
    /// loaded, then captures them.
    fn bucket(&self, n: usize, plans: &Plans) -> Result<Bucket, Fault> {
        let (network, kernels) = (&self.network, &self.card.kernels);
        let map = |value| self.map(value, n);
        let input = kernels.pixels(self.pixels.at(), &map(0)?, network.mean, network.std)?;
        let program = Program::new(
            network,
            n,
            &self.weights,
            (kernels, plans),
            map,
            self.workspace.at(),
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

    fn capture(&self, program: &Program) -> Result<Option<Captured>, Fault> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode)?;
        let queued = program.run(&self.handle, &self.stream);
        // the capture ends whatever happened in it
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        queued?;
        let graph = graph?;
        if let Some(graph) = &graph {
            graph.upload()?;
        }
        Ok(graph.map(Captured))
    }

    /// Where a value is in batches of `n`.
    fn map(&self, value: Value, n: usize) -> Result<Map, Fault> {
        let slot = self.slots.get(self.network.slot(value));
        let slot = slot.ok_or_else(|| Fault::Internal(format!("value {value} has no slot")))?;
        let map = Map::new(slot.at(), n, self.network.graph.shape(value));
        if map.len() * self.network.number.bytes() > slot.bytes() {
            return Err(Fault::Internal(format!("value {value} exceeds its slot")));
        }
        Ok(map)
    }

    /// The smallest bucket that holds `n` images.
    fn bucket_of(&self, n: usize) -> Result<&Bucket, Fault> {
        let bucket = self.buckets.iter().find(|bucket| bucket.n >= n);
        bucket.ok_or_else(|| Fault::Internal(format!("no bucket for {n} images")))
    }

    /// Appends the logits of RGB images `[S, S, 3]` to `logits`; at most as
    /// many images as the largest bucket. The rest of the bucket is computed
    /// from whatever images were there before, and thrown away.
    pub(super) fn forward(&mut self, images: &[&[u8]], logits: &mut Vec<f32>) -> Result<(), Fault> {
        let bytes = self.network.pixel_bytes();
        self.began.record(&self.copies)?;
        for (index, group) in images.chunks(COPIED).enumerate() {
            let (start, length) = (index * COPIED * bytes, group.len() * bytes);
            let part = self.sent.as_mut_slice().get_mut(start..start + length);
            let part = part.filter(|_| group.iter().all(|image| image.len() == bytes));
            let Some(part) = part else {
                return Err(Fault::Internal("an image of another size".into()));
            };
            for (to, image) in part.chunks_exact_mut(bytes).zip(group) {
                to.copy_from_slice(image);
            }
            self.sent.send(&self.copies, &self.pixels, start, length)?;
        }
        self.uploaded.record(&self.copies)?;
        self.stream.wait(&self.uploaded)?;
        let bucket = self.bucket_of(images.len())?;
        bucket.input.run(&self.stream)?;
        match &bucket.graph {
            Some(graph) => graph.0.launch()?,
            None => bucket.program.run(&self.handle, &self.stream)?,
        }
        self.finish(images.len(), logits)?;
        let milliseconds = |ms: f32| Duration::from_secs_f32(ms.max(0.0) / 1e3);
        self.usage.upload += milliseconds(self.began.elapsed_ms(&self.uploaded)?);
        self.usage.compute += milliseconds(self.uploaded.elapsed_ms(&self.done)?);
        Ok(())
    }

    /// What the card was used for since this was last asked.
    pub(super) fn take_usage(&mut self) -> Usage {
        std::mem::take(&mut self.usage)
    }

    /// As [`Lane::forward`], from normalised planes `[N, 3, S, S]`; tells
    /// `observe`, if there is one, each step and its duration.
    pub(super) fn forward_planes(
        &mut self,
        planes: &[f32],
        logits: &mut Vec<f32>,
        observe: Option<&mut (dyn FnMut(usize, Duration) + Send)>,
    ) -> Result<(), Fault> {
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
        let encoded = network.number.encode(&input);
        let slot = network.slot(0);
        self.slots[slot].fill(&stream, &encoded)?;
        let bucket = self.bucket_of(n)?;
        match (observe, &bucket.graph) {
            (Some(observe), _) => {
                stream.synchronize()?;
                let mut tell = |step| {
                    observe(step, start.elapsed());
                    start = Instant::now();
                };
                tell(0);
                bucket
                    .program
                    .run_observed(&self.handle, &stream, &mut tell)?;
            }
            (None, Some(graph)) => graph.0.launch()?,
            (None, None) => bucket.program.run(&self.handle, &stream)?,
        }
        self.finish(n, logits)
    }

    /// Fetches the logits of the first `n` images, once they are there.
    fn finish(&mut self, n: usize, logits: &mut Vec<f32>) -> Result<(), Fault> {
        let number = self.network.number;
        let map = self.map(self.network.logits(), n)?;
        let row = map.channels * number.bytes();
        self.received.receive(&self.stream, &map, number, n * row)?;
        self.done.record(&self.stream)?;
        self.done.synchronize()?;
        for row in self.received.as_slice().chunks_exact(row).take(n) {
            logits.extend(number.decode(row).take(map.real));
        }
        Ok(())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // nothing may still run over the memory that is about to be freed; a
        // card that is lost runs nothing
        for stream in [&self.copies, &self.stream] {
            let _ = stream.synchronize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two_and_the_largest_batch() {
        assert_eq!(buckets(1), [1]);
        assert_eq!(buckets(16), [1, 2, 4, 8, 16]);
        assert_eq!(buckets(24), [1, 2, 4, 8, 16, 24]);
    }
}
