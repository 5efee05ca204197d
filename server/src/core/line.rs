//! The images that wait for a device, in the order of their positions.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::batch::Waiting;
use super::metrics::Metrics;
use super::round_robin::Position;

/// A bounded queue of decoded images.
pub(super) struct Line {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    images: BTreeMap<Position, Waiting>,
    /// Whether the last batch passed images over.
    passed_over: bool,
    closed: bool,
}

impl State {
    /// The first images that are the only ones of their clients, in the class that is
    /// served.
    fn alone(&self, most: usize) -> Vec<Position> {
        let class = self.images.keys().next().map(|first| first.class());
        let is_alone = |(position, image): &(&Position, &Waiting)| {
            image.is_alone && Some(position.class()) == class
        };
        let alone = self.images.iter().filter(is_alone);
        alone.map(|(position, _)| *position).take(most).collect()
    }
}

impl Line {
    pub(super) fn new(capacity: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            capacity,
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an image, or returns it if there is no room. Images whose clients
    /// have disconnected are removed first.
    pub(super) fn push(&self, image: Waiting) -> Result<(), Waiting> {
        let mut state = self.lock();
        if state.images.len() >= self.capacity {
            let before = state.images.len();
            state.images.retain(|_, image| !image.reply.is_closed());
            self.left(before - state.images.len());
        }
        if state.images.len() >= self.capacity {
            return Err(image);
        }
        if image.reply.is_closed() {
            return Ok(());
        }
        self.metrics.queue_depth.inc();
        state.images.insert(image.position, image);
        self.changed.notify_one();
        Ok(())
    }

    /// Removes an image whose client has disconnected.
    pub(super) fn remove(&self, position: Position) {
        let removed = self.lock().images.remove(&position);
        self.left(usize::from(removed.is_some()));
    }

    /// Waits for an image; false when none will come.
    pub(super) fn wait(&self) -> bool {
        let none = |state: &mut State| state.images.is_empty() && !state.closed;
        let state = self.changed.wait_while(self.lock(), none);
        !state
            .unwrap_or_else(PoisonError::into_inner)
            .images
            .is_empty()
    }

    /// The next images, at most `most`, without those whose client has disconnected.
    pub(super) fn take(&self, most: usize) -> Vec<Waiting> {
        self.take_next(&mut self.lock(), most)
    }

    /// As [`Line::take`]; but images that are the only ones of their clients do not
    /// wait for the rest of a large batch. They are taken without the others in every
    /// second batch at most, so that the others are not held up.
    pub(super) fn take_alone_first(&self, most: usize) -> Vec<Waiting> {
        let mut state = self.lock();
        let alone = state.alone(most);
        let others = state.images.len() > alone.len() && alone.len() < most;
        state.passed_over = others && !alone.is_empty() && !state.passed_over;
        if !state.passed_over {
            return self.take_next(&mut state, most);
        }
        let images = alone
            .iter()
            .filter_map(|position| state.images.remove(position));
        let images = images.collect::<Vec<_>>();
        self.left(images.len());
        let is_wanted = |image: &Waiting| !image.reply.is_closed();
        images.into_iter().filter(is_wanted).collect()
    }

    fn take_next(&self, state: &mut State, most: usize) -> Vec<Waiting> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((_, image)) = state.images.pop_first()
        {
            self.left(1);
            if !image.reply.is_closed() {
                taken.push(image);
            }
        }
        taken
    }

    /// The images that wait.
    pub(super) fn length(&self) -> usize {
        self.lock().images.len()
    }

    /// The first position of an image that is the only one of its client.
    pub(super) fn first_alone(&self) -> Option<Position> {
        self.lock().alone(1).first().copied()
    }

    /// No more images come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn left(&self, images: usize) {
        self.metrics.queue_depth.dec_by(images as i64);
    }
}
