//! What TorchServe's management API says of the models. Workers and their
//! settings are those of a server whose versions have one worker each.

use serde::Serialize;

use crate::core::limits::Limits;
use crate::core::registry::status::{ModelStatus, VersionStatus};

/// A page of the list of models.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
    models: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    model_name: &'a str,
    model_url: &'a str,
}

impl<'a> List<'a> {
    /// The models from position `token`, at most `limit`.
    #[must_use]
    pub fn new(models: &'a [ModelStatus], limit: usize, token: usize) -> Self {
        let listed = |model: &'a ModelStatus| Listed {
            model_name: &model.name,
            model_url: &model.source,
        };
        let end = token.saturating_add(limit);
        Self {
            next_page_token: (end < models.len()).then(|| end.to_string()),
            models: models.iter().skip(token).take(limit).map(listed).collect(),
        }
    }
}

/// One version of a model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    model_name: String,
    model_version: String,
    model_url: String,
    runtime: &'static str,
    min_workers: usize,
    max_workers: usize,
    batch_size: usize,
    max_batch_delay: usize,
    response_timeout: u64,
    device_type: String,
    loaded_at_startup: bool,
    workers: Vec<Worker>,
    job_queue_status: JobQueue,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Worker {
    id: &'static str,
    status: &'static str,
    memory_usage: usize,
    pid: u32,
    gpu: bool,
    gpu_usage: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobQueue {
    remaining_capacity: usize,
    pending_requests: usize,
}

/// What all descriptions have in common.
pub struct Server<'a> {
    /// The limits of the server.
    pub limits: &'a Limits,
    /// Images in flight.
    pub in_flight: usize,
}

impl Server<'_> {
    /// A version of a model. A version that is not loaded has no worker.
    #[must_use]
    pub fn describe(&self, model: &ModelStatus, version: &VersionStatus) -> Description {
        let instance = version.instance.as_ref();
        let device = instance.map(|instance| instance.network().info().device.to_string());
        let is_gpu = device.as_ref().is_some_and(|device| device != "cpu");
        let worker = instance.map(|instance| Worker {
            id: "9000",
            status: "READY",
            memory_usage: instance.memory(),
            pid: std::process::id(),
            gpu: is_gpu,
            gpu_usage: "N/A",
        });
        Description {
            model_name: model.name.clone(),
            model_version: format!("{}.0", version.version),
            model_url: model.source.clone(),
            runtime: "python",
            min_workers: 1,
            max_workers: 1,
            batch_size: self.limits.max_batch,
            max_batch_delay: 0,
            response_timeout: self.limits.request_timeout.as_secs(),
            device_type: if is_gpu { "gpu" } else { "cpu" }.to_owned(),
            loaded_at_startup: true,
            workers: worker.into_iter().collect(),
            job_queue_status: JobQueue {
                remaining_capacity: self.limits.max_in_flight.saturating_sub(self.in_flight),
                pending_requests: self.in_flight,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> ModelStatus {
        ModelStatus {
            name: name.into(),
            aliases: Vec::new(),
            source: format!("/models/{name}"),
            is_default: false,
            versions: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn lists_have_pages() {
        let models = ["a", "b", "c"].map(model);
        let page = |limit, token| serde_json::to_string(&List::new(&models, limit, token)).unwrap();
        assert_eq!(
            page(2, 0),
            r#"{"nextPageToken":"2","models":[{"modelName":"a","modelUrl":"/models/a"},{"modelName":"b","modelUrl":"/models/b"}]}"#
        );
        assert_eq!(
            page(2, 2),
            r#"{"models":[{"modelName":"c","modelUrl":"/models/c"}]}"#
        );
        assert_eq!(page(100, 9), r#"{"models":[]}"#);
    }
}
