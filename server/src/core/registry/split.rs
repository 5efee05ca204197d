//! Which version receives a request that names none.

use std::collections::BTreeMap;

/// Distributes requests over versions by weight, as nginx's smooth weighted
/// round robin does: evenly interleaved, without randomness.
#[derive(Default)]
pub(super) struct Split {
    current: BTreeMap<u64, i64>,
}

impl Split {
    /// One of the versions that are `ready`, by `weights`. Versions without a
    /// weight receive nothing; `None` when no weighted version is ready.
    pub(super) fn pick(&mut self, weights: &BTreeMap<u64, u32>, ready: &[u64]) -> Option<u64> {
        self.current.retain(|version, _| ready.contains(version));
        let mut total = 0;
        for (&version, &weight) in weights {
            if weight > 0 && ready.contains(&version) {
                *self.current.entry(version).or_default() += i64::from(weight);
                total += i64::from(weight);
            }
        }
        if total == 0 {
            return None;
        }
        let best = self
            .current
            .iter_mut()
            .filter(|(version, _)| weights.get(version).is_some_and(|&weight| weight > 0))
            .max_by_key(|(version, current)| (**current, **version))?;
        *best.1 -= total;
        Some(*best.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_split_by_weight() {
        let weights = BTreeMap::from([(1, 90), (2, 10)]);
        let mut split = Split::default();
        let picked: Vec<u64> = (0..1000)
            .map(|_| split.pick(&weights, &[1, 2, 3]).unwrap())
            .collect();
        assert_eq!(picked.iter().filter(|v| **v == 2).count(), 100);
        assert!(!picked.contains(&3), "a version without a weight");
    }

    #[test]
    fn a_version_that_is_not_ready_leaves_its_part_to_the_others() {
        let weights = BTreeMap::from([(1, 90), (2, 10)]);
        let mut split = Split::default();
        for _ in 0..20 {
            assert_eq!(split.pick(&weights, &[2]), Some(2));
        }
        assert_eq!(split.pick(&weights, &[3]), None);
        assert_eq!(split.pick(&BTreeMap::new(), &[1]), None);
    }
}
