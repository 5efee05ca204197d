//! The spans of an image: its decoding, its wait for the device, and the batch that it
//! joins. docs/observability.md lists their names and attributes. Where no traces are
//! exported, each function is one check of a flag.

use tracing::field::Empty;
use tracing::{Span, info_span};

use super::error::{Error, ErrorClass};
use super::labels::ModelLabels;

/// The spans of an image that waits for the device. They end when they are dropped.
pub struct ImageSpans {
    image: Span,
    queue: Span,
}

impl ImageSpans {
    /// The span of this image, and one of its wait, which begins now.
    pub(super) fn queued(image: Span) -> Option<Box<Self>> {
        if image.is_disabled() {
            return None;
        }
        let queue = info_span!(parent: &image, "queue");
        Some(Box::new(Self { image, queue }))
    }
}

/// The span of an image, a child of its request's: from its admission to its result.
pub(super) fn image(index: usize) -> Span {
    info_span!(
        "image",
        // The layer of OpenTelemetry exports unsigned numbers as text.
        "resnet.image.index" = index as i64,
        "resnet.batch.size" = Empty
    )
}

/// The span of an image's decoding.
pub(super) fn decode(image: &Span) -> Span {
    info_span!(
        parent: image,
        "decode",
        "resnet.image.format" = Empty,
        "error.type" = Empty,
        "otel.status_code" = Empty
    )
}

/// Ends the span of a decoding.
pub(super) fn decoded(span: Span, format: &'static str, error: Option<&Error>) {
    span.record("resnet.image.format", format);
    failed(&span, error);
}

/// The span of a batch. It belongs to no request: it is the root of a trace of its own,
/// with a link to each image, and each image has a link to it. Ends the `queue` spans of
/// the images. `spans` returns the spans of an image.
pub(super) fn batch<T>(
    model: &ModelLabels,
    images: &mut [T],
    spans: impl Fn(&mut T) -> Option<&mut ImageSpans>,
) -> Span {
    let size = images.len() as i64;
    let batch = info_span!(
        parent: None,
        "batch",
        "resnet.model.name" = model.model,
        "resnet.model.version" = model.version as i64,
        "resnet.batch.size" = size,
        "error.type" = Empty,
        "otel.status_code" = Empty
    );
    if batch.is_disabled() {
        return batch;
    }
    // All links are there before the first use of the span, which decides whether it is
    // sampled.
    for image in images.iter_mut().filter_map(&spans) {
        batch.follows_from(&image.image);
    }
    for image in images.iter_mut().filter_map(&spans) {
        image.queue = Span::none();
        image.image.record("resnet.batch.size", size);
        image.image.follows_from(&batch);
    }
    batch
}

/// The span of a batch's forward pass.
pub(super) fn forward(batch: &Span) -> Span {
    info_span!(parent: batch, "forward")
}

/// Ends the span of a batch.
pub(super) fn ran(span: Span, error: Option<&Error>) {
    failed(&span, error);
}

fn failed(span: &Span, error: Option<&Error>) {
    let Some(error) = error else { return };
    span.record("error.type", tracing::field::debug(error.class()));
    // As in the span of the request, an error of the client is not one of the server.
    if error.class() == ErrorClass::Internal {
        span.record("otel.status_code", "ERROR");
    }
}
