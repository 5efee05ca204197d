//! Why an image could not be fetched. The texts contain nothing of a response but its
//! status. They are the same for an address that is not allowed and for one that does
//! not respond, so that a client cannot explore the network of the server.

use std::time::Duration;

use super::rules::Refusal;
use crate::core::error::Error;

/// Why an image could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL is not allowed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server redirects to a URL that is not allowed.
    #[error("the URL redirects to one that is not allowed; use the final one, or send the image")]
    RedirectRefused,
    /// There are too many redirects.
    #[error("the URL redirects more than {0} times; use the final one, or send the image")]
    Redirects(usize),
    /// There is no response: the host has no address, none that may be connected to,
    /// nothing listens there, or it does not speak TLS or HTTP as it should.
    #[error(
        "no image can be fetched from the host of the URL; check the URL and the certificate of \
         the host, or send the image"
    )]
    Unreachable,
    /// It took too long.
    #[error(
        "the image was not fetched within {} s; try again, or send the image",
        .0.as_secs_f64()
    )]
    Timeout(Duration),
    /// The response has another status than 200.
    #[error("the host of the URL answered with status {0}, not 200; check the URL")]
    Status(u16),
    /// The response is no image.
    #[error(
        "the host of the URL answered with a content type that is not an image's; use the URL of \
         the image itself"
    )]
    ContentType,
    /// The response is compressed, although that was not asked for.
    #[error("the host of the URL answered with a content encoding; send the image")]
    ContentEncoding,
    /// The image is too large.
    #[error("the image is larger than the limit of {0} bytes; use a smaller one")]
    TooLarge(usize),
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] Error),
}
