//! What SIGUSR1 asks for: the state of the server, in the log. One line for the server,
//! and one for each version of each model.

use crate::core::metrics::Budget;
use crate::core::process_metrics::Process;
use crate::core::registry::status::{ModelStatus, VersionStatus};
use crate::core::serving::Serving;
use crate::logs;
use crate::telemetry;

/// Writes the state to the log.
pub(super) fn log(serving: &Serving) {
    let models = serving.registry().list();
    log_server(serving, models.len());
    for model in &models {
        if let Some(error) = &model.error {
            tracing::info!(model = model.name, error, "state of a model");
        }
        for version in &model.versions {
            log_version(model, version);
        }
    }
}

fn log_server(serving: &Serving, models: usize) {
    let metrics = serving.metrics();
    let process = Process::read();
    let spans = telemetry::counts();
    let not_ready = serving.ready().err().map(|error| error.to_string());
    let budgets: Vec<String> = serving.budgets().iter().map(describe).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        ready = not_ready.is_none(),
        reason = not_ready.unwrap_or_default(),
        draining = serving.is_leaving(),
        models,
        keys = serving.keys().count(),
        connections = metrics.connections.get(),
        images_in_flight = metrics.images_in_flight.get(),
        queue_depth = metrics.queue_depth.get(),
        budgets = budgets.join(", "),
        resident_bytes = process.resident,
        descriptors = process.descriptors,
        threads = process.threads,
        cpu_seconds = process.cpu,
        log_lines_dropped = logs::dropped_lines(),
        spans_dropped = spans.dropped,
        spans_failed = spans.failed,
        "state of the server"
    );
}

/// `bodies 12/536870912`.
fn describe(budget: &Budget) -> String {
    match budget.limit {
        Some(limit) => format!("{} {}/{limit}", budget.name, budget.used),
        None => format!("{} {}", budget.name, budget.used),
    }
}

fn log_version(model: &ModelStatus, version: &VersionStatus) {
    let instance = version.instance.as_deref();
    let counts = instance.map(|instance| instance.statistics().counts());
    let counts = counts.unwrap_or_default();
    tracing::info!(
        model = model.name,
        version = version.version,
        is_default = model.is_default,
        state = version.state.name(),
        reason = version.reason.as_deref().unwrap_or_default(),
        queued = instance.map_or(0, |instance| instance.queued()),
        memory = instance.map_or(0, |instance| instance.memory()),
        succeeded = counts.succeeded.count,
        failed = counts.failed.count,
        images = counts.images,
        batches = counts.batches,
        "state of a model"
    );
}
