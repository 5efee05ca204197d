//! What is said about the server and its models.

use std::collections::HashMap;
use std::sync::Arc;

use super::request::version;
use crate::core::error::Error;
use crate::core::instance::Instance;
use crate::core::request::{self, Deadline};
use crate::core::serving::Serving;
use crate::grpc::proto::inference as proto;
use crate::grpc::unary::Query;
use crate::http::problem::Problem;
use crate::oip::failure::Failure;
use crate::oip::{config, metadata, statistics};

pub(super) struct ServerLive;

impl Query for ServerLive {
    type Request = proto::ServerLiveRequest;
    type Response = proto::ServerLiveResponse;

    async fn call(_: &Arc<Serving>, _: Self::Request) -> Result<Self::Response, Problem> {
        Ok(proto::ServerLiveResponse { live: true })
    }
}

pub(super) struct ServerReady;

impl Query for ServerReady {
    type Request = proto::ServerReadyRequest;
    type Response = proto::ServerReadyResponse;

    async fn call(serving: &Arc<Serving>, _: Self::Request) -> Result<Self::Response, Problem> {
        let ready = serving.ready().is_ok();
        Ok(proto::ServerReadyResponse { ready })
    }
}

pub(super) struct ServerMetadata;

impl Query for ServerMetadata {
    type Request = proto::ServerMetadataRequest;
    type Response = proto::ServerMetadataResponse;

    async fn call(_: &Arc<Serving>, _: Self::Request) -> Result<Self::Response, Problem> {
        let server = metadata::ServerMetadata::default();
        Ok(proto::ServerMetadataResponse {
            name: server.name.to_owned(),
            version: server.version.to_owned(),
            extensions: server.extensions.map(str::to_owned).into(),
        })
    }
}

/// The regions of shared memory, of which there are none: any request is answered with
/// an empty message.
pub(super) struct NoRegions;

impl Query for NoRegions {
    type Request = ();
    type Response = ();

    async fn call(_: &Arc<Serving>, (): Self::Request) -> Result<Self::Response, Problem> {
        Ok(())
    }
}

pub(super) struct ModelReady;

impl Query for ModelReady {
    type Request = proto::ModelReadyRequest;
    type Response = proto::ModelReadyResponse;

    /// An unknown model is not ready, as in Triton.
    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        let version = version(&request.name, &request.version).map_err(failed)?;
        let ready = serving.registry().model_ready(&request.name, version);
        let ready = ready.is_ok() && !serving.is_leaving();
        Ok(proto::ModelReadyResponse { ready })
    }
}

pub(super) struct ModelMetadata;

impl Query for ModelMetadata {
    type Request = proto::ModelMetadataRequest;
    type Response = proto::ModelMetadataResponse;

    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        let instance = instance(serving, &request.name, &request.version).await?;
        let status = serving.registry().status(&request.name).map_err(failed)?;
        let model = metadata::ModelMetadata::new(&request.name, &instance, &status);
        let tensors = |tensors: Vec<metadata::TensorMetadata>| {
            let tensors = tensors.into_iter();
            let tensor = tensors.map(|t| proto::model_metadata_response::TensorMetadata {
                name: t.name.to_owned(),
                datatype: t.datatype.name().to_owned(),
                shape: t.shape,
            });
            tensor.collect()
        };
        Ok(proto::ModelMetadataResponse {
            name: model.name,
            versions: model.versions,
            platform: model.platform.to_owned(),
            inputs: tensors(model.inputs),
            outputs: tensors(model.outputs),
            properties: HashMap::new(),
        })
    }
}

pub(super) struct ModelConfig;

impl Query for ModelConfig {
    type Request = proto::ModelConfigRequest;
    type Response = proto::ModelConfigResponse;

    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        let instance = instance(serving, &request.name, &request.version).await?;
        let most = serving.limits().max_images;
        let config = config::ModelConfig::new(&request.name, &instance, most);
        Ok(proto::ModelConfigResponse {
            config: Some(message(config)),
        })
    }
}

