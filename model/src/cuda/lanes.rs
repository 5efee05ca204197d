//! The lanes of a network on all its GPUs (see `lane`). A forward pass runs on
//! the next idle lane. If the pass fails, its lane is recreated. If that fails
//! too, the lane is removed.

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

/// The GPU, the weights and the tuner that all lanes on one GPU share.
#[derive(Clone)]
pub(super) struct GpuResources {
    pub(super) gpu: Arc<Gpu>,
    pub(super) weights: Arc<Weights>,
    pub(super) tuner: Arc<Tuner>,
}

/// All lanes of a network; see the module documentation.
pub(super) struct Lanes {
    network: Arc<Network>,
    /// The resources of each GPU, by device ordinal.
    resources: HashMap<usize, GpuResources>,
    /// Batch sizes, ascending.
    sizes: Vec<usize>,
    /// The cuDNN engine of each step in the largest batch, on the first GPU.
    engines: Vec<Option<String>>,
    state: Mutex<State>,
    /// Notified when a lane becomes idle or is removed.
    changed: Condvar,
}

struct State {
    idle: Vec<Lane>,
    /// Number of usable lanes, idle or running. The other lanes were removed.
    usable: usize,
    /// The error of the last forward pass that failed.
    last_error: Option<String>,
    /// GPU time of the completed passes since the last `take_time`.
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
        resources: HashMap<usize, GpuResources>,
        placement: &Placement,
    ) -> Result<Self> {
        let create = |largest| create_lanes(network, &resources, placement, &buckets(largest));
        let idle = create(placement.largest_batch).map_err(|e| match e {
            Error::Cuda { ordinal, error } if error.is_out_of_memory() => {
                let fits = |largest| match create(largest) {
                    Ok(_) => Ok(true),
                    Err(Error::Cuda { error, .. }) if error.is_out_of_memory() => Ok(false),
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
            changed: Condvar::new(),
            state: Mutex::new(State {
                usable: idle.len(),
                idle,
                last_error: None,
                time: GpuTime::default(),
            }),
            resources,
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

    /// The shared resources of each GPU.
    pub(super) fn resources(&self) -> impl Iterator<Item = &GpuResources> {
        self.resources.values()
    }

    /// The cuDNN engine of a step in the largest batch; `None` if the step is not a
    /// convolution.
    pub(super) fn engine(&self, step: usize) -> Option<String> {
        self.engines.get(step).cloned().flatten()
    }

    /// Number of usable lanes.
    pub(super) fn usable(&self) -> usize {
        self.lock().usable
    }

    /// The error of the last forward pass that failed, if no lane is usable.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.lock();
        (state.usable == 0).then(|| state.last_error.clone().unwrap_or_default())
    }

    /// GPU time since the last call.
    pub(super) fn take_time(&self) -> GpuTime {
        std::mem::take(&mut self.lock().time)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `pass` on the next idle lane and waits for one if all are running. If
    /// the pass fails, the lane is dropped and recreated. If that fails too, the
    /// lane is removed.
    ///
    /// # Errors
    /// The pass failed, or no lane is usable.
    pub(super) fn run<T>(&self, pass: impl FnOnce(&mut Lane) -> Result<T, CudaError>) -> Result<T> {
        let mut lane = self.take()?;
        let ordinal = lane.ordinal();
        let guard = RemoveOnPanic(self);
        let result = pass(&mut lane);
        drop(guard);
        let error = match result {
            Ok(output) => {
                self.put_back(lane);
                return Ok(output);
            }
            Err(error) => error,
        };
        drop(lane);
        tracing::error!(gpu = ordinal, %error, "a forward pass failed; its CUDA stream is recreated");
        self.replace(ordinal, &error);
        Err(Error::Cuda { ordinal, error })
    }

    /// Takes an idle lane; waits for one if all are running.
    fn take(&self) -> Result<Lane> {
        let mut state = self.lock();
        loop {
            if let Some(lane) = state.idle.pop() {
                return Ok(lane);
            }
            if state.usable == 0 {
                return Err(Error::Device {
                    device: "cuda".into(),
                    reason: format!(
                        "no CUDA stream is usable: reload the model; last error: {}",
                        state.last_error.as_deref().unwrap_or("none")
                    ),
                });
            }
            let locked = self.changed.wait(state);
            state = locked.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds the lane to the idle ones, and its GPU time to the total.
    fn put_back(&self, mut lane: Lane) {
        let used = lane.take_time();
        let mut state = self.lock();
        state.time.upload += used.upload;
        state.time.compute += used.compute;
        state.idle.push(lane);
        drop(state);
        self.changed.notify_one();
    }

    /// Counts a lane as removed. The caller has dropped it, or drops it.
    fn remove(&self) {
        self.lock().usable -= 1;
        self.changed.notify_all();
    }

    /// Creates a lane on GPU `ordinal` in place of one that failed with `error`.
    /// If this fails, counts the lane as removed.
    fn replace(&self, ordinal: usize, error: &CudaError) {
        self.lock().last_error = Some(format!("cuda:{ordinal}: {error}"));
        let created = self.resources.get(&ordinal).map(|shared| {
            // clear errors recorded while the old lane was dropped
            let _ = shared.gpu.context().check_err();
            shared.create_lane(&self.network, &self.sizes)
        });
        match created {
            Some(Ok(lane)) => return self.put_back(lane),
            Some(Err(error)) => {
                tracing::error!(gpu = ordinal, %error, "a CUDA stream could not be recreated; it is removed");
            }
            None => {}
        }
        self.remove();
    }
}

impl GpuResources {
    fn create_lane(&self, network: &Arc<Network>, sizes: &[usize]) -> Result<Lane, CudaError> {
        Lane::new(&self.gpu, network, &self.weights, &self.tuner, sizes)
    }
}

/// Counts the lane of a pass as removed if the pass panics, because unwinding
/// drops the lane.
struct RemoveOnPanic<'a>(&'a Lanes);

impl Drop for RemoveOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.remove();
        }
    }
}

/// Creates all lanes, alternating between the GPUs so that the first batches use
/// all of them.
fn create_lanes(
    network: &Arc<Network>,
    resources: &HashMap<usize, GpuResources>,
    placement: &Placement,
    sizes: &[usize],
) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for _ in 0..placement.streams.max(1) {
        for ordinal in &placement.gpus {
            let shared = &resources[ordinal];
            // clear errors recorded earlier
            let _ = shared.gpu.context().check_err();
            let lane = shared.create_lane(network, sizes);
            lanes.push(lane.map_err(|error| shared.gpu.error(error))?);
        }
    }
    Ok(lanes)
}

/// The error if the lanes do not fit in the memory of a GPU. It states the
/// largest batch size that fits. `fits` tries a batch size.
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

/// The largest number below `too_many` that fits, or 0 if none does. Uses binary
/// search, because each try creates all lanes for that batch size.
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
