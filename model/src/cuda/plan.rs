//! A network on one or more cards, as the rest of the program sees it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Shape};
use weights::{Checkpoint, Recipe};

use super::card::{self, Card, CardFacts};
use super::lane::Usage;
use super::lanes::{Lanes, Source};
use super::libraries;
use super::network::Network;
use super::number::Number;
use super::tune::Tuner;
use super::weights::Weights;
use crate::cost::Cost;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::on_tensor;
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
    cards: Vec<CardFacts>,
    lanes: Lanes,
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
            let load = || {
                let card = Card::open(ordinal, placement.number)?;
                let weights = Weights::new(&network, checkpoint, &card)?;
                Ok((card, weights))
            };
            let (card, weights) = load().map_err(|error| with_memory(error, &network))?;
            let tuner = match &placement.tuning {
                Tuning::Guess => Tuner::off(),
                Tuning::Measure(folder) => Tuner::on(&card.facts.name, folder.as_deref()),
            };
            cards.push(card.facts.clone());
            let source = Source {
                card,
                weights: Arc::new(weights),
                tuner: Arc::new(tuner),
            };
            sources.insert(ordinal, source);
        }
        Ok(Self {
            lanes: Lanes::new(&network, sources, placement)?,
            network,
            cards,
        })
    }

    /// Why no card can be used, or `None` when one can be opened.
    #[must_use]
    pub fn missing() -> Option<String> {
        libraries::missing()
    }

    /// The versions of the driver and of cuDNN, in words.
    #[must_use]
    pub fn versions() -> String {
        libraries::versions()
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
        self.lanes.alive()
    }

    /// Why no forward pass can run any more, once no lane works.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.lanes.fault()
    }

    /// Bytes of the weights, on each card.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let mut sources = self.lanes.sources();
        sources.next().map_or(0, |source| source.weights.bytes())
    }

    /// Bytes of a lane's maps for a batch of `n`.
    #[must_use]
    pub fn arena_bytes(&self, n: usize) -> usize {
        self.network.slot_bytes(n).sum()
    }

    /// The cost of each step, in the order they run.
    #[must_use]
    pub fn steps(&self) -> Vec<Cost> {
        let weights = self.lanes.sources().next().map(|s| &s.weights);
        let bytes = |step| weights.map_or(0, |w| w.of(step).bytes());
        self.network.costs(bytes, |step| self.lanes.engine(step))
    }

    /// The compute capability that its kernels run for: `sm_90`, or those of
    /// unequal cards.
    #[must_use]
    pub fn isa(&self) -> String {
        let each = self.cards.iter().map(|card| card.capability);
        let distinct: BTreeSet<_> = each.collect();
        let names = distinct
            .into_iter()
            .map(|(major, minor)| format!("sm_{major}{minor}"));
        names.collect::<Vec<_>>().join(",")
    }

    /// Multiply-adds a second that its cards can do in its numbers, by their
    /// data sheets.
    #[must_use]
    pub fn peak(&self) -> f64 {
        let number = self.network.number;
        self.cards.iter().map(|card| card.peak(number)).sum()
    }

    /// What the cards were used for since this was last asked.
    #[must_use]
    pub fn take_usage(&self) -> Usage {
        self.lanes.take_usage()
    }

    /// Bytes in use on all cards, by anyone.
    #[must_use]
    pub fn memory_in_use(&self) -> usize {
        let used = self.lanes.sources().filter_map(|source| {
            let (free, total) = source.card.context().mem_get_info().ok()?;
            total.checked_sub(free)
        });
        used.sum()
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
                for part in images.chunks(self.lanes.largest()) {
                    self.lanes.run(|lane| lane.forward(part, &mut logits))?;
                }
            }
            Input::Planes(planes) => {
                for part in self.parts(planes)? {
                    self.lanes
                        .run(|lane| lane.forward_planes(part, &mut logits, None))?;
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
    pub fn forward_timed(
        &self,
        planes: &[f32],
        observe: &mut (dyn FnMut(usize, Duration) + Send),
    ) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        for part in self.parts(planes)? {
            self.lanes
                .run(|lane| lane.forward_planes(part, &mut logits, Some(&mut *observe)))?;
        }
        Ok(logits)
    }

    /// Whole images in parts of the largest batch.
    fn parts<'a>(&self, planes: &'a [f32]) -> Result<std::slice::Chunks<'a, f32>> {
        let values = self.network.pixel_bytes();
        if !planes.len().is_multiple_of(values) {
            return Err(wrong(planes.len(), values));
        }
        Ok(planes.chunks(self.lanes.largest() * values))
    }
}

/// Memory that does not suffice for the weights, as an error that says what
/// would.
fn with_memory(error: Error, network: &Network) -> Error {
    let ordinal = match error {
        Error::Cuda { ordinal, fault } if fault.is_out_of_memory() => ordinal,
        other => return other,
    };
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    let there_is = match card::memory(ordinal) {
        Some((free, total)) => format!(
            "{:.1} of the card's {:.1} MB are free",
            megabytes(free),
            megabytes(total)
        ),
        None => "the card does not even tell what is free".into(),
    };
    let instead = match network.number {
        Number::F32 => "f16, which needs half, or another card",
        Number::F16 | Number::Bf16 => "another card, or end what else uses this one",
    };
    Error::Device {
        device: format!("cuda:{ordinal}"),
        reason: format!(
            "out of memory while loading the weights: they need {:.1} MB in {}, and {there_is}; \
             choose {instead}",
            megabytes(Weights::needed(network)),
            network.number.name(),
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

    /// From the host to the host.
    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        on_tensor(self.graph(), (storage, layout), |input| self.forward(input))
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
