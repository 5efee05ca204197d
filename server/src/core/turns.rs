//! The order of the jobs of one model: images in turns, and when a batch begins.

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The place of an image in the order of its flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// The number of its turn. Images of the same turn go first come, first
    /// served.
    round: u64,
    /// Images of its request before it.
    rank: usize,
    number: u64,
}

/// A batch that has images and has not begun.
pub(super) struct PendingBatch {
    pub(super) job: Job,
    /// Images that may still be decoded before it begins.
    pub(super) patience: usize,
    /// The turn of an image that is the only one of its request, if one waits.
    pub(super) lone: Box<dyn Fn() -> Option<Turn> + Send>,
}

/// The jobs of one flow.
#[derive(Default)]
pub(super) struct FlowQueue {
    jobs: BTreeMap<Turn, Job>,
    pub(super) batch: Option<PendingBatch>,
    pub(super) running: usize,
    /// The round that is being served.
    round: u64,
    /// Jobs that were queued so far.
    queued: u64,
    /// CPU time used, or the virtual time at which the flow became active.
    pub(super) used: Duration,
    /// No more jobs come: removed once the last one has run.
    pub(super) closed: bool,
}

impl FlowQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.batch.is_none()
    }

    /// Adds the job of an image that has `rank` images of its request before it.
    pub(super) fn push(&mut self, rank: usize, job: impl FnOnce(Turn) + Send + 'static) -> Turn {
        self.queued += 1;
        let turn = Turn {
            round: self.round + rank as u64,
            rank,
            number: self.queued,
        };
        self.jobs.insert(turn, Box::new(move || job(turn)));
        turn
    }

    /// The next job: that of the first turn, or the batch.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let next = self.jobs.first_key_value().map(|(turn, _)| *turn);
        let is_due = |batch: &mut PendingBatch| match next {
            None => true,
            Some(_) if batch.patience == 0 => true,
            // Images of the same round join the batch of the lone one.
            Some(next) => (batch.lone)().is_some_and(|lone| lone.round < next.round),
        };
        if let Some(batch) = self.batch.take_if(is_due) {
            return Some(batch.job);
        }
        if let Some(batch) = &mut self.batch {
            batch.patience -= 1;
        }
        let (turn, job) = self.jobs.pop_first()?;
        self.round = self.round.max(turn.round);
        Some(job)
    }
}
