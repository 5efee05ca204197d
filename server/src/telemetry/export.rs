//! Exports spans and counts them: those that wait in the queue, those that did not fit
//! into it, and those that were exported or failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Handle;

use crate::core::metrics::SpanCounts;

/// Spans that were queued and have not been given to the exporter.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static EXPORTED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The spans so far, by result.
#[must_use]
pub fn counts() -> SpanCounts {
    SpanCounts {
        exported: EXPORTED.load(Ordering::Relaxed),
        failed: FAILED.load(Ordering::Relaxed),
        dropped: DROPPED.load(Ordering::Relaxed),
    }
}

/// A queue in front of the SDK's, whose drops cannot be counted. Both have the same
/// size, so that the SDK's is never full.
#[derive(Debug)]
pub(super) struct Waiting {
    inner: BatchSpanProcessor,
    most: usize,
}

impl Waiting {
    pub(super) fn new(inner: BatchSpanProcessor, most: usize) -> Self {
        Self { inner, most }
    }
}

impl SpanProcessor for Waiting {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if WAITING.fetch_add(1, Ordering::Relaxed) >= self.most {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The exporter of OTLP. It runs on its own runtime, which its connections need: the
/// SDK calls it from a thread without one.
#[derive(Debug)]
pub(super) struct Counted {
    inner: Arc<OtlpExporter>,
    runtime: Handle,
    /// Whether the last export failed. Only changes are logged.
    is_failing: AtomicBool,
}

impl Counted {
    pub(super) fn new(inner: OtlpExporter, runtime: Handle) -> Self {
        Self {
            inner: Arc::new(inner),
            runtime,
            is_failing: AtomicBool::new(false),
        }
    }

    fn count(&self, spans: u64, result: &OTelSdkResult) {
        match result {
            Ok(()) => {
                EXPORTED.fetch_add(spans, Ordering::Relaxed);
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                FAILED.fetch_add(spans, Ordering::Relaxed);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %error,
                        "spans cannot be exported; resnet_spans_total counts those that are lost"
                    );
                }
            }
        }
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        WAITING.fetch_sub(spans, Ordering::Relaxed);
        let inner = Arc::clone(&self.inner);
        let export = self.runtime.spawn(async move { inner.export(batch).await });
        let result = export
            .await
            .unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        self.count(spans as u64, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // No export has begun: there is no other reference.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}
