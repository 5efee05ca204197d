//! Outputs by key. When their memory reaches the limit, the least recently used ones are
//! removed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::digest::Key;
use crate::core::batch::ImageOutput;

/// Outputs within a limit.
pub(super) struct Entries {
    limit: usize,
    bytes: usize,
    by_key: HashMap<Key, Entry>,
    /// Keys in the order of their last use.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

struct Entry {
    output: Arc<ImageOutput>,
    computed: Instant,
    used: u64,
    bytes: usize,
}

/// What an entry takes besides its vectors: the output with the two counters of its
/// `Arc`, and its places in the two maps. A hash map that has grown is 7/16 full, and
/// while it grows, its old table of half the size is in memory, too. A node of a tree is
/// at least 5/11 full.
const ENTRY_BYTES: usize = {
    let output = size_of::<ImageOutput>() + 2 * size_of::<usize>();
    let hashed = (size_of::<(Key, Entry)>() + 1) * 24 / 7;
    let ordered = (size_of::<(u64, Key)>() + 2 * size_of::<usize>()) * 11 / 5;
    output + hashed + ordered
};

/// Bytes of an entry with this output.
fn bytes_of(output: &ImageOutput) -> usize {
    let optional = [&output.embedding, &output.feature_map]
        .into_iter()
        .flatten();
    let vectors = optional.chain([&output.logits]);
    let values: usize = vectors.map(Vec::capacity).sum();
    ENTRY_BYTES + values * size_of::<f32>()
}

impl Entries {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            by_key: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// The bytes of all entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of entries.
    pub(super) fn count(&self) -> usize {
        self.by_key.len()
    }

    /// An output and its age.
    pub(super) fn get(&mut self, key: &Key) -> Option<(Arc<ImageOutput>, Duration)> {
        let entry = self.by_key.get_mut(key)?;
        self.by_use.remove(&entry.used);
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, *key);
        Some((Arc::clone(&entry.output), entry.computed.elapsed()))
    }

    /// Adds an output, and removes the least recently used ones until there is room.
    /// Returns how many. One that is larger than the limit is not kept.
    pub(super) fn insert(&mut self, key: Key, output: Arc<ImageOutput>) -> usize {
        let bytes = bytes_of(&output);
        if bytes > self.limit || self.by_key.contains_key(&key) {
            return 0;
        }
        let mut evicted = 0;
        while self.bytes + bytes > self.limit {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            if let Some(entry) = self.by_key.remove(&oldest) {
                self.bytes -= entry.bytes;
                evicted += 1;
            }
        }
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, key);
        let entry = Entry {
            output,
            computed: Instant::now(),
            used: self.uses,
            bytes,
        };
        self.by_key.insert(key, entry);
        evicted
    }
}

#[cfg(test)]
mod tests {
    use model::Outputs;
    use preprocess::Crop;

    use super::*;
    use crate::core::statistics::Timings;

    fn key(n: u64) -> Key {
        Key::new("", n, Outputs::default(), &[0; 32])
    }

    fn output(values: usize) -> Arc<ImageOutput> {
        Arc::new(ImageOutput {
            logits: vec![0.0; values],
            embedding: Some(vec![0.0; values]),
            feature_map: None,
            crop: Crop {
                photo: [1; 2],
                x: 0.0,
                y: 0.0,
                width: 1.0,
                height: 1.0,
            },
            timings: Timings::default(),
            source: None,
        })
    }

    #[test]
    fn the_least_recently_used_outputs_go_first_and_the_limit_holds() {
        let each = ENTRY_BYTES + 8 * 100;
        let mut entries = Entries::new(3 * each);
        for n in 0..3 {
            assert_eq!(entries.insert(key(n), output(100)), 0);
        }
        assert_eq!((entries.bytes(), entries.count()), (3 * each, 3));
        assert!(entries.get(&key(0)).is_some());
        assert_eq!(entries.insert(key(3), output(100)), 1);
        assert!(entries.get(&key(1)).is_none());
        assert!(entries.get(&key(0)).is_some() && entries.get(&key(2)).is_some());
        // a larger one takes the room of two
        assert_eq!(entries.insert(key(4), output(150)), 2);
        assert_eq!(entries.bytes(), 2 * each + 8 * 50);
        assert!(entries.get(&key(3)).is_none() && entries.get(&key(0)).is_none());
        // one that can never fit removes nothing
        assert_eq!(entries.insert(key(5), output(1000)), 0);
        assert_eq!((entries.count(), entries.by_use.len()), (2, 2));
        // the same key twice
        assert_eq!(entries.insert(key(4), output(100)), 0);
        assert_eq!(entries.count(), 2);
    }
}
