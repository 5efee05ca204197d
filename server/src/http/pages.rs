//! The HTML pages, what they load, and the OpenAPI document. All of it is part of
//! the binary; the pages load nothing from other servers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::LazyLock;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::etag;
use super::problem::{Problem, ProblemType};
use super::target::PathText;
use super::unread::Accounted;

/// Scripts and styles come from files of this server only. Photos that a visitor
/// chooses are shown from memory (`blob:`).
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! assets {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../../assets/", $name)).as_slice())),*]
    };
}

macro_rules! photos {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../../../photos/", $name)).as_slice())),*]
    };
}

/// The files of `server/assets`.
const FILES: [(&str, &[u8]); 28] = assets!(
    "index.html" "docs.html" "status.html" "icon.svg"
    "base.css" "page.css" "photo.css" "docs.css" "status.css"
    "dom.js" "key.js" "api.js" "queue.js" "photos.js" "intake.js" "grid.js" "overlay.js" "heat.js"
    "detail.js" "models.js" "snippets.js" "export.js" "page.js"
    "schema.js" "try.js" "docs.js" "metrics.js" "status.js"
);

/// Photos to try.
const PHOTOS: [(&str, &[u8]); 3] = photos!("cat.jpg" "coffee.jpg" "rocket.jpg");

static ASSETS: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    let files = FILES.iter().chain(&PHOTOS);
    files
        .map(|&(name, bytes)| (name, Asset::new(name, bytes)))
        .collect()
});

/// The contract as JSON, with its keys in the order of the document.
static CONTRACT: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
    let contract: serde_norway::Value = serde_norway::from_str(OPENAPI).ok()?;
    serde_json::to_vec(&contract).ok()
});

const OPENAPI: &str = include_str!("../../../openapi.yaml");

struct Asset {
    content_type: &'static str,
    etag: String,
    bytes: &'static [u8],
}

impl Asset {
    fn new(name: &str, bytes: &'static [u8]) -> Self {
        let content_type = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "image/jpeg",
        };
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let etag = format!("\"{:016x}\"", hasher.finish());
        Self {
            content_type,
            etag,
            bytes,
        }
    }

    /// The file, or 304 if the client has it. A client asks each time
    /// (`no-cache`), so that it never mixes the files of two versions.
    fn response(&self, request: &HeaderMap) -> Response {
        let headers = [
            (CONTENT_TYPE, self.content_type),
            (ETAG, &self.etag),
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        if self.is_known(request) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, of_program(self.bytes)).into_response()
    }

    /// Whether `If-None-Match` has the tag of this file.
    fn is_known(&self, request: &HeaderMap) -> bool {
        etag::given(request).any(|tag| tag == "*" || tag == self.etag)
    }
}

/// A body that is part of the program.
fn of_program(bytes: &'static [u8]) -> Response {
    let mut response = bytes.into_response();
    response.extensions_mut().insert(Accounted);
    response
}

/// A file of the pages.
pub(super) async fn asset(
    PathText(name): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // The pages themselves have their own routes.
    let found = ASSETS.get(name.as_str());
    let found = found.filter(|_| !name.ends_with(".html"));
    let found = found.ok_or_else(|| {
        let detail = format!(
            "the pages have no file `{}`; /docs lists all routes",
            name.escape_default()
        );
        Problem::new(ProblemType::NotFound, detail)
    })?;
    Ok(found.response(&headers))
}

pub(super) async fn welcome(headers: HeaderMap) -> Result<Response, Problem> {
    page("index.html", &headers)
}

pub(super) async fn docs(headers: HeaderMap) -> Result<Response, Problem> {
    page("docs.html", &headers)
}

pub(super) async fn status(headers: HeaderMap) -> Result<Response, Problem> {
    page("status.html", &headers)
}

fn page(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let page = ASSETS.get(name).ok_or_else(Problem::internal)?;
    Ok(page.response(headers))
}

pub(super) async fn openapi_yaml() -> impl IntoResponse {
    let content_type = [(CONTENT_TYPE, "application/yaml")];
    (content_type, of_program(OPENAPI.as_bytes()))
}

pub(super) async fn openapi_json() -> Result<impl IntoResponse, Problem> {
    let json = CONTRACT.as_deref().ok_or_else(Problem::internal)?;
    Ok(([(CONTENT_TYPE, "application/json")], of_program(json)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_folder_is_served_and_says_what_it_is_for() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        let files = std::fs::read_dir(folder).unwrap();
        let mut count = 0;
        for name in files.map(|file| file.unwrap().file_name()) {
            let name = name.to_str().unwrap();
            let asset = ASSETS
                .get(name)
                .unwrap_or_else(|| panic!("{name} is not served"));
            let start = String::from_utf8_lossy(&asset.bytes[..asset.bytes.len().min(80)]);
            let comment = ["// ", "/* ", "<!-- "]
                .iter()
                .any(|mark| start.contains(mark));
            assert!(comment || name.ends_with(".svg"), "{name} has no comment");
            count += 1;
        }
        assert_eq!(count, FILES.len());
    }
}
