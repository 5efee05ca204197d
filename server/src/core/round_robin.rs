//! The order of the jobs of one model: round-robin over the clients, and when a
//! batch begins.

use std::collections::{BTreeMap, BTreeSet};
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
    /// clients go first, then those that arrived first.
    round: u64,
    /// Images of its client before it.
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

impl Position {
    /// Its class.
    #[must_use]
    pub fn class(self) -> Class {
        self.class
    }
}

/// The rounds of a flow. In a round, each client that has images in flight gets one of
/// them served. An image that arrives belongs to the current round, plus one for each
/// image of its client before it.
///
/// A round is over when as many images have left as belonged to it when it began, whichever
/// they were. So it also ends while new clients arrive without a pause, and an image of a
/// later round is served in the end.
#[derive(Default)]
struct Rounds {
    /// The images in flight: queued, in decoding, or in a batch.
    in_flight: BTreeSet<Position>,
    current: u64,
    /// Images that leave before the next round begins.
    remaining: usize,
}

impl Rounds {
    /// An image was served, or its client has disconnected.
    fn left(&mut self, position: Position) {
        if !self.in_flight.remove(&position) {
            return;
        }
        self.remaining = self.remaining.saturating_sub(1);
        if self.remaining == 0 {
            self.begin_next();
        }
    }

    fn begin_next(&mut self) {
        let Some(&first) = self.in_flight.first() else {
            return;
        };
        self.current = first.round.max(self.current + 1);
        let end = Position {
            class: first.class,
            round: self.current + 1,
            ..Position::default()
        };
        self.remaining = self.in_flight.range(..end).count();
    }
}

/// The jobs of one flow.
#[derive(Default)]
pub(super) struct FlowQueue {
    jobs: BTreeMap<Position, Job>,
    pub(super) batch: Option<PendingBatch>,
    pub(super) running: usize,
    rounds: Rounds,
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

    /// Adds a job.
    pub(super) fn push(&mut self, job: impl FnOnce() + Send + 'static) {
        let position = self.position(Turn::default());
        self.jobs.insert(position, Box::new(job));
    }

    /// Adds the job of an image, which is in flight until it has [`Self::left`].
    pub(super) fn push_image(
        &mut self,
        turn: Turn,
        job: impl FnOnce(Position) + Send + 'static,
    ) -> Position {
        let position = self.position(turn);
        self.rounds.in_flight.insert(position);
        self.jobs.insert(position, Box::new(move || job(position)));
        position
    }

    fn position(&mut self, Turn { class, rank }: Turn) -> Position {
        self.queued += 1;
        Position {
            class,
            round: self.rounds.current + rank as u64,
            rank,
            number: self.queued,
        }
    }

    /// An image was served, or its client has disconnected.
    pub(super) fn left(&mut self, position: Position) {
        self.rounds.left(position);
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
        let (_, job) = self.jobs.pop_first()?;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `images` images of a queue; returns the ranks in their order.
    fn serve(queue: &mut FlowQueue, images: usize) -> Vec<usize> {
        let serve = |_| {
            let position = *queue.rounds.in_flight.first().unwrap();
            queue.left(position);
            position.rank
        };
        (0..images).map(serve).collect()
    }

    fn push(queue: &mut FlowQueue, rank: usize) -> Position {
        let turn = Turn {
            rank,
            ..Turn::default()
        };
        queue.push_image(turn, |_| ())
    }

    /// The images of one request.
    fn push_all(queue: &mut FlowQueue, images: usize) {
        for rank in 0..images {
            push(queue, rank);
        }
    }

    #[test]
    fn an_image_waits_for_images_that_were_served_and_not_for_those_that_were_decoded() {
        let mut queue = FlowQueue::default();
        for _ in 0..3 {
            push_all(&mut queue, 8);
        }
        assert_eq!(serve(&mut queue, 6), [0, 0, 0, 1, 1, 1]);
        // The threads have decoded all images.
        while queue.pop().is_some() {}
        push(&mut queue, 0);
        assert_eq!(serve(&mut queue, 3), [0, 2, 2]);
    }

    #[test]
    fn new_clients_that_arrive_without_a_pause_do_not_stop_the_images_of_others() {
        let mut queue = FlowQueue::default();
        push_all(&mut queue, 4);
        for _ in 0..7 {
            push(&mut queue, 0);
        }
        let mut ranks = Vec::new();
        for _ in 0..60 {
            push(&mut queue, 0);
            ranks.extend(serve(&mut queue, 1));
        }
        let of_others = ranks.iter().filter(|rank| **rank > 0).count();
        assert_eq!(of_others, 3, "{ranks:?}");
    }

    #[test]
    fn images_that_leave_twice_count_once() {
        let mut queue = FlowQueue::default();
        let [first, _, _] = [0, 1, 2].map(|rank| push(&mut queue, rank));
        (0..9).for_each(|_| queue.left(first));
        assert_eq!(queue.rounds.current, 1);
    }
}
