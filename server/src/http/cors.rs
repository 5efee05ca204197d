//! Cross-origin requests: which web pages may send requests from a browser.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use tower::ServiceExt;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser keeps the answer of a preflight request.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Headers of responses that scripts may read.
const EXPOSED: [HeaderName; 8] = [
    HeaderName::from_static("inference-header-content-length"),
    HeaderName::from_static("x-error-message"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("x-cache"),
    header::AGE,
    header::RETRY_AFTER,
    header::ETAG,
];

/// Where web pages may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Everywhere.
    Any,
    /// These, as `https://example.org`.
    Only(Vec<HeaderValue>),
}

impl Origins {
    /// `*`, or origins separated by commas.
    ///
    /// # Errors
    /// A part that is not an origin.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let origins = text.split(',').map(|part| origin(part.trim()));
        origins.collect::<Result<_, _>>().map(Self::Only)
    }
}

/// An origin has a scheme and a host, and no path.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong =
        || format!("`{text}` is not an origin; use https://HOST or https://HOST:PORT, or *");
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_host = |host: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
        !host.is_empty() && host.chars().all(plain)
    };
    if !host.is_some_and(is_host) {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}

/// The router, which lets browsers send the requests of these pages. Without `*`,
/// others get no header, so that the browser withholds the response.
pub fn allow(router: Router, origins: &Origins) -> Router {
    let origins = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Only(list) => AllowOrigin::list(list.iter().cloned()),
    };
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT])
        // as the page asks for: keys, ids, content types
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE);
    // The layer answers every OPTIONS as a preflight request. Others are the routes'.
    let plain = router.clone();
    let unless_preflight = move |request: Request, next: Next| {
        let plain = plain.clone();
        async move {
            let is_preflight = request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
            match *request.method() == Method::OPTIONS && !is_preflight {
                true => plain.oneshot(request).await.into_response(),
                false => next.run(request).await,
            }
        }
    };
    router.layer(cors).layer(from_fn(unless_preflight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_a_scheme_and_no_path() {
        assert_eq!(Origins::parse("*"), Ok(Origins::Any));
        let Ok(Origins::Only(two)) = Origins::parse("https://a.org, http://localhost:3000") else {
            panic!("two origins");
        };
        assert_eq!(two, ["https://a.org", "http://localhost:3000"]);
        for wrong in [
            "",
            "a.org",
            "https://",
            "https://a.org/",
            "https://a.org,",
            "null",
        ] {
            assert!(Origins::parse(wrong).is_err(), "{wrong}");
        }
    }
}
