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
use super::services::Services;
use super::streams::bounded;
use crate::core::serving::Serving;

const V1: &str = "grpc.reflection.v1.ServerReflection";
const V1_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// The method of both versions, which lists these services.
pub(super) fn routes(services: &Services) -> Router<Arc<Serving>> {
    try_routes(services).unwrap_or_else(|error| {
        tracing::error!(%error, "the server has no reflection: its descriptors are invalid");
        Router::new()
    })
}

fn try_routes(services: &Services) -> Result<Router<Arc<Serving>>, Error> {
    let builder = || {
        let builder = Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
        let names = services.names().chain([V1, V1_ALPHA]);
        names.fold(builder, Builder::with_service_name)
    };
    let (v1, v1_alpha) = (builder().build_v1()?, builder().build_v1alpha()?);
    let v1 = post(|State(serving), request| call(v1, serving, request));
    let v1_alpha = post(|State(serving), request| call(v1_alpha, serving, request));
    let path = |service| format!("/{service}/ServerReflectionInfo");
    let routes = Router::new().route(&path(V1), v1);
    Ok(routes.route(&path(V1_ALPHA), v1_alpha))
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
    use super::*;
    use crate::http::protocol::Protocols;

    #[test]
    fn the_descriptors_are_valid() {
        let services = Services::public(&Protocols::default());
        assert!(try_routes(&services).is_ok());
    }
}
