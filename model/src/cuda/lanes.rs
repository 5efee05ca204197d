//! The lanes of a network on all its GPUs. A forward pass runs on the next idle
//! lane. A lane that fails is recreated, or removed if that fails too.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::error::CudaError;
use super::gpu::Gpu;
use super::lane::{GpuTime, Lane, buckets};
use super::network::Network;
use super::placement::Placement;
use super::tune::Tuner;
use super::weights::Weights;
use crate::error::{Error, Result};

/// What the lanes of one GPU share.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) card: Arc<Gpu>,
    pub(super) weights: Arc<Weights>,
    pub(super) tuner: Arc<Tuner>,
}

/// All lanes of a network; see the module documentation.
pub(super) struct Lanes {
    network: Arc<Network>,
    /// By device ordinal.
    sources: HashMap<usize, Source>,
    /// Batch sizes, ascending.
    sizes: Vec<usize>,
    /// The cuDNN engine of each step in the largest batch, on the first GPU.
    engines: Vec<Option<String>>,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    idle: Vec<Lane>,
    /// Number of usable lanes, idle or running. The others failed and could not
    /// be recreated.
    alive: usize,
    /// Error of the last lane that failed.
    last_fault: Option<String>,
    /// GPU time of the finished passes.
    time: GpuTime,
}

impl Lanes {
    /// Creates all lanes of `placement`.
    ///
    /// # Errors
    /// A CUDA call fails, or the GPU runs out of memory. An out-of-memory error
    /// states the largest batch size that fits.
    pub(super) fn new(
        network: &Arc<Network>,
        sources: HashMap<usize, Source>,
        placement: &Placement,
    ) -> Result<Self> {
        let make = |largest| make(network, &sources, placement, &buckets(largest));
        let idle = make(placement.largest_batch).map_err(|e| match e {
            Error::Cuda { ordinal, fault } if fault.is_out_of_memory() => {
                let fits = |largest| match make(largest) {
                    Ok(_) => Ok(true),
                    Err(Error::Cuda { fault, .. }) if fault.is_out_of_memory() => Ok(false),
                    Err(other) => Err(other),
                };
                too_large(ordinal, placement, fits)
            }
            other => other,
        })?;
        Ok(Self {
            network: Arc::clone(network),
            sizes: buckets(placement.largest_batch),
            engines: idle.first().map(Lane::engines).unwrap_or_default(),
            freed: Condvar::new(),
            state: Mutex::new(State {
                alive: idle.len(),
                idle,
                last_fault: None,
                time: GpuTime::default(),
            }),
            sources,
        })
    }

