//! Who may come in: images and bytes are counted before they are held, so the
//! memory of this process has a ceiling whatever the clients do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};

/// The two limits: images between admission and answer, and bytes of request
/// bodies held at once.
pub struct Admission {
    images: Arc<Semaphore>,
    max_images: usize,
    bytes: Arc<ByteBudget>,
    metrics: Arc<Metrics>,
}

/// One image's place. It is given back when the image's answer is known, or
/// when its client has gone and the batch worker has skipped it.
pub struct Permit {
    _place: OwnedSemaphorePermit,
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

/// The bytes one request holds; given back when dropped.
pub struct ByteShare {
    budget: Arc<ByteBudget>,
    held: usize,
}

impl Admission {
    /// Room for `max_images` images and `max_bytes` bytes of bodies.
    #[must_use]
    pub fn new(max_images: usize, max_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            images: Arc::new(Semaphore::new(max_images)),
            max_images,
            bytes: Arc::new(ByteBudget {
                held: AtomicUsize::new(0),
                limit: max_bytes,
            }),
            metrics,
        }
    }

    /// Refuses early, before a body is read, when there is no place at all.
    ///
    /// # Errors
    /// 429 when every place is taken.
    pub fn check(&self) -> Result<(), Problem> {
        match self.images.available_permits() {
            0 => Err(self.full(1)),
            _ => Ok(()),
        }
    }

    /// Places for all of a request's images, or for none of them.
    ///
    /// # Errors
    /// 429 when fewer than `count` places are free.
    pub fn images(&self, count: usize) -> Result<Vec<Permit>, Problem> {
        let permit = |()| {
            let place = Arc::clone(&self.images).try_acquire_owned().ok()?;
            self.metrics.images_in_flight.inc();
            Some(Permit {
                _place: place,
                metrics: Arc::clone(&self.metrics),
            })
        };
        // A request that finds too few gives back the ones it took on the way out.
        std::iter::repeat_n((), count)
            .map(permit)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.full(count))
    }

    /// An account for the bytes of one request's body.
    #[must_use]
    pub fn bytes(&self) -> ByteShare {
        ByteShare {
            budget: Arc::clone(&self.bytes),
            held: 0,
        }
    }

    fn full(&self, count: usize) -> Problem {
        Problem::new(
            Kind::Overloaded,
            format!(
                "no room for {count} more image(s): this server holds {} at once; \
                 try again after the time in Retry-After",
                self.max_images
            ),
        )
    }
}

impl ByteShare {
    /// Takes `more` bytes from the budget.
    ///
    /// # Errors
    /// 429 when the bodies of all requests together would exceed it.
    pub fn grow(&mut self, more: usize) -> Result<(), Problem> {
        let limit = self.budget.limit;
        let fits = |held: usize| held.checked_add(more).filter(|total| *total <= limit);
        self.budget
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| {
                Problem::new(
                    Kind::Overloaded,
                    format!(
                        "request bodies already hold the {limit} bytes this server spares \
                         for them; try again after the time in Retry-After"
                    ),
                )
            })?;
        self.held += more;
        Ok(())
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
    fn images_come_in_whole_or_not_at_all() {
        let admission = admission();
        let two = admission.images(2).unwrap();
        assert!(admission.images(2).is_err(), "only one place is left");
        let one = admission.images(1).unwrap();
        assert!(admission.check().is_err());
        drop((one, two));
        assert_eq!(admission.images(3).unwrap().len(), 3);
        assert_eq!(admission.metrics.images_in_flight.get(), 0);
    }

    #[test]
    fn bytes_are_given_back() {
        let admission = admission();
        let (mut a, mut b) = (admission.bytes(), admission.bytes());
        a.grow(60).unwrap();
        assert!(b.grow(41).is_err());
        b.grow(40).unwrap();
        drop(a);
        b.grow(60).unwrap();
        assert!(b.grow(usize::MAX).is_err());
    }
}
