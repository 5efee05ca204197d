//! A network on one or more cards: lanes that forward passes take turns on.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Shape, bail};
use weights::{Checkpoint, Recipe};

use super::card::{self, Card, CardFacts};
use super::fault::Fault;
use super::lane::{Lane, Usage, buckets};
use super::network::Network;
use super::number::Number;
use super::tune::Tuner;
use super::weights::Weights;
use crate::cost::Cost;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::options::Tuning;
use crate::plan::Input;

/// Where a network runs, and in what.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Ordinals of the cards.
    pub cards: Vec<usize>,
    /// Lanes on each.
    pub lanes: usize,
    /// The largest batch that a lane runs at once.
    pub largest: usize,
    /// How values are stored.
    pub number: Number,
    /// Which of cuDNN's engines runs a convolution.
    pub tuning: Tuning,
}

/// A network on its cards. Shared freely: `forward` takes `&self`, and runs on
/// whichever lane is free.
pub struct CudaPlan {
    network: Arc<Network>,
    sizes: Vec<usize>,
    weight_bytes: usize,
    cards: Vec<CardFacts>,
    lanes: Mutex<Lanes>,
    freed: Condvar,
    usage: Mutex<Usage>,
}

struct Lanes {
    idle: Vec<Lane>,
    /// Lanes that are idle or run; the others have failed and could not be
    /// made again.
    alive: usize,
    /// Why the last one failed.
    last_fault: Option<String>,
    /// What a lane is made of, by its card's ordinal.
    sources: HashMap<usize, Source>,
}

#[derive(Clone)]
struct Source {
    card: Arc<Card>,
    weights: Arc<Weights>,
    tuner: Arc<Tuner>,
}

impl CudaPlan {
    /// Reads, folds and uploads the weights of `graph` once a card and makes
    /// its lanes.
    ///
    /// # Errors
    /// A card that cannot be used, or whose memory does not suffice; a
    /// parameter that is missing or wrong.
    pub fn new(
        graph: &Graph,
        checkpoint: &Checkpoint,
        recipe: &Recipe,
        placement: &Placement,
    ) -> Result<Self> {
        let network = Arc::new(Network::new(graph, recipe, placement.number)?);
        let mut sources = HashMap::new();
        let mut cards = Vec::new();
        for &ordinal in &placement.cards {
            let card = Card::open(ordinal, placement.number)?;
            let weights = Weights::new(&network, checkpoint, &card)?;
            cards.push(card.facts.clone());
            let tuner = match &placement.tuning {
                Tuning::Guess => Tuner::off(),
                Tuning::Measure(folder) => Tuner::on(&card.facts.name, folder.as_deref()),
            };
            let source = Source {
                card,
                weights: Arc::new(weights),
                tuner: Arc::new(tuner),
            };
            sources.insert(ordinal, source);
        }
        let weight_bytes = sources.values().next().map_or(0, |s| s.weights.bytes());
        let make = |largest| make_lanes(&network, &sources, placement, &buckets(largest));
        let idle = make(placement.largest).map_err(|e| match e {
            Error::Cuda { ordinal, fault } if fault.is_out_of_memory() => {
                too_large(ordinal, placement, |largest| make(largest).is_ok())
            }
            other => other,
        })?;
        let sizes = buckets(placement.largest);
        Ok(Self {
            network,
            sizes,
            weight_bytes,
            cards,
            freed: Condvar::new(),
            usage: Mutex::default(),
            lanes: Mutex::new(Lanes {
                alive: idle.len(),
                idle,
                last_fault: None,
                sources,
            }),
        })
    }

    /// Why no card can be used, or `None` when one can be opened.
    #[must_use]
    pub fn missing() -> Option<String> {
        card::missing()
    }