fn message(config: config::ModelConfig) -> proto::ModelConfig {
    use proto::model_config::SchedulingChoice;
    use proto::model_input::Format;
    use proto::model_instance_group::Kind;
    use proto::model_version_policy::{Latest, PolicyChoice};
    let data_type = |name| {
        proto::DataType::from_str_name(name)
            .unwrap_or_default()
            .into()
    };
    let input = |input: config::InputConfig| proto::ModelInput {
        name: input.name.to_owned(),
        data_type: data_type(input.data_type),
        format: Format::from_str_name(input.format)
            .unwrap_or_default()
            .into(),
        dims: input.dims.map(|dim| dim as i64).into(),
        optional: false,
    };
    let output = |output: config::OutputConfig| proto::ModelOutput {
        name: output.name.to_owned(),
        data_type: data_type(output.data_type),
        dims: output.dims.map(|dim| dim as i64).into(),
        label_filename: output.label_filename.to_owned(),
    };
    let group = |group: config::InstanceGroup| proto::ModelInstanceGroup {
        name: group.name,
        count: i32::try_from(group.count).unwrap_or(i32::MAX),
        gpus: Vec::new(),
        kind: Kind::from_str_name(group.kind).unwrap_or_default().into(),
    };
    let parameters = config.parameters.into_iter().map(|(name, value)| {
        let string_value = value.string_value;
        (name.to_owned(), proto::ModelParameter { string_value })
    });
    let latest = Latest {
        num_versions: config.version_policy.latest.num_versions,
    };
    let batching = proto::ModelDynamicBatching {
        max_queue_delay_microseconds: config.dynamic_batching.max_queue_delay_microseconds,
        priority_levels: config.dynamic_batching.priority_levels,
        default_priority_level: config.dynamic_batching.default_priority_level,
        ..Default::default()
    };
    proto::ModelConfig {
        name: config.name,
        platform: config.platform.to_owned(),
        backend: config.backend.to_owned(),
        version_policy: Some(proto::ModelVersionPolicy {
            policy_choice: Some(PolicyChoice::Latest(latest)),
        }),
        max_batch_size: i32::try_from(config.max_batch_size).unwrap_or(i32::MAX),
        input: config.input.into_iter().map(input).collect(),
        output: config.output.into_iter().map(output).collect(),
        instance_group: config.instance_group.into_iter().map(group).collect(),
        default_model_filename: String::new(),
        scheduling_choice: Some(SchedulingChoice::DynamicBatching(batching)),
        parameters: parameters.collect(),
        model_transaction_policy: Some(proto::ModelTransactionPolicy {
            decoupled: config.model_transaction_policy.decoupled,
        }),
    }
}

pub(super) struct ModelStatistics;

impl Query for ModelStatistics {
    type Request = proto::ModelStatisticsRequest;
    type Response = proto::ModelStatisticsResponse;

    /// Of one version, of the loaded versions of a model, or of all.
    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        let registry = serving.registry();
        let found = match request.name.as_str() {
            "" => statistics::statistics(&registry.list()),
            name => {
                let version = version(name, &request.version).map_err(failed)?;
                statistics::of_model(registry, name, version).map_err(failed)?
            }
        };
        Ok(proto::ModelStatisticsResponse {
            model_stats: found.into_iter().map(counts).collect(),
        })
    }
}

fn counts(model: statistics::ModelStatistics) -> proto::ModelStatistics {
    let duration = |duration: statistics::StatisticDuration| {
        Some(proto::StatisticDuration {
            count: duration.count,
            ns: duration.ns,
        })
    };
    let stats = model.inference_stats;
    proto::ModelStatistics {
        name: model.name,
        version: model.version,
        last_inference: model.last_inference,
        inference_count: model.inference_count,
        execution_count: model.execution_count,
        inference_stats: Some(proto::InferStatistics {
            success: duration(stats.success),
            fail: duration(stats.fail),
            queue: duration(stats.queue),
            compute_input: duration(stats.compute_input),
            compute_infer: duration(stats.compute_infer),
            compute_output: duration(stats.compute_output),
            cache_hit: duration(stats.cache_hit),
            cache_miss: duration(stats.cache_miss),
        }),
        batch_stats: Vec::new(),
    }
}

/// The instance that a request names. It may have to be loaded.
async fn instance(serving: &Serving, name: &str, text: &str) -> Result<Arc<Instance>, Problem> {
    let deadline = Deadline::after(serving.limits().request_timeout);
    let version = version(name, text).map_err(failed)?;
    let found = request::find(serving, Some(name), version, deadline);
    found.await.map_err(failed)
}

/// An error in the words of Triton.
pub(super) fn failed(error: Error) -> Problem {
    let problem = Problem::from(&error);
    problem.with_detail(Failure::from(error).to_string())
}
