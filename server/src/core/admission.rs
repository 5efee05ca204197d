//! Admission control: images and bytes are counted before memory is allocated
//! for them, so that the memory of the process is bounded. The bytes are those
//! of request bodies, of copies made while they are parsed, and of responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::error::Error;
use super::metrics::{Budget, Metrics};

/// How often, and in which steps, a request waits for the permits of clients that
/// have disconnected.
const RETRIES: usize = 5;
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// This part of the images in flight is kept for requests with one image.
const FOR_SINGLE_IMAGES: usize = 8;

/// Bytes for the responses to health checks and scrapes, whatever all others hold.
const FOR_PROBES: usize = 4 << 20;

/// The two limits of all models together: images in flight, and bytes of
/// requests and responses.
pub struct Admission {
    images: Arc<Semaphore>,
    max_images: usize,
    bytes: Arc<ByteBudget>,
    /// Of the responses to health checks and scrapes.
    probe_bytes: Arc<ByteBudget>,
    /// Requests whose client has closed its side and may have disconnected.
    maybe_disconnected: AtomicUsize,
    permits_needed: Notify,
    metrics: Arc<Metrics>,
}

/// Permission for one image in flight. It is released when the result of the
/// image is known, or when its client has disconnected and the batch worker
/// has skipped it.
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.metrics.images_in_flight.dec();
    }
}

struct ByteBudget {
    held: AtomicUsize,
    limit: usize,
}

impl ByteBudget {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            limit,
        })
    }
}

/// The bytes that one request holds; released when dropped.
pub struct ByteShare {
    budget: Arc<ByteBudget>,
    held: usize,
}

impl Admission {
    /// Admits `max_images` images and `max_bytes` bytes of bodies at a time.
    #[must_use]
    pub fn new(max_images: usize, max_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            images: Arc::new(Semaphore::new(max_images)),
            max_images,
            bytes: ByteBudget::new(max_bytes),
            probe_bytes: ByteBudget::new(FOR_PROBES),
            maybe_disconnected: AtomicUsize::new(0),
            permits_needed: Notify::new(),
            metrics,
        }
    }

    /// Rejects a request before its body is read when no image can be admitted.
    ///
    /// # Errors
    /// [`Error::TooManyInFlight`].
    pub async fn check(&self) -> Result<(), Error> {
        let check = || match self.images.available_permits() {
            0 => Err(self.full(1)),
            _ => Ok(()),
        };
        self.or_after_disconnects(check).await
    }

    /// Admits all images of a request or none of them. If there are too few
    /// permits, requests whose clients may have disconnected are ended.
    ///
    /// # Errors
    /// [`Error::TooManyInFlight`].
    pub async fn admit(&self, count: usize) -> Result<Vec<Permit>, Error> {
        self.or_after_disconnects(|| self.images(count)).await
    }

    async fn or_after_disconnects<T>(
        &self,
        admit: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let admitted = admit();
        if admitted.is_ok() || self.maybe_disconnected.load(Ordering::SeqCst) == 0 {
            return admitted;
        }
        self.permits_needed.notify_waiters();
        for _ in 0..RETRIES {
            tokio::time::sleep(RETRY_INTERVAL).await;
            if let Ok(admitted) = admit() {
                return Ok(admitted);
            }
        }
        admitted
    }

    /// Completes when a request finds too few permits. A request whose client may
    /// have disconnected waits for this, and ends then.
    pub async fn until_permits_are_needed(&self) {
        let needed = self.permits_needed.notified();
        self.maybe_disconnected.fetch_add(1, Ordering::SeqCst);
        let _guard = MaybeDisconnected(&self.maybe_disconnected);
        needed.await;
    }

    /// Whether a request with several images leaves places for requests with one. A
    /// request that is the only one may take all.
    fn leaves_places(&self, count: usize) -> bool {
        let available = self.images.available_permits();
        let kept = self.max_images / FOR_SINGLE_IMAGES;
        count <= 1 || available == self.max_images || count + kept <= available
    }

    /// Admits all images of a request or none of them.
    ///
    /// # Errors
    /// [`Error::TooManyInFlight`].
    pub fn images(&self, count: usize) -> Result<Vec<Permit>, Error> {
        if !self.leaves_places(count) {
            return Err(self.full(count));
        }
        let permit = |()| {
            let permit = Arc::clone(&self.images).try_acquire_owned().ok()?;
            self.metrics.images_in_flight.inc();
            Some(Permit {
                _permit: permit,
                metrics: Arc::clone(&self.metrics),
            })
        };
        // If there are too few, the permits taken so far are dropped here.
        std::iter::repeat_n((), count)
            .map(permit)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.full(count))
    }

    /// An empty share of the byte budget, for the body of one request.
    #[must_use]
    pub fn bytes(&self) -> ByteShare {
        ByteShare::of(&self.bytes)
    }

    /// An empty share of the bytes for health checks and scrapes, which are answered
    /// when all others hold the whole budget.
    #[must_use]
    pub fn probe_bytes(&self) -> ByteShare {
        ByteShare::of(&self.probe_bytes)
    }

    /// How much of each limit is in use.
    #[must_use]
    pub fn budgets(&self) -> [Budget; 3] {
        let bytes = |name, budget: &ByteBudget| Budget {
            name,
            used: budget.held.load(Ordering::Relaxed),
            limit: Some(budget.limit),
        };
        [
            bytes("bodies", &self.bytes),
            bytes("probes", &self.probe_bytes),
            Budget {
                name: "images",
                used: self.max_images - self.images.available_permits(),
                limit: Some(self.max_images),
            },
        ]
    }

    fn full(&self, requested: usize) -> Error {
        Error::TooManyInFlight {
            requested,
            limit: self.max_images,
        }
    }
}

