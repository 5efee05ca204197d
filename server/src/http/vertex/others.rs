//! The paths of other APIs that `AIP_PREDICT_ROUTE` and `AIP_HEALTH_ROUTE` may name.
//! Vertex AI passes their own responses on.

use crate::http::protocol::{Protocol, Protocols};

/// A path, in which `{}` is any segment and a `{*}` at the end any rest, and the
/// protocols that have it.
type Claim = (&'static str, &'static [Protocol]);

/// Paths that images are posted to. `/` and TorchServe's old `/{}/predict` are not among
/// them: there, a container of Vertex AI has the requests of Vertex AI.
const PREDICT: [Claim; 22] = [
    ("/v2/{*}", &[Protocol::Oip]),
    ("/predictions/{}", &[Protocol::TorchServe]),
    ("/predictions/{}/{}", &[Protocol::TorchServe]),
    ("/explanations/{}", &[Protocol::TorchServe]),
    ("/explanations/{}/{}", &[Protocol::TorchServe]),
    ("/models/{}/invoke", &[Protocol::TorchServe]),
    ("/v1/models/{}", &[Protocol::TorchServe]),
    ("/v1/models/{*}", &[Protocol::TensorFlowServing]),
    ("/invocations", &[Protocol::SageMaker, Protocol::TorchServe]),
    ("/models/{}", &[Protocol::HuggingFace]),
    ("/models/{}/classify", &[Protocol::Native]),
    ("/models/{}/embed", &[Protocol::Native]),
    ("/models/{}/explain", &[Protocol::Native]),
    ("/models/{}/versions/{}/classify", &[Protocol::Native]),
    ("/models/{}/versions/{}/embed", &[Protocol::Native]),
    ("/models/{}/versions/{}/explain", &[Protocol::Native]),
    ("/api/v1/vision/labels", &[Protocol::PhotoPrism]),
    ("/api/v1/vision/labels/{}", &[Protocol::PhotoPrism]),
    ("/api/v1/vision/labels/{}/{}", &[Protocol::PhotoPrism]),
    ("/infer/classification", &[Protocol::Roboflow]),
    ("/model/add", &[Protocol::Roboflow]),
    ("/v1/vision/scene", &[Protocol::DeepStack]),
];

/// Paths that report whether the server or a model is ready.
const HEALTH: [Claim; 8] = [
    ("/v2", &[Protocol::Oip]),
    ("/v2/{*}", &[Protocol::Oip]),
    ("/ping", &[Protocol::SageMaker, Protocol::TorchServe]),
    ("/v1/models/{*}", &[Protocol::TensorFlowServing]),
    ("/health", &[Protocol::HuggingFace]),
    ("/health/{}", &[Protocol::Native]),
    ("/models/{}", &[Protocol::Native]),
    ("/models/{}/{*}", &[Protocol::Native]),
];

/// Whether a mounted protocol has predictions at this path.
pub(super) fn predicts(path: &str, protocols: &Protocols) -> bool {
    has(&PREDICT, path, protocols)
}

/// Whether a mounted protocol has health checks at this path.
pub(super) fn has_health(path: &str, protocols: &Protocols) -> bool {
    has(&HEALTH, path, protocols)
}

fn has(claims: &[Claim], path: &str, protocols: &Protocols) -> bool {
    let mut claims = claims.iter();
    claims.any(|(pattern, of)| {
        of.iter().any(|&protocol| protocols.has(protocol)) && matches(pattern, path)
    })
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let Some(found) = segments.next() else {
            return false;
        };
        match expected {
            "{*}" => return !found.is_empty(),
            "{}" if !found.is_empty() => {}
            _ if expected == found => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_another_api_if_it_is_mounted() {
        let all = Protocols::default();
        for path in [
            "/v2/models/m/infer",
            "/predictions/m",
            "/explanations/m/1.0",
            "/models/m/invoke",
            "/v1/models/m:predict",
            "/invocations",
            "/models/m",
            "/api/v1/vision/labels",
            "/infer/classification",
            "/v1/vision/scene",
        ] {
            assert!(predicts(path, &all), "{path}");
            let none = Protocols::parse("vertex-ai").unwrap();
            assert!(!predicts(path, &none), "{path}");
        }
        for path in [
            "/",
            "/predict",
            "/vertex/predict",
            "/v1/endpoints/1/deployedModels/2:predict",
        ] {
            assert!(!predicts(path, &all), "{path}");
        }
        assert!(has_health("/ping", &all) && !has_health("/isalive", &all));
        let torchserve = Protocols::parse("torchserve,vertex-ai").unwrap();
        assert!(predicts("/v1/models/m:predict", &torchserve));
        assert!(!has_health("/v1/models/m", &torchserve));
    }
}
