//! What the cache found for an image.

use std::time::Duration;

use super::digest::Digest;

/// What the cache found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// The output was in the cache.
    Hit,
    /// An equal request computed it at the same time.
    Coalesced,
    /// It was computed for this request.
    Miss,
}

impl Lookup {
    /// Its name in metrics and headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Coalesced => "coalesced",
            Self::Miss => "miss",
        }
    }
}

/// How an output was obtained.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The content of the image.
    pub image: Digest,
    /// What the cache found.
    pub lookup: Lookup,
    /// How long ago the output of a hit was computed.
    pub age: Duration,
}

/// How the outputs of a request were obtained, as one: a miss if any is a miss, a hit if
/// all are hits, and the greatest age. `None` unless all images were looked up.
pub fn of_all(sources: impl IntoIterator<Item = Option<Source>>) -> Option<(Lookup, Duration)> {
    let mut all = None;
    for source in sources {
        let source = source?;
        let (lookup, age) = all.unwrap_or((source.lookup, source.age));
        all = Some((lookup.max(source.lookup), age.max(source.age)));
    }
    all
}
