//! Why a request or an image has no result. Every error belongs to a class
//! that says whose error it is; its text says what to do. Transports render
//! both in the form of their protocol.

use std::sync::Arc;
use std::time::Duration;

use model::NoClassMaps;
use preprocess::ImageError;

use super::base64::Base64Error;

/// Whose error it is, and whether a retry can help. The classes correspond to
/// the canonical status codes of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The client's: the request has to be changed.
    InvalidArgument,
    /// The client's: there is no such model or version.
    NotFound,
    /// The server is at one of its limits; a retry can succeed later.
    ResourceExhausted,
    /// The server's: not now, or not by this instance; retry elsewhere or later.
    Unavailable,
    /// The time of the request is over; a retry can succeed later.
    DeadlineExceeded,
    /// The server's: a retry may or may not help; the log has the cause.
    Internal,
}

/// Why a request or an image has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot be decoded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image was sent as base64 and is not valid base64.
    #[error(transparent)]
    Base64(#[from] Base64Error),
    /// Numbers that are not an image of the size that is needed.
    #[error("the image has {found} values where {expected} are needed; send that many")]
    InputSize {
        /// Number of values sent.
        found: usize,
        /// What is needed.
        expected: String,
    },
    /// Numbers that no network can use.
    #[error(
        "the values of the image cannot be used: {0}; send finite values in the range that the model expects"
    )]
    InputValues(&'static str),
    /// No model has this name.
    #[error("there is no model `{name}`; GET /models lists the models of this server")]
    UnknownModel {
        /// As requested.
        name: String,
    },
    /// Another model has this name.
    #[error("there is a model `{name}` already; remove it first, or use another name")]
    ModelExists {
        /// The name.
        name: String,
    },
    /// The model has no such version.
    #[error("model `{name}` has no version {version}; the versions served are: {available}")]
    UnknownVersion {
        /// The model.
        name: String,
        /// As requested.
        version: String,
        /// The versions that exist, separated by commas.
        available: String,
    },
    /// The model has no class or category with this name.
    #[error("{}", unknown_label(label, similar))]
    UnknownLabel {
        /// As requested; the start of it, if it is long.
        label: String,
        /// The most similar names, quoted and separated by commas; may be empty.
        similar: String,
    },
    /// Several categories with different classes have this name.
    #[error("the label `{label}` is ambiguous: use one of the WordNet ids {meanings}")]
    AmbiguousLabel {
        /// As requested.
        label: String,
        /// The ids, separated by commas.
        meanings: String,
    },
    /// Too many images are in flight.
    #[error(
        "no capacity for {requested} more image(s): at most {limit} images are in flight; retry \
         later"
    )]
    TooManyInFlight {
        /// Images of this request.
        requested: usize,
        /// Images of all requests.
        limit: usize,
    },
    /// A key has sent too many requests.
    #[error("the key `{key}` may send {limit} requests a second; retry later")]
    KeyRate {
        /// The name of the key.
        key: String,
        /// Requests a second.
        limit: u32,
        /// Until the next one is accepted.
        wait: Duration,
    },
    /// A key has too many images in flight.
    #[error(
        "no capacity for {requested} more image(s) of the key `{key}`, which may have {limit} in \
         flight; retry later"
    )]
    KeyInFlight {
        /// The name of the key.
        key: String,
        /// Images of this request.
        requested: usize,
        /// Images of all requests with the key.
        limit: usize,
    },
    /// The bodies of all requests hold too many bytes.
    #[error("request bodies hold {limit} bytes, which is the limit; retry later")]
    BodyMemory {
        /// Bytes of all bodies together.
        limit: usize,
    },
    /// The request has too many images.
    #[error("the request has more than {most} images; split it into several requests")]
    TooManyImages {
        /// The largest number.
        most: usize,
    },
    /// The time of the request is over.
    #[error("no result within {seconds} s; send the request again when the server is less busy")]
    DeadlineExceeded {
        /// How long it was.
        seconds: f64,
    },
    /// The queue of the device is full.
    #[error("the queue of the device is full; retry later")]
    QueueFull,
    /// Models that are loaded at start are not all loaded yet.
    #[error("still loading: {models}; retry later")]
    Starting {
        /// Their names, separated by commas.
        models: String,
    },
    /// The server shuts down.
    #[error("this server is shutting down; send the request to another one")]
    Draining,
    /// The model exists but cannot be used now.
    #[error("model `{model}` is unavailable: {reason}")]
    ModelUnavailable {
        /// Name, or name and version.
        model: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The device of the model failed for good.
    #[error("the device of model `{model}` has failed; send the request to another server")]
    DeviceLost {
        /// Name and version.
        model: String,
    },
    /// No decode and no batch has ended for longer than the request timeout.
    #[error("no work has ended for {seconds} s; send the request to another server")]
    Stalled {
        /// Since when.
        seconds: u64,
    },
    /// The device failed, whatever the images.
    #[error("the device failed: {0}")]
    Device(#[source] Arc<model::Error>),
    /// The forward pass failed, perhaps because of an image.
    #[error("the forward pass failed: {0}")]
    Forward(#[source] Arc<model::Error>),
    /// The network returned too few or too many logits, or some that are not
    /// finite.
    #[error(
        "the forward pass returned {found} logits where {expected} finite ones were expected: the number is wrong, or some are NaN or infinite"
    )]
    Logits {
        /// Number of values returned.
        found: usize,
        /// Images times classes.
        expected: usize,
    },
    /// The network has no class activation maps.
    #[error("this model cannot be explained: {0}; use another model")]
    ClassMaps(NoClassMaps),
    /// The network returned a feature map of another size.
    #[error("the forward pass returned a feature map of {found} values, which is the wrong size")]
    FeatureMap {
        /// Number of values returned.
        found: usize,
    },
    /// The network returned a wrong embedding.
    #[error(
        "the forward pass returned an embedding of {found} values where {expected} finite ones were expected"
    )]
    Embedding {
        /// Number of values returned.
        found: usize,
        /// The size of the network's embeddings.
        expected: usize,
    },
    /// An image could not be written as PNG.
    #[error("a PNG cannot be written: {0}")]
    Png(String),
    /// Code panicked; the log has the message.
    #[error("{0} panicked; the log has the message")]
    Panicked(&'static str),
    /// The worker thread of the model has ended.
    #[error("the worker thread of the model has ended; the log has the reason")]
    Stopped,
}