    /// What it computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.network.graph
    }

    /// The cards it runs on.
    #[must_use]
    pub fn cards(&self) -> &[CardFacts] {
        &self.cards
    }

    /// Lanes on all cards that still work.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lock().alive
    }

    /// Why no forward pass can run any more, once no lane works.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let lanes = self.lock();
        (lanes.alive == 0).then(|| lanes.last_fault.clone().unwrap_or_default())
    }

    /// Bytes of the weights, on each card.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Bytes of a lane's maps for a batch of `n`.
    #[must_use]
    pub fn arena_bytes(&self, n: usize) -> usize {
        self.network.slot_bytes(n).sum()
    }

    /// The cost of each step, in the order they run.
    #[must_use]
    pub fn steps(&self) -> Vec<Cost> {
        let lanes = self.lock();
        let weights = lanes.sources.values().next().map(|s| &s.weights);
        self.network
            .costs(|step| weights.map_or(0, |w| w.of(step).bytes()))
    }

    /// What the cards were used for since this was last asked.
    #[must_use]
    pub fn take_usage(&self) -> Usage {
        std::mem::take(&mut *self.usage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes in use on all cards, by anyone.
    #[must_use]
    pub fn memory_in_use(&self) -> usize {
        let lanes = self.lock();
        let used = lanes.sources.values().filter_map(|source| {
            let (free, total) = source.card.context().mem_get_info().ok()?;
            total.checked_sub(free)
        });
        used.sum()
    }

    fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or(1)
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logits `[N, classes]`. A batch above the largest runs in parts.
    ///
    /// # Errors
    /// An input that is not whole images; a card that fails.
    pub fn forward(&self, input: Input) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        match input {
            Input::Pixels(images) => {
                let bytes = self.network.pixel_bytes();
                if let Some(image) = images.iter().find(|image| image.len() != bytes) {
                    return Err(wrong(image.len(), bytes));
                }
                for part in images.chunks(self.largest()) {
                    self.with_lane(|lane| lane.forward(part, &mut logits))?;
                }
            }
            Input::Planes(planes) => {
                for part in self.parts(planes)? {
                    self.with_lane(|lane| lane.forward_planes(part, &mut logits, None))?;
                }
            }
        }
        Ok(logits)
    }

    /// Logits of planes `[N, 3, S, S]`, step by step: tells `observe` each
    /// step's index and duration. Slower than [`CudaPlan::forward`], which does
    /// not wait between steps.
    ///
    /// # Errors
    /// As there.
    pub fn forward_observed(
        &self,
        planes: &[f32],
        observe: &mut (dyn FnMut(usize, Duration) + Send),
    ) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        for part in self.parts(planes)? {
            self.with_lane(|lane| lane.forward_planes(part, &mut logits, Some(&mut *observe)))?;
        }
        Ok(logits)
    }

    /// Whole images in parts of the largest batch.
    fn parts<'a>(&self, planes: &'a [f32]) -> Result<std::slice::Chunks<'a, f32>> {
        let values = self.network.pixel_bytes();
        if !planes.len().is_multiple_of(values) {
            return Err(wrong(planes.len(), values));
        }
        Ok(planes.chunks(self.largest() * values))
    }

    /// Runs `pass` on the next lane that is free. A lane that fails is thrown
    /// away and made again; if that fails too there is one less.
    fn with_lane(&self, pass: impl FnOnce(&mut Lane) -> Result<(), Fault>) -> Result<()> {
        let mut lane = self.take()?;
        let ordinal = lane.ordinal();
        let Err(fault) = pass(&mut lane) else {
            self.give_back(lane);
            return Ok(());
        };
        drop(lane);
        tracing::error!(card = ordinal, %fault, "a lane failed");
        self.replace(ordinal, &fault);
        Err(Error::Cuda { ordinal, fault })
    }

    fn take(&self) -> Result<Lane> {
        let mut lanes = self.lock();
        loop {
            if let Some(lane) = lanes.idle.pop() {
                return Ok(lane);
            }
            if lanes.alive == 0 {
                return Err(Error::Device {
                    device: "cuda".into(),
                    reason: format!(
                        "no lane works any more; the last fault: {}",
                        lanes.last_fault.as_deref().unwrap_or("none")
                    ),
                });
            }
            lanes = self
                .freed
                .wait(lanes)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, mut lane: Lane) {
        let used = lane.take_usage();
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.upload += used.upload;
        usage.compute += used.compute;
        drop(usage);
        self.lock().idle.push(lane);
        self.freed.notify_one();
    }

    /// A new lane on card `ordinal` in place of one that failed.
    fn replace(&self, ordinal: usize, fault: &Fault) {
        let source = {
            let mut lanes = self.lock();
            lanes.last_fault = Some(format!("cuda:{ordinal}: {fault}"));
            lanes.sources.get(&ordinal).cloned()
        };
        let made = source.map(|source| {
            let Source {
                card,
                weights,
                tuner,
            } = &source;
            // what failed while the old lane ended is not the new one's fault
            let _ = card.context().check_err();
            Lane::new(card, &self.network, weights, tuner, &self.sizes)
        });
        match made {
            Some(Ok(lane)) => return self.give_back(lane),
            Some(Err(again)) => {
                tracing::error!(card = ordinal, fault = %again, "a lane is given up");
            }
            None => {}
        }
        self.lock().alive -= 1;
        self.freed.notify_all();
    }
}

