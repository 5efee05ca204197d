//! The HTML pages and the OpenAPI document. They are part of the binary and load
//! nothing from other servers.

use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;

/// The pages have inline styles and nothing else: no scripts, no images.
const HTML: [(HeaderName, &str); 2] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

pub(super) async fn welcome() -> impl IntoResponse {
    (HTML, include_str!("pages/welcome.html"))
}

pub(super) async fn docs() -> impl IntoResponse {
    (HTML, include_str!("pages/docs.html"))
}

pub(super) async fn openapi() -> impl IntoResponse {
    let yaml = [(CONTENT_TYPE, "application/yaml")];
    (yaml, include_str!("../../../openapi.yaml"))
}
