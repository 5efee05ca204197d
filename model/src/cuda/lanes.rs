//! The lanes of a network on all its cards: forward passes take turns on them,
//! and one that fails is made again or given up.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::card::Card;
use super::fault::Fault;
use super::lane::{Lane, Usage, buckets};
use super::network::Network;
use super::plan::Placement;
use super::tune::Tuner;
use super::weights::Weights;
use crate::error::{Error, Result};

/// What a lane is made of.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) card: Arc<Card>,
    pub(super) weights: Arc<Weights>,
    pub(super) tuner: Arc<Tuner>,
}

/// See the module.
pub(super) struct Lanes {
    network: Arc<Network>,
    /// By the card's ordinal.
    sources: HashMap<usize, Source>,
    /// Batch sizes, ascending.
    sizes: Vec<usize>,
    /// What of cuDNN's runs each step in the largest batch, on the first card.
    engines: Vec<Option<String>>,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    idle: Vec<Lane>,
    /// Lanes that are idle or run; the others have failed and could not be
    /// made again.
    alive: usize,
    /// Why the last one failed.
    last_fault: Option<String>,
    /// Of passes that are done.
    usage: Usage,
}

impl Lanes {
    /// All lanes that `placement` asks for.
    ///
    /// # Errors
    /// A call that fails; memory that does not suffice, with the largest batch
    /// for which it does.
    pub(super) fn new(
        network: &Arc<Network>,
        sources: HashMap<usize, Source>,
        placement: &Placement,
    ) -> Result<Self> {
        let make = |largest| make(network, &sources, placement, &buckets(largest));
        let idle = make(placement.largest).map_err(|e| match e {
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
            sizes: buckets(placement.largest),
            engines: idle.first().map(Lane::engines).unwrap_or_default(),
            freed: Condvar::new(),
            state: Mutex::new(State {
                alive: idle.len(),
                idle,
                last_fault: None,
                usage: Usage::default(),
            }),
            sources,
        })
    }

    /// The largest batch.
    pub(super) fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or(1)
    }

    /// What the lanes are made of, by card.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// What of cuDNN's runs a step in the largest batch, if something does.
    pub(super) fn engine(&self, step: usize) -> Option<String> {
        self.engines.get(step).cloned().flatten()
    }

    /// Lanes that work.
    pub(super) fn alive(&self) -> usize {
        self.lock().alive
    }

    /// Why no pass can run any more, once no lane works.
    pub(super) fn fault(&self) -> Option<String> {
        let state = self.lock();
        (state.alive == 0).then(|| state.last_fault.clone().unwrap_or_default())
    }

    /// What the cards were used for since this was last asked.
    pub(super) fn take_usage(&self) -> Usage {
        std::mem::take(&mut self.lock().usage)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `pass` on the next lane that is free. A lane that fails is thrown
    /// away and made again; if that fails too there is one less.
    pub(super) fn run(&self, pass: impl FnOnce(&mut Lane) -> Result<(), Fault>) -> Result<()> {
        let mut lane = self.take()?;
        let ordinal = lane.ordinal();
        let watch = Watch(self);
        let done = pass(&mut lane);
        drop(watch);
        let Err(fault) = done else {
            self.give_back(lane);
            return Ok(());
        };
        drop(lane);
        tracing::error!(card = ordinal, %fault, "a lane failed");
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
                        "no lane works any more; the last fault: {}",
                        state.last_fault.as_deref().unwrap_or("none")
                    ),
                });
            }
            let woken = self.freed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, mut lane: Lane) {
        let used = lane.take_usage();
        let mut state = self.lock();
        state.usage.upload += used.upload;
        state.usage.compute += used.compute;
        state.idle.push(lane);
        drop(state);
        self.freed.notify_one();
    }

    /// One lane less, for good.
    fn retire(&self) {
        self.lock().alive -= 1;
        self.freed.notify_all();
    }

    /// A new lane on card `ordinal` in place of one that failed.
    fn replace(&self, ordinal: usize, fault: &Fault) {
        self.lock().last_fault = Some(format!("cuda:{ordinal}: {fault}"));
        let made = self.sources.get(&ordinal).map(|source| {
            // what failed while the old lane ended is not the new one's fault
            let _ = source.card.context().check_err();
            source.lane(&self.network, &self.sizes)
        });
        match made {
            Some(Ok(lane)) => return self.give_back(lane),
            Some(Err(again)) => {
                tracing::error!(card = ordinal, fault = %again, "a lane is given up");
            }
            None => {}
        }
        self.retire();
    }
}

impl Source {
    fn lane(&self, network: &Arc<Network>, sizes: &[usize]) -> Result<Lane, Fault> {
        Lane::new(&self.card, network, &self.weights, &self.tuner, sizes)
    }
}

/// A lane that a panic leaves in the middle of a pass ends with it: one less.
struct Watch<'a>(&'a Lanes);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.retire();
        }
    }
}

/// All lanes, one a card at a time, so that the first batches go to all cards.
fn make(
    network: &Arc<Network>,
    sources: &HashMap<usize, Source>,
    placement: &Placement,
    sizes: &[usize],
) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for _ in 0..placement.lanes.max(1) {
        for ordinal in &placement.cards {
            let source = &sources[ordinal];
            // what failed before these lanes is not their fault
            let _ = source.card.context().check_err();
            let lane = source.lane(network, sizes);
            lanes.push(lane.map_err(|fault| source.card.error(fault))?);
        }
    }
    Ok(lanes)
}

/// The error of a card whose memory does not hold the lanes, with the largest
/// batch for which it does, found by trying.
fn too_large(ordinal: usize, placement: &Placement, fits: impl Fn(usize) -> Result<bool>) -> Error {
    let Placement { lanes, largest, .. } = placement;
    let best = match largest_below(*largest, fits) {
        Ok(best) => best,
        Err(other) => return other,
    };
    Error::Device {
        device: format!("cuda:{ordinal}"),
        reason: format!(
            "out of memory with {lanes} lanes for batches of {largest}: {}",
            match best {
                0 => "not even batches of 1 fit; fewer lanes might".into(),
                n => format!("the largest batch that fits is {n}"),
            }
        ),
    }
}

/// The largest number below `too_many` that fits, 0 where none does. The first
/// tries are its halves: each is as costly as a load of that batch.
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
    fn the_largest_that_fits_is_found() {
        for too_many in 1..40 {
            for most in 0..too_many {
                let found = largest_below(too_many, |n| Ok(n <= most)).unwrap();
                assert_eq!(found, most);
            }
        }
    }
}
