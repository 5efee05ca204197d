//! The connections of one listener: how many there are, from which addresses,
//! and which idle one is closed when there is no room for a new one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::problem::Problem;
use super::seat::Seat;
use crate::core::metrics::Metrics;

/// Connections beyond the limit, for health checks and for requests that wait
/// until another one has ended: a quarter of the limit within these bounds.
const LEAST_SPARE: usize = 8;
const MOST_SPARE: usize = 64;

/// Spare connections that are left to health checks.
const FOR_PROBES: usize = 4;

/// How often an idle connection is looked for while there is no room.
const RETRY: Duration = Duration::from_millis(20);

/// Pause after a connection could not be accepted and none is idle.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A stream of gRPC, which takes no place of the requests in progress.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    /// Of requests; their images are counted anyway.
    Requests,
    /// Of changes of a status.
    Watch,
}

/// The connections of one listener.
pub(super) struct Room {
    /// Requests in progress, without health checks.
    places: Arc<Semaphore>,
    /// Open streams of requests of gRPC, which may be idle for long.
    streams: Arc<Semaphore>,
    /// Open watches of gRPC, which are idle as long as nothing changes.
    watches: Arc<Semaphore>,
    /// Requests that wait for a place.
    waiting: Semaphore,
    /// Open connections, with those that wait and those of health checks.
    most: usize,
    per_address: Option<usize>,
    patience: Duration,
    open: Mutex<Open>,
    left: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Open {
    seats: HashMap<u64, Arc<Seat>>,
    addresses: HashMap<IpAddr, usize>,
    next: u64,
}

/// A connection's stay. It ends when it is dropped.
pub(super) struct Stay {
    room: Arc<Room>,
    pub(super) seat: Arc<Seat>,
    address: Option<IpAddr>,
    number: u64,
}

/// Spare connections for a limit of `most`.
pub(super) fn spare(most: usize) -> usize {
    (most / 4).clamp(LEAST_SPARE, MOST_SPARE)
}

impl Room {
    /// Room for `most` requests in progress. A request waits for as long as
    /// `patience`.
    pub(super) fn new(
        most: usize,
        per_address: Option<usize>,
        patience: Duration,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let spare = spare(most);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(most)),
            // So that neither of them can keep all connections from the others.
            streams: Arc::new(Semaphore::new((most / 2).max(1))),
            watches: Arc::new(Semaphore::new((most / 4).max(1))),
            waiting: Semaphore::new(spare - FOR_PROBES),
            most: most + spare,
            per_address,
            patience,
            open: Mutex::default(),
            left: Notify::new(),
            metrics,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more connection can be accepted. If there is no room, the
    /// connection that has been idle for longest is closed.
    pub(super) async fn wait(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().seats.len() < self.most {
                return;
            }
            self.close_longest_idle();
            // A connection that becomes idle sends no notification.
            let _ = timeout(RETRY, left).await;
        }
    }

    /// Waits, after a connection could not be accepted, until another try makes sense:
    /// an idle connection gives its file descriptor back.
    pub(super) async fn wait_for_a_descriptor(&self) {
        let left = self.left.notified();
        let pause = match self.close_longest_idle() {
            true => RETRY,
            false => BACK_OFF,
        };
        let _ = timeout(pause, left).await;
    }

    /// Asks the connection that has been idle for longest to close; false if
    /// all are busy.
    fn close_longest_idle(&self) -> bool {
        let open = self.lock();
        let idle = open.seats.values();
        let idle = idle.filter_map(|seat| Some((seat.may_close_since()?, seat)));
        let longest = idle.min_by_key(|(since, _)| *since);
        if let Some((_, seat)) = longest {
            seat.give_way();
            self.metrics.connection_closed("gave_way");
        }
        longest.is_some()
    }

    /// Admits a connection. Those of Unix sockets have no address.
    ///
    /// # Errors
    /// 429 when its address has too many of them.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Stay, Problem> {
        let mut open = self.lock();
        if let Some(address) = address {
            self.count(address, &mut open)?;
        }
        open.next += 1;
        let number = open.next;
        let seat = Arc::new(Seat::new());
        open.seats.insert(number, Arc::clone(&seat));
        self.metrics.connections.inc();
        Ok(Stay {
            room: Arc::clone(self),
            seat,
            address,
            number,
        })
    }

    /// Counts one more connection of an address.
    ///
    /// # Errors
    /// 429 when it has too many.
    fn count(&self, address: IpAddr, open: &mut Open) -> Result<(), Problem> {
        let count = open.addresses.entry(address).or_default();
        if let Some(limit) = self.per_address.filter(|limit| *count >= *limit) {
            let detail = format!(
                "{address} has {count} open connections, and the limit is {limit}; close some, or \
                 send requests one after the other over a connection"
            );
            self.metrics.connection_closed("per_address");
            return Err(Problem::overloaded(detail));
        }
        *count += 1;
        Ok(())
    }

    /// Admits one more stream of gRPC.
    ///
    /// # Errors
    /// 429 when too many are open.
    pub(super) fn stream(&self, stream: Stream) -> Result<OwnedSemaphorePermit, Problem> {
        let places = match stream {
            Stream::Requests => &self.streams,
            Stream::Watch => &self.watches,
        };
        let stream = Arc::clone(places).try_acquire_owned();
        stream.map_err(|_| Problem::overloaded("too many streams are open; retry later"))
    }

    /// Waits until one more request may be in progress.
    ///
    /// # Errors
    /// 429 when too many requests wait, or for too long.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let full = || Problem::overloaded("all connections are in use; retry later");
        let _waits = self.waiting.try_acquire().map_err(|_| full())?;
        match timeout(self.patience, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(full()),
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut open = self.room.lock();
        open.seats.remove(&self.number);
        if let Some(address) = self.address
            && let Some(count) = open.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.addresses.remove(&address);
            }
        }
        self.room.metrics.connections.dec();
        self.room.left.notify_waiters();
    }
}
