//! The management of models, see `crate::torchserve::management`. A field that is
//! zero or empty is not there.

use std::sync::Arc;

use crate::core::serving::Serving;
use crate::grpc::proto::org::pytorch::serve::grpc::management as proto;
use crate::grpc::unary::Query;
use crate::http::problem::Problem;
use crate::http::torchserve::management::problem;
use crate::torchserve::answer::json;
use crate::torchserve::describe::List;
use crate::torchserve::failure::Failure;
use crate::torchserve::management::{
    Change, PAGE, Registration, Scaling, describe, register, scale, set_default, unregister,
};

/// A method of the service.
macro_rules! method {
    ($name:ident, $request:ident) => {
        pub(super) struct $name;

        impl Query for $name {
            type Request = proto::$request;
            type Response = proto::ManagementResponse;

            async fn call(
                serving: &Arc<Serving>,
                request: Self::Request,
            ) -> Result<Self::Response, Problem> {
                let msg = Self::message(serving, &request).await?;
                Ok(proto::ManagementResponse { msg })
            }
        }
    };
}

method!(DescribeModel, DescribeModelRequest);
method!(ListModels, ListModelsRequest);
method!(RegisterModel, RegisterModelRequest);
method!(ScaleWorker, ScaleWorkerRequest);
method!(SetDefault, SetDefaultRequest);
method!(UnregisterModel, UnregisterModelRequest);

impl DescribeModel {
    async fn message(
        serving: &Serving,
        request: &proto::DescribeModelRequest,
    ) -> Result<String, Problem> {
        let versions = describe(serving, &request.model_name, text(&request.model_version));
        printed(&versions.map_err(|failure| problem(&failure))?)
    }
}

impl ListModels {
    async fn message(
        serving: &Serving,
        request: &proto::ListModelsRequest,
    ) -> Result<String, Problem> {
        let limit = count(request.limit).unwrap_or(PAGE).min(PAGE);
        let token = count(request.next_page_token).unwrap_or(0);
        let models = serving.registry().list();
        printed(&List::new(&models, limit, token))
    }
}

impl RegisterModel {
    async fn message(
        serving: &Serving,
        request: &proto::RegisterModelRequest,
    ) -> Result<String, Problem> {
        let registration = Registration {
            url: text(&request.url),
            name: text(&request.model_name),
            batch: count(request.batch_size),
            workers: count(request.initial_workers).unwrap_or(0),
            waits: request.synchronous,
        };
        changed(register(serving.registry(), registration).await)
    }
}

impl ScaleWorker {
    async fn message(
        serving: &Serving,
        request: &proto::ScaleWorkerRequest,
    ) -> Result<String, Problem> {
        let scaling = Scaling {
            version: text(&request.model_version),
            fewest: count(request.min_worker),
            most: count(request.max_worker),
            waits: request.synchronous,
        };
        changed(scale(serving.registry(), &request.model_name, scaling).await)
    }
}

impl SetDefault {
    async fn message(
        serving: &Serving,
        request: &proto::SetDefaultRequest,
    ) -> Result<String, Problem> {
        let (name, version) = (&request.model_name, &request.model_version);
        changed(set_default(serving.registry(), name, version))
    }
}

impl UnregisterModel {
    async fn message(
        serving: &Serving,
        request: &proto::UnregisterModelRequest,
    ) -> Result<String, Problem> {
        let version = text(&request.model_version);
        changed(unregister(serving.registry(), &request.model_name, version))
    }
}

fn text(field: &str) -> Option<&str> {
    Some(field).filter(|text| !text.is_empty())
}

fn count(field: i32) -> Option<usize> {
    usize::try_from(field).ok().filter(|count| *count > 0)
}

fn changed(change: Result<Change, Failure>) -> Result<String, Problem> {
    let change = change.map_err(|failure| problem(&failure))?;
    Ok(change.text)
}

fn printed(value: &impl serde::Serialize) -> Result<String, Problem> {
    let json = json(value).map_err(|_| Problem::internal())?;
    String::from_utf8(json).map_err(|_| Problem::internal())
}