struct MaybeDisconnected<'a>(&'a AtomicUsize);

impl Drop for MaybeDisconnected<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ByteShare {
    fn of(budget: &Arc<ByteBudget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            held: 0,
        }
    }

    /// An empty share of the same budget.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::of(&self.budget)
    }

    /// Whether more than half of the budget is in use.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.budget.held.load(Ordering::Relaxed) > self.budget.limit / 2
    }

    /// The bytes it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes `more` bytes from the budget.
    ///
    /// # Errors
    /// [`Error::BodyMemory`] when all requests together would exceed it.
    pub fn grow(&mut self, more: usize) -> Result<(), Error> {
        let limit = self.budget.limit;
        let fits = |held: usize| held.checked_add(more).filter(|total| *total <= limit);
        self.budget
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| Error::BodyMemory { limit })?;
        self.held += more;
        Ok(())
    }

    /// Takes `more` bytes that exist already, whether or not there is room for them.
    pub fn take(&mut self, more: usize) {
        self.budget.held.fetch_add(more, Ordering::Relaxed);
        self.held += more;
    }

    /// These bytes, which are counted as long as any part of them exists.
    #[must_use]
    pub fn hold(mut self, bytes: Vec<u8>) -> Bytes {
        self.shrink_to(bytes.len());
        self.take(bytes.len() - self.held);
        Bytes::from_owner(Held {
            bytes,
            _share: self,
        })
    }

    /// Returns all but `bytes` to the budget.
    pub fn shrink_to(&mut self, bytes: usize) {
        let unused = self.held.saturating_sub(bytes);
        self.budget.held.fetch_sub(unused, Ordering::Relaxed);
        self.held -= unused;
    }
}

/// Bytes and what counts them.
struct Held {
    bytes: Vec<u8>,
    _share: ByteShare,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for ByteShare {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(3, 100, Arc::new(Metrics::new()))
    }

    #[test]
    fn all_images_of_a_request_are_admitted_or_none() {
        let admission = admission();
        let two = admission.images(2).unwrap();
        assert!(admission.images(2).is_err(), "only one permit is left");
        let one = admission.images(1).unwrap();
        assert_eq!(admission.images.available_permits(), 0);
        drop((one, two));
        assert_eq!(admission.images(3).unwrap().len(), 3);
        assert_eq!(admission.metrics.images_in_flight.get(), 0);
    }

    #[test]
    fn an_eighth_is_kept_for_requests_with_one_image() {
        let admission = Admission::new(16, 100, Arc::new(Metrics::new()));
        let most = admission.images(12).unwrap();
        assert!(admission.images(3).is_err(), "two of four are kept");
        let two = admission.images(2).unwrap();
        let singles = [1, 1].map(|count| admission.images(count).unwrap());
        assert!(admission.images(1).is_err());
        drop((most, two, singles));
        assert_eq!(admission.images(16).unwrap().len(), 16, "no other request");
    }

    #[test]
    fn dropped_shares_return_their_bytes() {
        let admission = admission();
        let (mut a, mut b) = (admission.bytes(), admission.bytes());
        a.grow(60).unwrap();
        assert!(b.grow(41).is_err());
        b.grow(40).unwrap();
        drop(a);
        b.grow(60).unwrap();
        assert!(b.grow(usize::MAX).is_err());
    }

    #[test]
    fn held_bytes_are_counted_as_long_as_a_part_of_them_exists() {
        let admission = admission();
        let mut share = admission.bytes();
        share.grow(90).unwrap();
        let mut whole = share.hold(vec![1; 80]);
        let part = whole.split_to(8);
        drop(whole);
        let mut other = admission.bytes();
        assert!(other.grow(21).is_err(), "80 of 100 bytes are held");
        other.grow(20).unwrap();
        assert_eq!(part[..], [1; 8]);
        drop(part);
        other.grow(80).unwrap();
        // Bytes that exist already are counted above the limit.
        let more = admission.bytes().hold(vec![2; 10]);
        drop(other);
        assert!(admission.bytes().grow(91).is_err());
        drop(more);
        assert!(admission.bytes().grow(100).is_ok());
    }
}
