//! The services that a listener has, by name: health checks and reflection know
//! them.

use std::sync::Arc;

use crate::http::protocol::{Protocol, Protocols};

pub(super) const HEALTH: &str = "grpc.health.v1.Health";
pub(super) const INFERENCE: &str = "inference.GRPCInferenceService";
pub(super) const TORCHSERVE: &str = "org.pytorch.serve.grpc.inference.InferenceAPIsService";
pub(super) const TORCHSERVE_MANAGEMENT: &str =
    "org.pytorch.serve.grpc.management.ManagementAPIsService";
pub(super) const TENSORFLOW: &str = "tensorflow.serving.PredictionService";
pub(super) const TENSORFLOW_MODELS: &str = "tensorflow.serving.ModelService";

/// Services besides reflection. Cloning them copies a reference.
#[derive(Clone, Debug)]
pub(super) struct Services(Arc<[&'static str]>);

impl Services {
    /// Those of the public listener.
    pub(super) fn public(protocols: &Protocols) -> Self {
        let mut names = vec![HEALTH, INFERENCE];
        if protocols.has(Protocol::TorchServe) {
            names.push(TORCHSERVE);
        }
        if protocols.has(Protocol::TensorFlowServing) {
            names.extend([TENSORFLOW, TENSORFLOW_MODELS]);
        }
        Self(names.into())
    }

    /// Those of the admin listener.
    pub(super) fn admin(protocols: &Protocols) -> Self {
        let mut names = vec![HEALTH, INFERENCE];
        if protocols.has(Protocol::TorchServe) {
            names.push(TORCHSERVE_MANAGEMENT);
        }
        Self(names.into())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}
