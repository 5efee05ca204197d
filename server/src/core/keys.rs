//! API keys: who may do what, and how much of it. A server without keys serves
//! everybody alike.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::error::Error;
use super::round_robin::Class;

/// SHA-256 of a key. Keys are random and long, so that a slow hash would protect
/// nothing more.
pub type Digest = [u8; 32];

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Images, and what the models are.
    Infer,
    /// Loading and unloading models.
    Admin,
    /// The metrics.
    Metrics,
}

impl Scope {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("infer", Self::Infer),
        ("admin", Self::Admin),
        ("metrics", Self::Metrics),
    ];
}

/// How much of the server a key may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Requests a second; as many may come at once.
    pub requests_per_second: Option<NonZeroU32>,
    /// Images in flight.
    pub max_in_flight: Option<usize>,
}

/// One key.
pub struct Key {
    name: String,
    digest: Digest,
    scopes: Vec<Scope>,
    limits: KeyLimits,
    class: Class,
    rate: Option<DefaultDirectRateLimiter>,
    in_flight: AtomicUsize,
}

impl Key {
    /// A key that may do what `scopes` allow. Its images wait for all others in
    /// class [`Class::Low`].
    #[must_use]
    pub fn new(
        name: String,
        digest: Digest,
        scopes: Vec<Scope>,
        limits: KeyLimits,
        class: Class,
    ) -> Self {
        let limiter = |n| RateLimiter::direct(Quota::per_second(n));
        Self {
            rate: limits.requests_per_second.map(limiter),
            in_flight: AtomicUsize::new(0),
            name,
            digest,
            scopes,
            limits,
            class,
        }
    }

    /// Whether another key has the same settings.
    fn is_like(&self, other: &Self) -> bool {
        self.name == other.name
            && self.digest == other.digest
            && self.scopes == other.scopes
            && self.limits == other.limits
            && self.class == other.class
    }
}

/// The keys of a server. Without any, no key is asked for.
#[derive(Default)]
pub struct Keys {
    current: RwLock<Vec<Arc<Key>>>,
}

impl Keys {
    /// Replaces all keys. One whose settings are the same keeps its counters.
    pub fn replace(&self, keys: Vec<Key>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let kept = |key: Key| {
            let same = current.iter().find(|old| old.is_like(&key));
            same.map_or_else(|| Arc::new(key), Arc::clone)
        };
        *current = keys.into_iter().map(kept).collect();
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read().len()
    }

    /// Whether requests need a key.
    #[must_use]
    pub fn are_needed(&self) -> bool {
        !self.read().is_empty()
    }

    /// The caller with this key. The time that the search takes does not depend on
    /// the keys.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<Caller> {
        let digest: Digest = Sha256::digest(key).into();
        let mut found = None;
        for key in self.read().iter() {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(Arc::clone(key));
            }
        }
        found.map(|key| Caller {
            class: key.class,
            key: Some(key),
        })
    }

    /// The caller with the key that it has now; `None` if the key was removed.
    #[must_use]
    pub fn renew(&self, caller: &Caller) -> Option<Caller> {
        let Some(key) = &caller.key else {
            return (!self.are_needed()).then(|| caller.clone());
        };
        let current = self.read();
        let key = current.iter().find(|new| new.digest == key.digest)?;
        let renewed = Caller {
            class: key.class,
            key: Some(Arc::clone(key)),
        };
        Some(renewed.lowered_to(caller.class))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Key>>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who sent a request.
#[derive(Clone, Default)]
pub struct Caller {
    key: Option<Arc<Key>>,
    class: Class,
}

impl Caller {
    /// The name of the key; empty without keys.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.as_ref().map_or("", |key| &key.name)
    }

    /// Whether the caller may do this.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        let key = self.key.as_ref();
        key.is_none_or(|key| key.scopes.contains(&scope))
    }

    /// The same caller, in this class if it is the lower one.
    #[must_use]
    pub fn lowered_to(self, class: Class) -> Self {
        Self {
            class: self.class.max(class),
            ..self
        }
    }

    /// In which order its images are served.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`Error::KeyRate`] when there were too many in the last second.
    pub fn request(&self) -> Result<(), Error> {
        let Some((key, rate)) = self.key.as_ref().and_then(|k| Some((k, k.rate.as_ref()?))) else {
            return Ok(());
        };
        rate.check().map_err(|wait| Error::KeyRate {
            key: key.name.clone(),
            limit: key.limits.requests_per_second.map_or(0, NonZeroU32::get),
            wait: wait.wait_time_from(DefaultClock::default().now()),
        })
    }

    /// Counts the images of a request, all or none, until the result is dropped.
    ///
    /// # Errors
    /// [`Error::KeyInFlight`] when the key has too many in flight, and
    /// [`Error::TooManyImages`] when it never may have so many.
    pub fn images(&self, count: usize) -> Result<InFlightOfKey, Error> {
        let Some(key) = &self.key else {
            return Ok(InFlightOfKey {
                key: None,
                count,
                before: 0,
            });
        };
        let most = key.limits.max_in_flight.unwrap_or(usize::MAX);
        if count > most {
            return Err(Error::TooManyImages { most });
        }
        let fits = |held: usize| held.checked_add(count).filter(|total| *total <= most);
        let before = key
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| Error::KeyInFlight {
                key: key.name.clone(),
                requested: count,
                limit: most,
            })?;
        Ok(InFlightOfKey {
            key: Some(Arc::clone(key)),
            count,
            before,
        })
    }
}

