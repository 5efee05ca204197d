//! Fair sharing of the CPU between models. All jobs (decoding an image,
//! running a batch) run on one thread pool. Each model has a flow: a queue of
//! its own jobs. A thread that becomes free takes a job of the flow that has
//! used the least CPU time, as start-time fair queueing does (Goyal et al.
//! 1996). A flow that was idle starts at the current virtual time: it goes
//! first, but cannot save up time.
//!
//! Within a flow, clients are served round-robin: the first image of a request goes
//! before the second one of any other, so that a request with one image does not
//! wait for another request's thirty-second. A batch runs when it is full, when
//! nothing is left to decode, or when a request waits for it alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::ThreadPool;

use super::progress::Progress;
use super::round_robin::{FlowQueue, Job, PendingBatch, Position, Turn};

/// The jobs of all flows on one thread pool.
#[derive(Clone)]
pub struct Scheduler {
    pool: ThreadPool,
    flows: Arc<Mutex<Flows>>,
    progress: Progress,
}

/// A model's queue of jobs. When the last clone is dropped, the jobs that are
/// still queued run all the same.
#[derive(Clone)]
pub struct Flow {
    scheduler: Scheduler,
    id: Arc<FlowId>,
}

struct FlowId {
    id: u64,
    flows: Arc<Mutex<Flows>>,
}

#[derive(Default)]
struct Flows {
    queues: BTreeMap<u64, FlowQueue>,
    next_id: u64,
    /// Virtual time of the flow that was served last.
    now: Duration,
}

impl Scheduler {
    /// A scheduler of jobs on `pool`.
    #[must_use]
    pub fn new(pool: ThreadPool) -> Self {
        Self {
            pool,
            flows: Arc::default(),
            progress: Progress::default(),
        }
    }

    /// The thread pool.
    #[must_use]
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// Whether its jobs end.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// A new flow.
    #[must_use]
    pub fn flow(&self) -> Flow {
        let mut flows = lock(&self.flows);
        flows.next_id += 1;
        let id = flows.next_id;
        flows.queues.insert(id, FlowQueue::default());
        Flow {
            scheduler: self.clone(),
            id: Arc::new(FlowId {
                id,
                flows: Arc::clone(&self.flows),
            }),
        }
    }
}

impl Flow {
    /// Queues a job and returns at once. A panic of the job is logged.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        lock(&self.scheduler.flows).active(self.id.id).push(job);
        self.wake_one();
    }

    /// Queues the job of an image. Returns its position in the order of the images; it
    /// is in flight until [`Flow::left`] is called.
    pub fn spawn_image(&self, turn: Turn, job: impl FnOnce(Position) + Send + 'static) -> Position {
        let mut flows = lock(&self.scheduler.flows);
        let position = flows.active(self.id.id).push_image(turn, job);
        drop(flows);
        self.wake_one();
        position
    }

    /// An image was served, or its client has disconnected.
    pub fn left(&self, position: Position) {
        if let Some(queue) = lock(&self.scheduler.flows).queues.get_mut(&self.id.id) {
            queue.left(position);
        }
    }

    /// Queues a batch, which begins after at most `patience` more images have
    /// been decoded. `lone` returns the position of an image that waits for it and is
    /// the only one of its request. A flow has one batch at a time.
    pub fn spawn_batch(
        &self,
        patience: usize,
        lone: impl Fn() -> Option<Position> + Send + 'static,
        job: impl FnOnce() + Send + 'static,
    ) {
        let batch = PendingBatch {
            job: Box::new(job),
            patience,
            lone: Box::new(lone),
        };
        lock(&self.scheduler.flows).active(self.id.id).batch = Some(batch);
        self.wake_one();
    }

    /// One call for each job: which job it runs is decided when it starts.
    fn wake_one(&self) {
        let flows = Arc::clone(&self.scheduler.flows);
        let progress = self.scheduler.progress.clone();
        self.scheduler
            .pool
            .spawn(move || run_next(&flows, &progress));
    }

    /// Whether the jobs of the scheduler end.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.scheduler.progress
    }

    /// The thread pool that runs the jobs.
    #[must_use]
    pub fn pool(&self) -> &ThreadPool {
        &self.scheduler.pool
    }
}

impl Drop for FlowId {
    fn drop(&mut self) {
        let mut flows = lock(&self.flows);
        if let Some(queue) = flows.queues.get_mut(&self.id) {
            queue.closed = true;
        }
        flows.remove_if_done(self.id);
    }
}

impl Flows {
    /// The queue of a flow, which starts at the current time if it was idle.
    fn active(&mut self, id: u64) -> &mut FlowQueue {
        let now = self.now;
        let queue = self.queues.entry(id).or_default();
        if queue.is_empty() && queue.running == 0 {
            queue.used = queue.used.max(now);
        }
        queue
    }

    /// The next job and its flow: of the flow with the least CPU time used; of
    /// equal ones, that with the fewest jobs running.
    fn pop(&mut self) -> Option<(u64, Job)> {
        let waiting = self.queues.iter_mut().filter(|(_, q)| !q.is_empty());
        let (&id, queue) = waiting.min_by_key(|(_, queue)| (queue.used, queue.running))?;
        let job = queue.pop()?;
        queue.running += 1;
        self.now = self.now.max(queue.used);
        Some((id, job))
    }

    fn finished(&mut self, id: u64, took: Duration) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.running -= 1;
            queue.used += took;
        }
        self.remove_if_done(id);
    }

    fn remove_if_done(&mut self, id: u64) {
        let done = |q: &FlowQueue| q.closed && q.running == 0 && q.is_empty();
        if self.queues.get(&id).is_some_and(done) {
            self.queues.remove(&id);
        }
    }
}

