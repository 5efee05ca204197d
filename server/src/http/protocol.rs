//! The protocols that the server speaks, by name, and which of them are mounted.

/// A protocol, in metrics, logs and settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// The API of `openapi.yaml`.
    Native,
    /// The Open Inference Protocol, version 2, over REST, with Triton's extensions.
    Oip,
    /// `TorchServe`.
    TorchServe,
    /// TensorFlow Serving over REST.
    TensorFlowServing,
    /// The inference API of Hugging Face.
    HuggingFace,
    /// Containers of Amazon SageMaker.
    SageMaker,
    /// Containers of Vertex AI.
    VertexAi,
    /// The vision service of `PhotoPrism`.
    PhotoPrism,
    /// Version 1 of Roboflow's inference server.
    Roboflow,
    /// `DeepStack` and CodeProject.AI.
    DeepStack,
    /// gRPC, with the services of all protocols that have some.
    Grpc,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Native,
        Self::Oip,
        Self::TorchServe,
        Self::TensorFlowServing,
        Self::HuggingFace,
        Self::SageMaker,
        Self::VertexAi,
        Self::PhotoPrism,
        Self::Roboflow,
        Self::DeepStack,
        Self::Grpc,
    ];

    /// Its name, which never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Oip => "oip",
            Self::TorchServe => "torchserve",
            Self::TensorFlowServing => "tensorflow-serving",
            Self::HuggingFace => "huggingface",
            Self::SageMaker => "sagemaker",
            Self::VertexAi => "vertex-ai",
            Self::PhotoPrism => "photoprism",
            Self::Roboflow => "roboflow",
            Self::DeepStack => "deepstack",
            Self::Grpc => "grpc",
        }
    }
}

/// The protocols that are mounted. The native one always is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols {
    mounted: Vec<Protocol>,
    /// Whether they were listed by name.
    named: bool,
    vertex: Paths,
}

/// The paths that Vertex AI calls, which its environment variables name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Health checks.
    pub health: Option<String>,
    /// Predictions.
    pub predict: Option<String>,
}

impl Default for Protocols {
    /// All of them.
    fn default() -> Self {
        Self::new(Protocol::ALL.into(), false)
    }
}

impl Protocols {
    fn new(mounted: Vec<Protocol>, named: bool) -> Self {
        Self {
            mounted,
            named,
            vertex: Paths::default(),
        }
    }

    /// The same protocols, with the paths that Vertex AI calls.
    #[must_use]
    pub fn with_vertex_paths(self, vertex: Paths) -> Self {
        Self { vertex, ..self }
    }

    /// The paths that Vertex AI calls.
    #[must_use]
    pub fn vertex_paths(&self) -> &Paths {
        &self.vertex
    }

    /// Whether this protocol was asked for by its name.
    #[must_use]
    pub fn is_named(&self, protocol: Protocol) -> bool {
        self.named && self.has(protocol)
    }

    /// `all`, or names separated by commas.
    ///
    /// # Errors
    /// A name that is not one of [`Protocol::ALL`].
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::default());
        }
        let mut found = vec![Protocol::Native];
        for name in text.split(',').map(str::trim) {
            let named = Protocol::ALL.into_iter().find(|p| p.name() == name);
            found.push(named.ok_or_else(|| {
                let names = Protocol::ALL.map(Protocol::name).join(", ");
                format!("must be all, or some of {names}, separated by commas")
            })?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(Self::new(found, true))
    }

    /// Whether this protocol is mounted.
    #[must_use]
    pub fn has(&self, protocol: Protocol) -> bool {
        self.mounted.contains(&protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_named_and_native_is_always_one() {
        let some = Protocols::parse("torchserve, oip,oip").unwrap();
        let mounted = Protocol::ALL.into_iter().filter(|&p| some.has(p));
        let names: Vec<&str> = mounted.map(Protocol::name).collect();
        assert_eq!(names, ["native", "oip", "torchserve"]);
        assert!(some.is_named(Protocol::Oip) && !some.is_named(Protocol::Grpc));
        assert_eq!(Protocols::parse("all"), Ok(Protocols::default()));
        assert!(!Protocols::default().is_named(Protocol::Oip));
        assert!(!Protocols::parse("native").unwrap().has(Protocol::Grpc));
        for wrong in ["", "oip,", "kserve", "All"] {
            assert!(
                Protocols::parse(wrong)
                    .unwrap_err()
                    .contains("tensorflow-serving")
            );
        }
    }
}