    /// The batch sizes that are captured, ascending.
    pub(super) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The largest batch size.
    pub(super) fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or(1)
    }

    /// What the lanes share, for each GPU.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// The cuDNN engine of a step in the largest batch; `None` if the step is not a
    /// convolution.
    pub(super) fn engine(&self, step: usize) -> Option<String> {
        self.engines.get(step).cloned().flatten()
    }

    /// Number of usable lanes.
    pub(super) fn alive(&self) -> usize {
        self.lock().alive
    }

    /// The last error, if no lane is usable.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.lock();
        (state.alive == 0).then(|| state.last_fault.clone().unwrap_or_default())
    }

    /// GPU time since the last call.
    pub(super) fn take_time(&self) -> GpuTime {
        std::mem::take(&mut self.lock().time)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `pass` on the next idle lane. If it fails, the lane is dropped and
    /// recreated; if that fails too, the lane is removed.
    pub(super) fn run<T>(&self, pass: impl FnOnce(&mut Lane) -> Result<T, CudaError>) -> Result<T> {
        let mut lane = self.take()?;
        let ordinal = lane.ordinal();
        let watch = Watch(self);
        let done = pass(&mut lane);
        drop(watch);
        let fault = match done {
            Ok(output) => {
                self.give_back(lane);
                return Ok(output);
            }
            Err(fault) => fault,
        };
        drop(lane);
        tracing::error!(gpu = ordinal, error = %fault, "a forward pass failed; its CUDA stream is recreated");
        self.replace(ordinal, &fault);
        Err(Error::Cuda { ordinal, fault })
    }

    fn take(&self) -> Result<Lane> {
        let mut state = self.lock();
        loop {
            if let Some(lane) = state.idle.pop() {
                return Ok(lane);
            }
            if state.alive == 0 {
                return Err(Error::Device {
                    device: "cuda".into(),
                    reason: format!(
                        "no CUDA stream is usable: reload the model; last error: {}",
                        state.last_fault.as_deref().unwrap_or("none")
                    ),
                });
            }
            let woken = self.freed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, mut lane: Lane) {
        let used = lane.take_time();
        let mut state = self.lock();
        state.time.upload += used.upload;
        state.time.compute += used.compute;
        state.idle.push(lane);
        drop(state);
        self.freed.notify_one();
    }

    /// Removes a lane permanently.
    fn retire(&self) {
        self.lock().alive -= 1;
        self.freed.notify_all();
    }

    /// Replaces a failed lane of GPU `ordinal`.
    fn replace(&self, ordinal: usize, fault: &CudaError) {
        self.lock().last_fault = Some(format!("cuda:{ordinal}: {fault}"));
        let made = self.sources.get(&ordinal).map(|source| {
            // clear errors recorded while the old lane was dropped
            let _ = source.card.context().check_err();
            source.lane(&self.network, &self.sizes)
        });
        match made {
            Some(Ok(lane)) => return self.give_back(lane),
            Some(Err(again)) => {
                tracing::error!(gpu = ordinal, error = %again, "a CUDA stream cannot be recreated and is removed");
            }
            None => {}
        }
        self.retire();
    }
}

impl Source {
    fn lane(&self, network: &Arc<Network>, sizes: &[usize]) -> Result<Lane, CudaError> {
        Lane::new(&self.card, network, &self.weights, &self.tuner, sizes)
    }
}

/// Removes the lane if a pass panics: unwinding drops the lane.
struct Watch<'a>(&'a Lanes);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.retire();
        }
    }
}

/// Creates all lanes, alternating between the GPUs so that the first batches use
/// all of them.
fn make(
    network: &Arc<Network>,
    sources: &HashMap<usize, Source>,
    placement: &Placement,
    sizes: &[usize],
) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for _ in 0..placement.streams.max(1) {
        for ordinal in &placement.gpus {
            let source = &sources[ordinal];
            // clear errors recorded earlier
            let _ = source.card.context().check_err();
            let lane = source.lane(network, sizes);
            lanes.push(lane.map_err(|fault| source.card.error(fault))?);
        }
    }
    Ok(lanes)
}

/// The error for lanes that do not fit in the memory of a GPU. It states the
/// largest batch size that fits, which is found by trying.
fn too_large(ordinal: usize, placement: &Placement, fits: impl Fn(usize) -> Result<bool>) -> Error {
    let Placement {
        streams,
        largest_batch: largest,
        ..
    } = placement;
    let best = match largest_below(*largest, fits) {
        Ok(best) => best,
        Err(other) => return other,
    };
    Error::Device {
        device: format!("cuda:{ordinal}"),
        reason: format!(
            "out of memory with {streams} streams and a maximum batch of {largest}: {}",
            match best {
                0 => "even batches of 1 do not fit; use fewer streams".into(),
                n => format!("the largest batch that fits is {n}"),
            }
        ),
    }
}

/// The largest number below `too_many` that fits, or 0 if none does. A binary
/// search, because each try costs as much as loading for that batch size.
fn largest_below(mut too_many: usize, fits: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let mut best = 0;
    while too_many - best > 1 {
        let middle = best.midpoint(too_many);
        match fits(middle)? {
            true => best = middle,
            false => too_many = middle,
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_batch_that_fits_is_found() {
        for too_many in 1..40 {
            for most in 0..too_many {
                let found = largest_below(too_many, |n| Ok(n <= most)).unwrap();
                assert_eq!(found, most);
            }
        }
    }
}
