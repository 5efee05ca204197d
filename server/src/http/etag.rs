//! The entity tag of a classification: a hash of all that its results depend on. There
//! is a tag only if the images have been hashed for the cache.
//!
//! The tag is weak (RFC 9110, 8.8.1): two responses with the same tag have the same
//! results, but each has the id of its own request.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, ProblemType};
use crate::core::batch::ImageOutput;
use crate::core::cache::digest::of_parts;
use crate::core::instance::Instance;

/// Bytes of the hash that the tag shows.
const SHOWN: usize = 16;

/// The tag of the response to a request. `None` if an image has no result, or if the
/// images were not hashed.
pub(super) fn tag(
    instance: &Instance,
    outcomes: &[Result<ImageOutput, Problem>],
    parameters: &str,
) -> Option<HeaderValue> {
    let images = outcomes.iter().map(|outcome| {
        let source = outcome.as_ref().ok()?.source.as_ref()?;
        Some(&source.image[..])
    });
    let images = images.collect::<Option<Vec<_>>>()?;
    let request = [&instance.identity()[..], parameters.as_bytes()];
    let digest = of_parts(request.into_iter().chain(images));
    let hex: String = digest[..SHOWN].iter().map(|b| format!("{b:02x}")).collect();
    HeaderValue::try_from(format!("W/\"{hex}\"")).ok()
}

/// Whether `If-None-Match` has this tag. `*` does not match: it refers to a stored
/// representation, which a classification does not have.
pub(super) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().map(opaque).unwrap_or_default();
    given(headers).any(|given| given == tag)
}

/// The tags of `If-None-Match`, without the prefix of weak ones.
pub(super) fn given(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(header::IF_NONE_MATCH).into_iter();
    let lists = lists.filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(opaque)
}

fn opaque(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/")
}

/// The response to a client that has the results already. A request by `POST` with
/// `If-None-Match` gets 412 where one by `GET` would get 304 (RFC 9110, 13.1.2).
pub(super) fn unchanged() -> Response {
    Problem::new(
        ProblemType::AnswerUnchanged,
        "the answer is that of the entity tag in If-None-Match; to get it again, send the request \
         without this header",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_without_their_weakness() {
        let tag = HeaderValue::from_static("W/\"ab\"");
        let known = |lists: &[&'static str]| {
            let headers = lists
                .iter()
                .map(|list| (header::IF_NONE_MATCH, HeaderValue::from_static(list)));
            is_known(&headers.collect(), &tag)
        };
        for lists in [
            &["W/\"ab\""][..],
            &["\"ab\""],
            &["\"x\", W/\"ab\""],
            &["\"x\"", "\"ab\""],
        ] {
            assert!(known(lists), "{lists:?}");
        }
        for lists in [&[][..], &["*"], &["ab"], &["\"abc\""], &[""], &["w/\"ab\""]] {
            assert!(!known(lists), "{lists:?}");
        }
    }
}
