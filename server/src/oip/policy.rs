//! The schedule policy of a request: Triton's parameters `timeout` and `priority`.

use std::time::Duration;

use crate::core::request::{Deadline, Schedule};
use crate::core::round_robin::Class;

/// The priority levels of [`Policy::new`]. Triton's level 1 is the most urgent.
pub const PRIORITY_LEVELS: u64 = 2;

/// The level of a request that names none, or 0.
pub const DEFAULT_PRIORITY_LEVEL: u64 = 1;

/// When the images of a request run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long the request may take, if it says that.
    timeout: Option<Duration>,
    class: Class,
}

impl Policy {
    /// The policy of the parameters `priority` and `timeout`, which is in microseconds.
    /// A timeout of 0 is none. Levels from 2 on are one class: it runs while no other
    /// image waits.
    #[must_use]
    pub fn new(priority: Option<u64>, timeout: Option<u64>) -> Self {
        let micros = timeout.filter(|&micros| micros > 0);
        Self {
            timeout: micros.map(Duration::from_micros),
            class: match priority {
                Some(level) if level > DEFAULT_PRIORITY_LEVEL => Class::Low,
                _ => Class::Normal,
            },
        }
    }

    /// The schedule of a request with the server's deadline, which a timeout can only
    /// shorten.
    #[must_use]
    pub fn schedule(self, deadline: Deadline) -> Schedule {
        Schedule {
            deadline: match self.timeout {
                Some(timeout) => deadline.or_after(timeout),
                None => deadline,
            },
            class: self.class,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_1_and_0_are_normal_and_others_low() {
        for level in [None, Some(0), Some(1)] {
            assert_eq!(Policy::new(level, None), Policy::default(), "{level:?}");
        }
        for level in [2, 3, u64::MAX] {
            assert_eq!(Policy::new(Some(level), None).class, Class::Low, "{level}");
        }
    }

    #[test]
    fn a_timeout_of_0_is_none() {
        assert_eq!(Policy::new(None, Some(0)), Policy::default());
        let policy = Policy::new(None, Some(1500));
        assert_eq!(policy.timeout, Some(Duration::from_micros(1500)));
    }
}