/// All lanes, one a card at a time, so that the first batches go to all cards.
fn make_lanes(
    network: &Arc<Network>,
    sources: &HashMap<usize, Source>,
    placement: &Placement,
    sizes: &[usize],
) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for _ in 0..placement.lanes.max(1) {
        for ordinal in &placement.cards {
            let Source {
                card,
                weights,
                tuner,
            } = &sources[ordinal];
            // what failed before these lanes is not their fault
            let _ = card.context().check_err();
            let lane = Lane::new(card, network, weights, tuner, sizes);
            lanes.push(lane.map_err(|fault| card.error(fault))?);
        }
    }
    Ok(lanes)
}

/// The error of a card whose memory does not hold the lanes, with the largest
/// batch for which it does, found by trying.
fn too_large(ordinal: usize, placement: &Placement, fits: impl Fn(usize) -> bool) -> Error {
    let Placement { lanes, largest, .. } = placement;
    let halves = std::iter::successors(Some(largest / 2), |n| Some(n / 2));
    let best = halves.take_while(|&n| n > 0).find(|&n| fits(n));
    Error::Device {
        device: format!("cuda:{ordinal}"),
        reason: format!(
            "out of memory with {lanes} lanes for batches of {largest}: {}",
            match best {
                Some(n) => format!("the largest batch that fits is {n}"),
                None => "not even batches of 1 fit; fewer lanes might".into(),
            }
        ),
    }
}

fn wrong(len: usize, values: usize) -> Error {
    Error::Batch(format!("{len} values do not make images of {values}"))
}

impl CustomOp1 for CudaPlan {
    fn name(&self) -> &'static str {
        "resnet-cuda-plan"
    }

    /// Planes `[N, 3, S, S]` in f32, or pixels `[N, S, S, 3]` in u8, from the
    /// host to logits `[N, classes]` on the host.
    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("the plan reads contiguous tensors, not {layout:?}");
        };
        let n = layout.dims().first().copied().unwrap_or(0);
        let logits = match storage {
            CpuStorage::F32(planes) => self.forward(Input::Planes(&planes[start..end])),
            CpuStorage::U8(pixels) => {
                let image = self.network.pixel_bytes();
                let images: Vec<&[u8]> = pixels[start..end].chunks(image).collect();
                self.forward(Input::Pixels(&images))
            }
            _ => bail!("the plan reads f32 planes or u8 pixels"),
        }
        .map_err(candle_core::Error::wrap)?;
        let shape = Shape::from((n, self.network.classes()));
        Ok((CpuStorage::F32(logits), shape))
    }

    /// As on the host, from and to a card's tensors. They pass through the
    /// host: a lane has its own way for the pixels.
    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        use candle_core::backend::{BackendDevice, BackendStorage};
        let (logits, shape) = self.cpu_fwd(&storage.to_cpu_storage()?, layout)?;
        Ok((storage.device().storage_from_cpu_storage(&logits)?, shape))
    }
}
