//! What a forward pass returns: always the logits, and on request the
//! embedding and the last feature map.

use std::ops::BitOr;

use crate::error::{Error, Result};
use crate::graph::{Graph, Value};

/// Which outputs a forward pass returns besides the logits. The default asks
/// for none, and costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outputs {
    /// The classifier's input, after global pooling.
    pub embedding: bool,
    /// The last feature map, before global pooling.
    pub feature_map: bool,
}

impl Outputs {
    /// The logits only.
    pub const LOGITS: Self = Self {
        embedding: false,
        feature_map: false,
    };

    /// Every output.
    pub const ALL: Self = Self {
        embedding: true,
        feature_map: true,
    };

    /// Every output that either asks for: what a batch of several requests
    /// has to compute.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            embedding: self.embedding || other.embedding,
            feature_map: self.feature_map || other.feature_map,
        }
    }
}

impl BitOr for Outputs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// The result of a forward pass of `N` images, in f32 whatever the backend
/// computes in. All vectors are row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// `[N, classes]`
    pub logits: Vec<f32>,
    /// `[N, C]`, where it was asked for.
    pub embedding: Option<Vec<f32>>,
    /// `[N, H, W, C]`, where it was asked for.
    pub feature_map: Option<Vec<f32>>,
}

impl Output {
    /// No images: the vectors that `outputs` asks for are there and empty.
    pub(crate) fn empty(outputs: Outputs) -> Self {
        Self {
            logits: Vec::new(),
            embedding: outputs.embedding.then(Vec::new),
            feature_map: outputs.feature_map.then(Vec::new),
        }
    }

    /// Adds the images of `other`, of a pass that was asked for the same.
    #[cfg(feature = "cuda")]
    pub(crate) fn append(&mut self, other: Self) {
        fn extend(all: &mut Option<Vec<f32>>, more: Option<Vec<f32>>) {
            if let (Some(all), Some(more)) = (all, more) {
                all.extend(more);
            }
        }
        self.logits.extend(other.logits);
        extend(&mut self.embedding, other.embedding);
        extend(&mut self.feature_map, other.feature_map);
    }
}

/// The graph's values that a forward pass can return. The memory of all of them
/// is reserved until the end of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputValues {
    pub(crate) logits: Value,
    embedding: Option<Value>,
    feature_map: Option<Value>,
}

impl OutputValues {
    pub(crate) fn of(graph: &Graph) -> Self {
        Self {
            logits: graph.output(),
            embedding: graph.embedding(),
            feature_map: graph.feature_map(),
        }
    }

    /// Those that are kept besides the logits.
    pub(crate) fn kept(self) -> impl Iterator<Item = Value> {
        self.embedding.into_iter().chain(self.feature_map)
    }

    /// As if a pass could return nothing else.
    #[cfg(test)]
    pub(crate) fn only_logits(self) -> Self {
        Self {
            embedding: None,
            feature_map: None,
            ..self
        }
    }

    /// The values that `outputs` asks for: the embedding and the feature map.
    ///
    /// # Errors
    /// [`Error::MissingOutput`] where the network has no such value.
    pub(crate) fn requested(self, outputs: Outputs) -> Result<Requested> {
        let requested = |wanted: bool, value: Option<Value>, output| match (wanted, value) {
            (false, _) => Ok(None),
            (true, Some(value)) => Ok(Some(value)),
            (true, None) => Err(Error::MissingOutput { output }),
        };
        Ok(Requested {
            logits: self.logits,
            embedding: requested(outputs.embedding, self.embedding, "embedding")?,
            feature_map: requested(outputs.feature_map, self.feature_map, "feature map")?,
        })
    }
}

/// The values that one forward pass returns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requested {
    logits: Value,
    embedding: Option<Value>,
    feature_map: Option<Value>,
}

impl Requested {
    /// All of them, the logits first.
    #[cfg(feature = "cuda")]
    pub(crate) fn values(self) -> impl Iterator<Item = Value> {
        let others = self.embedding.into_iter().chain(self.feature_map);
        std::iter::once(self.logits).chain(others)
    }

    /// The output, each value read by `read` as `[N, H, W, C]`.
    pub(crate) fn read<E>(
        self,
        mut read: impl FnMut(Value) -> Result<Vec<f32>, E>,
    ) -> Result<Output, E> {
        Ok(Output {
            logits: read(self.logits)?,
            embedding: self.embedding.map(&mut read).transpose()?,
            feature_map: self.feature_map.map(&mut read).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Op;
    use crate::{build::build, family};

    #[test]
    fn the_union_asks_for_what_either_asks_for() {
        let embedding = Outputs {
            embedding: true,
            ..Outputs::LOGITS
        };
        let feature_map = Outputs {
            feature_map: true,
            ..Outputs::LOGITS
        };
        assert_eq!(embedding.union(feature_map), Outputs::ALL);
        assert_eq!(embedding | Outputs::default(), embedding);
        assert_eq!(Outputs::LOGITS | Outputs::LOGITS, Outputs::default());
    }

    #[test]
    fn every_architecture_has_an_embedding_and_a_feature_map() {
        for row in family::FAMILY.iter() {
            let graph = build(row, row.input, row.classes);
            let (embedding, map) = (graph.embedding().unwrap(), graph.feature_map().unwrap());
            assert_eq!(graph.nodes[embedding].op, Op::GlobalAvgPool, "{}", row.name);
            let (pooled, map) = (graph.shape(embedding), graph.shape(map));
            let channels = row.planes.last().unwrap() * row.block.expansion();
            assert_eq!((pooled.channels, pooled.height), (channels, 1));
            // each stage after the first halves the image, and ImageNet's stem twice
            let stem = if row.input == 224 { 2 } else { 0 };
            let halvings = row.layers.len() - 1 + stem;
            assert_eq!(
                (map.channels, map.height),
                (channels, row.input >> halvings)
            );
        }
    }

    #[test]
    fn a_graph_without_global_pooling_has_no_feature_map() {
        let mut graph = Graph::new(1);
        graph.push("fc", Op::Linear, &[0], 10);
        let values = OutputValues::of(&graph);
        let asked = Outputs {
            embedding: true,
            ..Outputs::LOGITS
        };
        assert_eq!(values.requested(asked).unwrap().embedding, Some(0));
        let error = values.requested(Outputs::ALL).unwrap_err();
        let names_it = matches!(error, Error::MissingOutput { output } if output == "feature map");
        assert!(names_it, "{error}");
    }
}