impl Error {
    /// [`Error::UnknownVersion`]; `available` are the versions that exist.
    #[must_use]
    pub fn unknown_version(name: &str, version: u64, available: impl Iterator<Item = u64>) -> Self {
        let available: Vec<String> = available.map(|v| v.to_string()).collect();
        Self::UnknownVersion {
            name: name.to_owned(),
            version: version.to_string(),
            available: available.join(", "),
        }
    }

    /// Whose error it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Image(_)
            | Self::Base64(_)
            | Self::InputSize { .. }
            | Self::InputValues(_)
            | Self::TooManyImages { .. }
            | Self::ClassMaps(_)
            | Self::ModelExists { .. }
            | Self::UnknownLabel { .. }
            | Self::AmbiguousLabel { .. } => ErrorClass::InvalidArgument,
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } => ErrorClass::NotFound,
            Self::TooManyInFlight { .. }
            | Self::KeyRate { .. }
            | Self::KeyInFlight { .. }
            | Self::BodyMemory { .. }
            | Self::QueueFull => ErrorClass::ResourceExhausted,
            Self::DeadlineExceeded { .. } => ErrorClass::DeadlineExceeded,
            Self::Starting { .. }
            | Self::Draining
            | Self::ModelUnavailable { .. }
            | Self::DeviceLost { .. }
            | Self::Stalled { .. } => ErrorClass::Unavailable,
            Self::Device(_)
            | Self::Forward(_)
            | Self::Logits { .. }
            | Self::FeatureMap { .. }
            | Self::Embedding { .. }
            | Self::Png(_)
            | Self::Panicked(_)
            | Self::Stopped => ErrorClass::Internal,
        }
    }

    /// How long a client should wait before a retry, where a retry can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = match self {
            // whole seconds, as in the header `Retry-After`
            Self::KeyRate { wait, .. } => wait.as_secs_f64().ceil().max(1.0) as u64,
            Self::Draining | Self::DeviceLost { .. } | Self::Stalled { .. } => 5,
            _ => match self.class() {
                ErrorClass::ResourceExhausted | ErrorClass::Unavailable => 1,
                _ => return None,
            },
        };
        Some(Duration::from_secs(seconds))
    }
}

fn unknown_label(label: &str, similar: &str) -> String {
    let hint = match similar {
        "" => "use the name or WordNet id of one of them".to_owned(),
        similar => format!("similar names are {similar}"),
    };
    format!("the model has no class or category `{label}`; {hint}")
}

impl From<model::Error> for Error {
    fn from(error: model::Error) -> Self {
        if let model::Error::ClassMaps(reason) = error {
            return Self::ClassMaps(reason);
        }
        let device = error.is_the_devices();
        let error = Arc::new(error);
        if device {
            Self::Device(error)
        } else {
            Self::Forward(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_a_retry_can_cure_have_a_retry_time() {
        let unknown = Error::UnknownModel { name: "cat".into() };
        assert_eq!(unknown.retry_after(), None);
        assert_eq!(Error::Panicked("decoding").retry_after(), None);
        assert_eq!(Error::QueueFull.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(Error::Draining.retry_after(), Some(Duration::from_secs(5)));
    }
}
