//! Server reflection, versions 1 and 1 alpha: clients such as `grpcurl` learn the
//! services and messages from the server.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tonic_reflection::server::{Builder, Error};
use tower::{Service, ServiceExt};

use super::proto::DESCRIPTORS;
use super::streams::bounded;
use crate::core::serving::Serving;

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// The method of both versions.
pub(super) fn routes() -> Router<Arc<Serving>> {
    try_routes().unwrap_or_else(|error| {
        tracing::error!(%error, "the server has no reflection: its descriptors are invalid");
        Router::new()
    })
}

fn try_routes() -> Result<Router<Arc<Serving>>, Error> {
    let builder = || Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let (v1, v1_alpha) = (builder().build_v1()?, builder().build_v1alpha()?);
    let v1 = post(|State(serving), request| call(v1, serving, request));
    let v1_alpha = post(|State(serving), request| call(v1_alpha, serving, request));
    Ok(Router::new().route(V1, v1).route(V1_ALPHA, v1_alpha))
}

async fn call<S>(service: S, serving: Arc<Serving>, request: Request) -> Response
where
    S: Service<Request, Error = std::convert::Infallible>,
    S::Response: IntoResponse,
{
    let (request, ..) = bounded(request, &serving);
    let Ok(response) = service.oneshot(request).await;
    response.into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_descriptors_are_valid() {
        assert!(super::try_routes().is_ok());
    }
}
