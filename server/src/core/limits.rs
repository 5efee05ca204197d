//! The limits that the serving core enforces.

use std::time::Duration;

/// The most images that a request may have, however the server is configured.
pub const MAX_IMAGES: usize = 1024;

/// Bytes of the longest id that a client may give a request: a response repeats it,
/// in some APIs for each image.
pub const LONGEST_ID: usize = 256;

/// What requests and images may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Images in flight: admitted and without a result yet.
    pub max_in_flight: usize,
    /// Images of one forward pass, where a model sets no other limit.
    pub max_batch: usize,
    /// Images of one request.
    pub max_images: usize,
    /// Bytes of one request's body.
    pub max_body: usize,
    /// Bytes of all request bodies held at the same time.
    pub body_memory: usize,
    /// What decoding one image may take.
    pub decode: preprocess::Limits,
    /// From the arrival of a request's body to its response.
    pub request_timeout: Duration,
    /// Longest pause while a body arrives.
    pub body_timeout: Duration,
    /// Longest time without a request on a stream of requests.
    pub stream_timeout: Duration,
}
