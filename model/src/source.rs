//! What every backend is built from.

use weights::{Checkpoint, Preprocessing};

use crate::family::Architecture;
use crate::graph::Graph;
use crate::threads::ThreadPool;

/// A network's graph with its weights and its preprocessing.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) row: &'a Architecture,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) preprocessing: &'a Preprocessing,
    pub(crate) threads: &'a ThreadPool,
}
