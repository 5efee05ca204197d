//! Who may send a request: API keys, in the header `Authorization: Bearer KEY` or
//! `X-API-Key`. Health checks and the HTML pages need none.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::observe::{is_probe, refuse};
use super::priority;
use super::problem::{Problem, ProblemType};
use crate::core::keys::{Caller, Scope};
use crate::core::serving::Serving;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What the layer of a router knows.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) serving: Arc<Serving>,
    /// What the routes of the listener need.
    pub(super) scope: Scope,
}

/// The name of the caller's key: an extension of the response, for the log.
#[derive(Clone)]
pub(super) struct KeyName(pub(super) String);

/// Finds the caller of a request, which becomes an extension of it, and rejects
/// those that may not send it.
pub(super) async fn authorize(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    match access.caller(&request) {
        Ok(caller) => {
            let name = KeyName(caller.name().to_owned());
            let class = priority::class(request.headers());
            request.extensions_mut().insert(caller.lowered_to(class));
            let mut response = next.run(request).await;
            response.extensions_mut().insert(name);
            response
        }
        Err((problem, name)) => {
            let mut response = refuse(request, problem);
            response.extensions_mut().insert(KeyName(name));
            response
        }
    }
}

impl Access {
    /// The caller, or the problem and the name of the key.
    fn caller(&self, request: &Request) -> Result<Caller, (Problem, String)> {
        let keys = self.serving.keys();
        if !keys.are_needed() {
            return Ok(Caller::default());
        }
        let Some(scope) = needed(request.method(), request.uri().path(), self.scope) else {
            return Ok(Caller::default());
        };
        let given = given(request.headers()).ok_or_else(|| {
            let detail = "this server needs an API key; send it in the header `Authorization: \
                 Bearer KEY` or `X-API-Key: KEY`";
            (unauthorized(detail), String::new())
        })?;
        let caller = keys.find(given).ok_or_else(|| {
            let detail = "the API key is not valid; use one that the operator of this server has \
                 given you";
            (unauthorized(detail), String::new())
        })?;
        let named = |problem| (problem, caller.name().to_owned());
        check_scope(&caller, scope).map_err(named)?;
        caller
            .request()
            .map_err(|error| named(Problem::from(&error)))?;
        Ok(caller)
    }
}

pub(super) fn check_scope(caller: &Caller, scope: Scope) -> Result<(), Problem> {
    match caller.may(scope) {
        true => Ok(()),
        false => {
            let (key, scope) = (caller.name(), name_of(scope));
            let detail =
                format!("the key `{key}` does not have the scope `{scope}`; use another key");
            Err(Problem::new(ProblemType::Forbidden, detail))
        }
    }
}

pub(super) fn unauthorized(detail: &str) -> Problem {
    Problem::new(ProblemType::Unauthorized, detail)
}

fn name_of(scope: Scope) -> &'static str {
    let named = Scope::ALL.into_iter().find(|(_, other)| *other == scope);
    named.map_or("", |(name, _)| name)
}

/// The scope that a request needs on a listener whose routes need `scope`; `None`
/// where no key is needed.
fn needed(method: &Method, path: &str, scope: Scope) -> Option<Scope> {
    let is_page = || {
        ["/", "/docs", "/status", "/openapi.yaml", "/openapi.json"].contains(&path)
            || path.starts_with("/assets/")
    };
    let reads = [Method::GET, Method::HEAD].contains(method);
    match path {
        "/metrics" => Some(Scope::Metrics),
        _ if is_probe(path) || *method == Method::OPTIONS || (reads && is_page()) => None,
        _ => Some(scope),
    }
}

/// The key of a request.
fn given(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(SCHEME.len())?;
        scheme
            .eq_ignore_ascii_case(SCHEME)
            .then(|| key.trim_ascii())
    });
    bearer.or_else(|| headers.get(API_KEY).map(|key| key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_follows_from_the_path() {
        let of = |method, path| needed(&method, path, Scope::Infer);
        assert_eq!(of(Method::POST, "/classify"), Some(Scope::Infer));
        assert_eq!(of(Method::POST, "/"), Some(Scope::Infer));
        assert_eq!(of(Method::GET, "/"), None);
        assert_eq!(of(Method::GET, "/assets/page.js"), None);
        assert_eq!(of(Method::GET, "/health/ready"), None);
        assert_eq!(of(Method::GET, "/metrics"), Some(Scope::Metrics));
        assert_eq!(of(Method::GET, "/models"), Some(Scope::Infer));
        let load = needed(&Method::POST, "/models/a/load", Scope::Admin);
        assert_eq!(load, Some(Scope::Admin));
    }

    #[test]
    fn keys_are_found_in_two_headers() {
        let find = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                header::HeaderValue::from_static(value),
            )]);
            given(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(find("authorization", "Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(find("authorization", "bearer  abc"), Some(b"abc".to_vec()));
        assert_eq!(find("x-api-key", "abc"), Some(b"abc".to_vec()));
        assert_eq!(find("authorization", "Basic abc"), None);
        assert_eq!(find("authorization", "Bear"), None);
    }
}
