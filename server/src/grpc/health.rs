//! `grpc.health.v1.Health`: the readiness of the server and of its models.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use futures_util::stream;
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::frames::{parse, response};
use super::proto::grpc::health::v1::health_check_response::ServingStatus;
use super::proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use super::services::Services;
use super::streams::Requests;
use super::unary::answer;
use crate::core::error::Error;
use crate::core::serving::Serving;
use crate::http::problem::{Problem, ProblemType};
use crate::http::shared::Stopping;

/// Bytes of the largest request to watch, whose name is kept while it is watched.
const LARGEST_REQUEST: usize = 1024;

/// How often a watched status is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// The methods, which know these services.
pub(super) fn routes(services: &Services) -> Router<Arc<Serving>> {
    let (checked, watched) = (services.clone(), services.clone());
    let check = move |State(serving), request| check(serving, request, checked);
    let watch = move |State(serving), request| watch(serving, request, watched);
    Router::new()
        .route("/grpc.health.v1.Health/Check", post(check))
        .route("/grpc.health.v1.Health/Watch", post(watch))
}

/// The status of a service: all have that of the server, and each model has its
/// own. `None` for an unknown one.
fn status(serving: &Serving, services: &Services, service: &str) -> Option<ServingStatus> {
    let is_ready = match service {
        "" => serving.ready().is_ok(),
        service if services.has(service) => serving.ready().is_ok(),
        model => match serving.registry().model_ready(model, None) {
            Err(Error::UnknownModel { .. }) => return None,
            ready => ready.is_ok() && !serving.is_leaving(),
        },
    };
    Some(match is_ready {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    })
}

fn message(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

async fn check(
    serving: Arc<Serving>,
    request: Request,
    services: Services,
) -> Result<Response, Problem> {
    let found = async |request: HealthCheckRequest| {
        let status = status(&serving, &services, &request.service).ok_or_else(|| {
            let detail = format!("there is no service or model `{}`", request.service);
            Problem::new(ProblemType::ModelNotFound, detail)
        })?;
        Ok(message(status))
    };
    answer(&serving, request, found).await
}

/// A status, and each change of it, until the client or the server stops.
async fn watch(
    serving: Arc<Serving>,
    request: Request,
    services: Services,
) -> Result<Response, Problem> {
    let (mut requests, _) = Requests::new(request, &serving, LARGEST_REQUEST)?;
    let first = requests.messages.message();
    let first = timeout(serving.limits().body_timeout, first).await;
    let first = first.map_err(|_| {
        let detail = "no request arrived in time; send the name of a service";
        Problem::new(ProblemType::BodyTimeout, detail)
    })?;
    let first = first.map_err(|status| super::frames::broken(&status))?;
    let request: HealthCheckRequest = parse(first.unwrap_or_default())?;
    let watched = Watched {
        serving,
        services,
        service: request.service,
        last: None,
        stopping: requests.stopping,
    };
    Ok(response(stream::unfold(watched, Watched::next)))
}

struct Watched {
    serving: Arc<Serving>,
    services: Services,
    service: String,
    last: Option<ServingStatus>,
    stopping: Stopping,
}

impl Watched {
    async fn next(mut self) -> Option<(Result<Bytes, Status>, Self)> {
        loop {
            let status = status(&self.serving, &self.services, &self.service);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if self.last.replace(status) != Some(status) {
                let bytes = message(status).encode_to_vec().into();
                return Some((Ok(bytes), self));
            }
            tokio::select! {
                () = sleep(INTERVAL) => {}
                () = self.stopping.clone().stopped() => return None,
            }
        }
    }
}
