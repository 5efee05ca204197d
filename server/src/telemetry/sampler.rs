//! Which traces are exported.

use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// The sampler of the settings. The span of a batch, which has links and no parent, is
/// sampled if one of its images is.
#[derive(Clone, Debug)]
pub(super) struct Linked(pub(super) Sampler);

impl ShouldSample for Linked {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let has_parent = parent.is_some_and(|context| context.span().span_context().is_valid());
        if has_parent || links.is_empty() {
            let sampler = &self.0;
            return sampler.should_sample(parent, trace, name, kind, attributes, links);
        }
        let is_sampled = links.iter().any(|link| link.span_context.is_sampled());
        SamplingResult {
            decision: match is_sampled {
                true => SamplingDecision::RecordAndSample,
                false => SamplingDecision::Drop,
            },
            attributes: Vec::new(),
            trace_state: TraceState::default(),
        }
    }
}
