//! Exports spans by OTLP to a collector. Requests never wait for it: spans go into a
//! bounded queue, one thread sends them, and those that do not fit are counted.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;

use crate::config::telemetry::{OtlpProtocol, TelemetryConfig};
use crate::logs::Spans;

mod export;
mod sampler;

pub use export::counts;
use export::{Counted, Waiting};
use sampler::Linked;

/// The name of the service, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has one.
const SERVICE: &str = "resnet";

/// How long a shutdown waits for the spans that are not exported yet.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A variable of OpenTelemetry that the exporter reads.
    #[error("traces cannot be exported: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The operating system rejected a thread.
    #[error("the thread that exports traces cannot start: {0}")]
    Thread(#[from] std::io::Error),
}

/// The export of traces, while it runs.
pub struct Telemetry {
    provider: SdkTracerProvider,
    runtime: Runtime,
}

impl Telemetry {
    /// Starts the threads that export. The collector need not be reachable yet.
    ///
    /// # Errors
    /// See [`TelemetryError`].
    pub fn start(config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        // Its own thread: encoding many spans must not delay sockets.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp")
            .enable_all()
            .build()?;
        let exporter = {
            let _context = runtime.enter();
            exporter(config)?
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(config.queue)
            .build();
        let exporter = Counted::new(exporter, runtime.handle().clone());
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_sampler(Linked(config.sampler.clone()))
            .with_span_processor(Waiting::new(processor, config.queue))
            .build();
        Ok(Self { provider, runtime })
    }

    /// The layer that exports the spans of the server, and not those of its libraries.
    #[must_use]
    pub fn layer(&self) -> Spans {
        let is_ours = filter_fn(|metadata| {
            metadata.is_span() && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SERVICE))
            // The parents are tracing's spans; attaching contexts would cost time.
            .with_context_activation(false)
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(is_ours.with_max_level_hint(LevelFilter::INFO))
            .boxed()
    }

    /// Exports the spans that wait, but does not wait long for the collector.
    pub fn finish(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(%error, "the last spans are not exported");
        }
        self.runtime.shutdown_background();
    }
}

fn exporter(config: &TelemetryConfig) -> Result<SpanExporter, ExporterBuildError> {
    let builder = SpanExporter::builder();
    match config.protocol {
        OtlpProtocol::Grpc => builder.with_tonic().with_endpoint(&config.endpoint).build(),
        OtlpProtocol::Http => builder.with_http().with_endpoint(&config.endpoint).build(),
    }
}

/// The attributes of this process. The variables of OpenTelemetry override them.
fn resource() -> Resource {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    let instance = uuid::Uuid::new_v4().to_string();
    let builder = Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
            KeyValue::new("process.pid", i64::from(std::process::id())),
            KeyValue::new("host.name", host),
        ])
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => builder.with_service_name(name),
        _ => builder,
    }
    .build()
}
