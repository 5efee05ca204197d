//! The order of the jobs of one model: round-robin over the requests, and when a
//! batch begins.

use std::collections::BTreeMap;
use std::time::Duration;

/// Which images are served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The default.
    #[default]
    Normal,
    /// While no normal image waits.
    Low,
}

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The place of an image among those of its client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// Its class.
    pub class: Class,
    /// Images of the same client before it.
    pub rank: usize,
}

/// The position of an image in the order of its flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    class: Class,
    /// The round in which it is served. Within a round, the first images of their
    /// requests go first, then those that arrived first.
    round: u64,
    /// Images of its request before it.
    rank: usize,
    /// Jobs that were queued before it.
    number: u64,
}

/// A batch that has images and has not begun.
pub(super) struct PendingBatch {
    pub(super) job: Job,
    /// Images that may still be decoded before it begins.
    pub(super) patience: usize,
    /// The position of an image that is the only one of its request, if one waits.
    pub(super) lone: Box<dyn Fn() -> Option<Position> + Send>,
}

/// The jobs of one flow.
#[derive(Default)]
pub(super) struct FlowQueue {
    jobs: BTreeMap<Position, Job>,
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

    /// Adds the job of an image.
    pub(super) fn push(
        &mut self,
        Turn { class, rank }: Turn,
        job: impl FnOnce(Position) + Send + 'static,
    ) -> Position {
        self.queued += 1;
        let position = Position {
            class,
            round: self.round + rank as u64,
            rank,
            number: self.queued,
        };
        self.jobs.insert(position, Box::new(move || job(position)));
        position
    }

    /// The next job: the one at the first position, or the batch.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let next = self.jobs.first_key_value().map(|(position, _)| *position);
        let is_due = |batch: &mut PendingBatch| match next {
            None => true,
            Some(_) if batch.patience == 0 => true,
            // Images of the same round join the batch of the lone one.
            Some(next) => (batch.lone)()
                .is_some_and(|lone| (lone.class, lone.round) < (next.class, next.round)),
        };
        if let Some(batch) = self.batch.take_if(is_due) {
            return Some(batch.job);
        }
        if let Some(batch) = &mut self.batch {
            batch.patience -= 1;
        }
        let (position, job) = self.jobs.pop_first()?;
        self.round = self.round.max(position.round);
        Some(job)
    }
}
