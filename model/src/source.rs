//! The input from which every backend is built.

use weights::{Checkpoint, Preprocessing};

use crate::family::Architecture;
use crate::graph::Graph;
use crate::threads::ThreadPool;

/// The graph of a network with its architecture, weights and preprocessing, and
/// the thread pool on which it runs.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) row: &'a Architecture,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) preprocessing: &'a Preprocessing,
    pub(crate) threads: &'a ThreadPool,
}