fn run_next(flows: &Mutex<Flows>, progress: &Progress) {
    let Some((id, job)) = lock(flows).pop() else {
        return;
    };
    let _working = progress.begin();
    let _running = Running {
        flows,
        id,
        started: Instant::now(),
    };
    job();
}

/// Accounts for a job when it ends, also by a panic.
struct Running<'a> {
    flows: &'a Mutex<Flows>,
    id: u64,
    started: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(self.flows).finished(self.id, self.started.elapsed());
    }
}

fn lock(flows: &Mutex<Flows>) -> MutexGuard<'_, Flows> {
    flows.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::core::round_robin::Class;

    /// A scheduler with one thread, which waits until the sender is dropped.
    fn blocked() -> (Scheduler, Sender<()>) {
        let scheduler = Scheduler::new(ThreadPool::new(1).unwrap());
        let (release, blocked) = channel::<()>();
        let (started, start) = channel();
        scheduler.flow().spawn(move || {
            started.send(()).unwrap();
            let _ = blocked.recv();
        });
        start.recv().unwrap();
        (scheduler, release)
    }

    fn order(names: Receiver<&'static str>) -> Vec<&'static str> {
        names.iter().collect()
    }

    #[test]
    fn an_idle_flow_goes_before_the_backlog_of_a_busy_one() {
        let (scheduler, release) = blocked();
        let (done, names) = channel();
        let (busy, quiet) = (scheduler.flow(), scheduler.flow());
        for _ in 0..20 {
            let done = done.clone();
            busy.spawn(move || {
                std::thread::sleep(Duration::from_millis(2));
                done.send("busy").unwrap();
            });
        }
        quiet.spawn(move || done.send("quiet").unwrap());
        drop(release);
        let names = order(names);
        assert_eq!(names.len(), 21);
        let at = names.iter().position(|name| *name == "quiet").unwrap();
        assert!(at <= 1, "the quiet flow was served after {at} busy jobs");
    }

    #[test]
    fn the_first_image_of_a_request_goes_before_the_second_of_others() {
        let (scheduler, release) = blocked();
        let (done, names) = channel();
        let flow = scheduler.flow();
        let spawn = |name: &'static str, rank: usize| {
            let done = done.clone();
            let turn = Turn {
                rank,
                ..Turn::default()
            };
            flow.spawn_image(turn, move |_| done.send(name).unwrap());
        };
        for (rank, name) in ["a0", "a1", "a2"].into_iter().enumerate() {
            spawn(name, rank);
        }
        for (rank, name) in ["b0", "b1"].into_iter().enumerate() {
            spawn(name, rank);
        }
        spawn("c0", 0);
        drop((done, release));
        assert_eq!(order(names), ["a0", "b0", "c0", "a1", "b1", "a2"]);
    }

    #[test]
    fn images_of_the_low_class_wait_for_all_others() {
        let (scheduler, release) = blocked();
        let (done, names) = channel();
        let flow = scheduler.flow();
        for (name, class, rank) in [
            ("low", Class::Low, 0),
            ("second", Class::Normal, 1),
            ("first", Class::Normal, 0),
        ] {
            let done = done.clone();
            flow.spawn_image(Turn { class, rank }, move |_| done.send(name).unwrap());
        }
        drop((done, release));
        assert_eq!(order(names), ["first", "second", "low"]);
    }

    #[test]
    fn a_batch_waits_for_images_that_can_join_it() {
        let lone = Position::default();
        // Images of rounds 0, 0, 1 and 2 are queued.
        for (patience, lone, expected) in [
            (9, None, ["image", "image", "image", "image", "batch"]),
            (1, None, ["image", "batch", "image", "image", "image"]),
            (9, Some(lone), ["image", "image", "batch", "image", "image"]),
        ] {
            let (scheduler, release) = blocked();
            let (done, names) = channel();
            let flow = scheduler.flow();
            for rank in [0, 0, 1, 2] {
                let done = done.clone();
                let turn = Turn {
                    rank,
                    ..Turn::default()
                };
                flow.spawn_image(turn, move |_| done.send("image").unwrap());
            }
            flow.spawn_batch(patience, move || lone, move || done.send("batch").unwrap());
            drop(release);
            assert_eq!(order(names), expected);
        }
    }

    #[test]
    fn two_busy_flows_share_the_time_whatever_their_jobs_take() {
        let (scheduler, release) = blocked();
        let (done, names) = channel();
        let flows = [("long", 8, 10), ("short", 2, 40)].map(|(name, milliseconds, count)| {
            let flow = scheduler.flow();
            for _ in 0..count {
                let done = done.clone();
                flow.spawn(move || {
                    std::thread::sleep(Duration::from_millis(milliseconds));
                    done.send(name).unwrap();
                });
            }
            flow
        });
        drop((done, release));
        let names = order(names);
        drop(flows);
        // Both need 80 ms. In any part of the schedule they have had about as
        // much time: four short jobs for each long one.
        let half = &names[..25];
        let long = half.iter().filter(|name| **name == "long").count();
        assert!((3..=7).contains(&long), "{long} long jobs of 25: {names:?}");
    }

    #[test]
    fn a_panic_and_a_dropped_flow_leave_nothing_behind() {
        let scheduler = Scheduler::new(ThreadPool::new(2).unwrap());
        let flow = scheduler.flow();
        let (done, finished) = channel();
        flow.spawn(|| panic!("on purpose"));
        flow.spawn(move || done.send(()).unwrap());
        drop(flow);
        finished.recv().unwrap();
        while !lock(&scheduler.flows).queues.is_empty() {
            std::thread::yield_now();
        }
    }
}
