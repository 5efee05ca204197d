//! The model repository extension: the index on both listeners, loading and
//! unloading on the admin listener.

use std::collections::HashMap;
use std::sync::Arc;

use super::describe::failed;
use crate::core::serving::Serving;
use crate::grpc::proto::inference as proto;
use crate::grpc::proto::inference::repository_index_response::ModelIndex;
use crate::grpc::unary::Query;
use crate::http::problem::{Problem, ProblemType};
use crate::oip::metadata;

pub(super) struct Index;

impl Query for Index {
    type Request = proto::RepositoryIndexRequest;
    type Response = proto::RepositoryIndexResponse;

    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        let index = metadata::index(&serving.registry().list(), request.ready);
        let models = index.into_iter().map(|model| ModelIndex {
            name: model.name,
            version: model.version,
            state: model.state.to_owned(),
            reason: model.reason,
        });
        Ok(proto::RepositoryIndexResponse {
            models: models.collect(),
        })
    }
}

pub(super) struct Load;

impl Query for Load {
    type Request = proto::RepositoryModelLoadRequest;
    type Response = proto::RepositoryModelLoadResponse;

    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        check(&request.parameters)?;
        let model_name = name(request.model_name, request.repository_name);
        let loaded = serving.registry().load(&model_name, None).await;
        loaded.map_err(failed)?;
        Ok(proto::RepositoryModelLoadResponse {
            model_name,
            is_loaded: true,
        })
    }
}

pub(super) struct Unload;

impl Query for Unload {
    type Request = proto::RepositoryModelUnloadRequest;
    type Response = proto::RepositoryModelUnloadResponse;

    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        let model_name = name(request.model_name, request.repository_name);
        let unloaded = serving.registry().unload(&model_name, None);
        unloaded.map_err(failed)?;
        Ok(proto::RepositoryModelUnloadResponse {
            model_name,
            is_unloaded: true,
        })
    }
}

/// The model of a request. KServe's clients send its name where Triton's send that
/// of the repository.
fn name(model: String, repository: String) -> String {
    match model.is_empty() {
        true => repository,
        false => model,
    }
}

/// Triton's clients can send a configuration and files with a load.
fn check(parameters: &HashMap<String, proto::ModelRepositoryParameter>) -> Result<(), Problem> {
    match parameters.is_empty() {
        true => Ok(()),
        false => Err(Problem::new(
            ProblemType::NotFound,
            "a configuration or files cannot be part of the request; change the configuration file",
        )),
    }
}

/// The public listener's answer.
pub(super) async fn refuse() -> Problem {
    let detail =
        "explicit model load / unload is not allowed on this address; use the one of --admin";
    Problem::new(ProblemType::ModelUnavailable, detail)
}
