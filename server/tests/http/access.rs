//! API keys: who may send what, in which form refusals come, and how much a key may
//! use.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use resnet_server::core::keys::{Key, KeyLimits, Scope};
use resnet_server::http::cors::{self, Origins};
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;

use crate::support::client::{Response, get, grey, post, send_admin, send_to};
use crate::support::gate::Gate;
use crate::support::keys;
use crate::support::server::{Server, limits, server, server_with, wait_until};

fn key(name: &str, scopes: &[Scope], limits: KeyLimits) -> Key {
    keys::key(name, &format!("secret of {name}"), scopes, limits)
}

/// A server with a key for each scope.
async fn guarded() -> Server {
    let server = server().await;
    let keys = [
        ("shop", Scope::Infer),
        ("operator", Scope::Admin),
        ("prometheus", Scope::Metrics),
    ];
    let keys = keys.map(|(name, scope)| key(name, &[scope], KeyLimits::default()));
    server.serving.keys().replace(keys.into());
    server
}

fn with_key(mut request: Request<Body>, name: &str) -> Request<Body> {
    let value = format!("Bearer secret of {name}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

async fn classify_as(server: &Server, name: &str) -> Response {
    server
        .send(with_key(post("/classify", grey(7)), name))
        .await
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_allow() {
    let server = guarded().await;
    assert_eq!(classify_as(&server, "shop").await.class(), 7);
    let mut other_header = post("/classify", grey(7));
    let value = "secret of shop".parse().unwrap();
    other_header.headers_mut().insert("x-api-key", value);
    assert_eq!(server.send(other_header).await.class(), 7);

    let forbidden = classify_as(&server, "prometheus").await;
    forbidden.assert_problem(403, "forbidden");
    assert!(forbidden.detail().contains("`infer`"));
    let metrics = server.send(with_key(get("/metrics"), "prometheus")).await;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .text
            .contains("resnet_key_requests_total{key=\"shop\",status=\"200\"} 2"),
        "{}",
        metrics.text
    );
    let timed = "resnet_key_request_seconds_count{key=\"shop\"}";
    assert!(metrics.text.contains(timed), "{}", metrics.text);
    server
        .send(with_key(get("/metrics"), "shop"))
        .await
        .assert_problem(403, "forbidden");
}

#[tokio::test]
async fn requests_without_a_valid_key_are_refused() {
    let server = guarded().await;
    let missing = server.post(grey(7)).await;
    missing.assert_problem(401, "unauthorized");
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    assert!(!missing.text.contains("secret"));
    classify_as(&server, "unknown")
        .await
        .assert_problem(401, "unauthorized");
    server
        .get("/metrics")
        .await
        .assert_problem(401, "unauthorized");
    // Without a key, unknown paths look like known ones.
    server
        .get("/no/such/route")
        .await
        .assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn health_and_pages_need_no_key() {
    let server = guarded().await;
    for path in [
        "/health/live",
        "/health/ready",
        "/v2/health/ready",
        "/ping",
        "/",
        "/docs",
        "/openapi.json",
    ] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_admin_listener_needs_the_admin_scope() {
    let server = guarded().await;
    let load = |name| with_key(post("/models/fake/unload", ""), name);
    let refused = send_admin(&server.serving, load("shop")).await;
    refused.assert_problem(403, "forbidden");
    assert_eq!(classify_as(&server, "shop").await.status, 200);
    let unloaded = send_admin(&server.serving, load("operator")).await;
    assert_eq!(unloaded.status, 204);
}

#[tokio::test]
async fn each_protocol_has_its_own_refusal() {
    let server = guarded().await;
    let oip = server.send(post("/v2/models/fake/infer", "{}")).await;
    assert_eq!(oip.status, 401);
    assert!(oip.json["error"].as_str().unwrap().contains("API key"));
    let torchserve = server.send(post("/predictions/fake", grey(7))).await;
    assert_eq!(torchserve.status, 400);
    assert_eq!(torchserve.json["type"], "InvalidKeyException");
    let grpc = Request::post("/inference.GRPCInferenceService/ModelInfer")
        .header("content-type", "application/grpc");
    let grpc = server.send(grpc.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (grpc.status.as_u16(), grpc.header("grpc-status")),
        (200, "16")
    );
}

#[tokio::test]
async fn a_key_has_its_own_rate() {
    let server = server().await;
    let limits = keys::rate(1);
    let keys = vec![
        key("shop", &[Scope::Infer], limits),
        key("other", &[Scope::Infer], KeyLimits::default()),
    ];
    server.serving.keys().replace(keys);
    assert_eq!(classify_as(&server, "shop").await.status, 200);
    let refused = classify_as(&server, "shop").await;
    refused.assert_problem(429, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(classify_as(&server, "other").await.status, 200);
    server.serving.keys().replace(Vec::new());
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("resnet_key_limited_total{key=\"shop\"} 1"));
    assert!(!metrics.contains("resnet_key_limited_total{key=\"other\"}"));
}

#[tokio::test]
async fn a_key_has_its_own_images_in_flight() {
    let gate = Arc::<Gate>::default();
    let pass = Arc::clone(&gate);
    let server = server_with(limits(), move |_| {
        pass.pass();
        Ok(())
    })
    .await;
    gate.close();
    let limits = KeyLimits {
        max_in_flight: Some(1),
        ..KeyLimits::default()
    };
    let keys = vec![
        key("shop", &[Scope::Infer], limits),
        key("other", &[Scope::Infer], KeyLimits::default()),
    ];
    server.serving.keys().replace(keys);
    let first = classify_as(&server, "shop");
    let second = async {
        wait_until("a forward pass", async || gate.waiting() == 1).await;
        let refused = classify_as(&server, "shop").await;
        gate.open();
        refused
    };
    let (first, refused) = tokio::join!(first, second);
    assert_eq!(first.status, 200);
    refused.assert_problem(429, "overloaded");
    assert!(refused.detail().contains("`shop`"));
}

#[tokio::test]
async fn pages_of_listed_origins_may_send_requests() {
    let server = guarded().await;
    let origins = Origins::parse("https://a.example").unwrap();
    let routes = routes::public(Arc::clone(&server.serving), &Protocols::default());
    let router = cors::allow(routes, &origins);
    let preflight = |origin: &str| {
        Request::options("/classify")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            )
            .body(Body::empty())
            .unwrap()
    };
    // A browser sends no key with it.
    let allowed = send_to(router.clone(), preflight("https://a.example")).await;
    assert_eq!(allowed.status, 200);
    let origin = allowed.header("access-control-allow-origin");
    assert_eq!(origin, "https://a.example");
    let headers = allowed.header("access-control-allow-headers");
    assert_eq!(headers, "authorization,content-type");
    let refused = send_to(router.clone(), preflight("https://b.example")).await;
    assert_eq!(refused.header("access-control-allow-origin"), "");

    // Not a preflight request: the route answers it.
    let plain = Request::options("/classify").body(Body::empty()).unwrap();
    let plain = send_to(router.clone(), plain).await;
    assert_eq!(plain.status, 405);

    let mut request = with_key(post("/classify", grey(7)), "shop");
    let origin = "https://a.example".parse().unwrap();
    request.headers_mut().insert("origin", origin);
    let response = send_to(router, request).await;
    assert_eq!(response.class(), 7);
    let origin = response.header("access-control-allow-origin");
    assert_eq!(origin, "https://a.example");
}

#[tokio::test]
async fn a_client_can_shorten_the_time_limit() {
    let gate = Arc::<Gate>::default();
    let pass = Arc::clone(&gate);
    let server = server_with(limits(), move |_| {
        pass.pass();
        Ok(())
    })
    .await;
    gate.close();
    let with_timeout = |timeout: &str| {
        let mut request = post("/classify", grey(7));
        let timeout = timeout.parse().unwrap();
        request.headers_mut().insert("x-request-timeout", timeout);
        request
    };
    let late = server.send(with_timeout("50ms")).await;
    late.assert_problem(504, "deadline-exceeded");
    gate.open();
    let wrong = server.send(with_timeout("soon")).await;
    wrong.assert_problem(400, "bad-parameter");
}