/// The images of a request that count against its key.
pub struct InFlightOfKey {
    key: Option<Arc<Key>>,
    count: usize,
    before: usize,
}

impl InFlightOfKey {
    /// Images of the same key that were in flight before these; 0 without keys.
    #[must_use]
    pub fn before(&self) -> usize {
        self.before
    }
}

impl Drop for InFlightOfKey {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            key.in_flight.fetch_sub(self.count, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str, secret: &str, limits: KeyLimits) -> Key {
        let digest = Sha256::digest(secret).into();
        Key::new(
            name.into(),
            digest,
            vec![Scope::Infer],
            limits,
            Class::Normal,
        )
    }

    #[test]
    fn a_key_is_found_by_what_it_is_and_limited_to_its_scopes() {
        let keys = Keys::default();
        assert!(!keys.are_needed());
        assert!(Caller::default().may(Scope::Admin));
        keys.replace(vec![key("shop", "s3cret", KeyLimits::default())]);
        assert!(keys.are_needed() && keys.find(b"S3cret").is_none());
        let caller = keys.find(b"s3cret").unwrap();
        assert_eq!(caller.name(), "shop");
        assert!(caller.may(Scope::Infer) && !caller.may(Scope::Admin));
    }

    #[test]
    fn images_of_a_key_are_limited_over_all_its_requests() {
        let keys = Keys::default();
        let limits = KeyLimits {
            max_in_flight: Some(3),
            ..KeyLimits::default()
        };
        keys.replace(vec![key("shop", "a", limits)]);
        let caller = || keys.find(b"a").unwrap();
        let two = caller().images(2).unwrap();
        let retry = caller().images(2);
        assert!(matches!(retry, Err(Error::KeyInFlight { .. })));
        let never = caller().images(4);
        assert!(matches!(never, Err(Error::TooManyImages { most: 3 })));
        let one = caller().images(1).unwrap();
        assert_eq!((two.before(), one.before()), (0, 2));
        // The same settings: the counters go on. Other settings: they begin anew.
        keys.replace(vec![key("shop", "a", limits)]);
        assert!(caller().images(1).is_err());
        drop(two);
        assert_eq!(caller().images(2).unwrap().before(), 1);
        keys.replace(vec![key("shop", "a", KeyLimits::default())]);
        assert_eq!(caller().images(100).unwrap().before(), 0);
    }

    #[test]
    fn a_renewed_caller_has_the_key_of_the_file() {
        let keys = Keys::default();
        let anybody = Caller::default();
        assert!(keys.renew(&anybody).is_some());
        keys.replace(vec![key("shop", "a", KeyLimits::default())]);
        assert!(keys.renew(&anybody).is_none());
        let caller = keys.find(b"a").unwrap().lowered_to(Class::Low);
        let renewed = keys.renew(&caller).unwrap();
        assert_eq!((renewed.name(), renewed.class()), ("shop", Class::Low));
        keys.replace(vec![key("store", "a", KeyLimits::default())]);
        assert_eq!(keys.renew(&caller).unwrap().name(), "store");
        keys.replace(vec![key("shop", "b", KeyLimits::default())]);
        assert!(keys.renew(&caller).is_none());
    }

    #[test]
    fn requests_of_a_key_are_limited_and_say_when_to_retry() {
        let keys = Keys::default();
        let limits = KeyLimits {
            requests_per_second: NonZeroU32::new(2),
            ..KeyLimits::default()
        };
        keys.replace(vec![
            key("shop", "a", limits),
            key("other", "b", KeyLimits::default()),
        ]);
        let caller = keys.find(b"a").unwrap();
        assert!(caller.request().is_ok() && caller.request().is_ok());
        let error = caller.request().unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        assert!(keys.find(b"b").unwrap().request().is_ok());
    }

    #[test]
    fn a_class_can_only_be_lowered() {
        let caller = Caller::default();
        let low = caller.lowered_to(Class::Low);
        assert_eq!(low.lowered_to(Class::Normal).class(), Class::Low);
    }
}
