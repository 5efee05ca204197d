//! What servers answer: images, and what is too large, too slow or no image.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use resnet_server::fetch::rules::PrivateHosts;
use serde_json::json;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::web::{Fetching, Reply, Web, http, image, rules};
use crate::support::client::{base64, class, grey};
use crate::support::server::{limits, server, server_with, wait_until};

const URL: &str = "http://a.example/cat.png";

#[tokio::test]
async fn without_the_option_a_url_is_refused_by_the_name_of_the_option() {
    let server = server().await;
    for body in [json!({"url": URL}), json!([grey_text(1), {"url": URL}])] {
        let response = server.post(body.to_string()).await;
        response.assert_problem(400, "url-refused");
        assert!(
            response.detail().contains("--image-urls"),
            "{}",
            response.text
        );
    }
}

fn grey_text(value: u8) -> String {
    base64(&grey(value))
}

#[tokio::test]
async fn urls_stand_beside_images_and_fail_alone() {
    let web = Web::start(|path| match path {
        "/3.png?size=small" => image(3),
        _ => http("404 Not Found", &[], b"secret"),
    })
    .await;
    let fetching = Fetching::new(server().await, &web, rules("http://a.example"));
    let images = json!({"images": [
        {"url": "http://a.example/3.png?size=small#part", "note": [1]},
        grey_text(5),
        {"url": "http://a.example/missing.png"},
        {"url": "http://b.example/"},
    ]});
    let response = fetching.send(images.to_string()).await;
    let items = response.json.as_array().unwrap();
    assert_eq!((class(&items[0]), class(&items[1])), (3, 5));
    assert_eq!(items[2]["type"], "/docs#url-not-fetched");
    assert!(items[2]["detail"].as_str().unwrap().contains("404"));
    assert_eq!(items[3]["type"], "/docs#url-refused");
    let heads = web.heads();
    let head = heads.iter().find(|head| head.contains("/3.png")).unwrap();
    assert!(
        head.starts_with("GET /3.png?size=small HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nhost: a.example\r\n"), "{head}");
    let single = json!({"image": {"url": "http://a.example/3.png?size=small"}});
    assert_eq!(fetching.send(single.to_string()).await.class(), 3);
    for bad in [
        json!({"url": 1}),
        json!([{"uri": URL}]),
        json!({"url": URL, "images": []}),
    ] {
        let response = fetching.send(bad.to_string()).await;
        response.assert_problem(400, "malformed-request");
    }
}

#[tokio::test]
async fn what_is_no_image_is_a_problem_that_does_not_repeat_it() {
    let secret = b"<html>secret</html>";
    let web = Web::start(|path| match path {
        "/status" => http("500 secret", &["content-type: image/png"], b"secret"),
        "/no-content" => http("204 secret", &[], b""),
        "/no-location" => http("302 Found", &["x: secret"], b"secret"),
        "/html" => http("200 OK", &["content-type: text/html; secret"], secret),
        "/as-image" => http("200 OK", &["content-type: image/png"], secret),
        "/json" => http("200 OK", &[], br#"{"secret": 1}"#),
        "/empty" => http("200 OK", &["content-type: image/png"], b""),
        "/gzip" => http("200 OK", &["content-encoding: gzip"], b"secret"),
        "/head" => http("200 OK", &[&format!("x: {}", "secret".repeat(9000))], b""),
        "/no-http" => Reply::Bytes(b"220 secret ESMTP\r\n".to_vec()),
        "/cut" => Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsecret".to_vec()),
        "/octets" => http(
            "200 OK",
            &["content-type: application/octet-stream"],
            &grey(9),
        ),
        _ => Reply::Bytes(Vec::new()),
    })
    .await;
    let fetching = Fetching::new(server().await, &web, rules("http://a.example"));
    for (path, status, name) in [
        ("status", 422, "url-not-fetched"),
        ("no-content", 422, "url-not-fetched"),
        ("no-location", 422, "url-not-fetched"),
        ("html", 422, "url-not-fetched"),
        ("as-image", 415, "unsupported-format"),
        ("json", 415, "unsupported-format"),
        ("empty", 400, "empty-image"),
        ("gzip", 422, "url-not-fetched"),
        ("head", 422, "url-not-fetched"),
        ("no-http", 422, "url-not-fetched"),
        ("cut", 422, "url-not-fetched"),
        ("nothing", 422, "url-not-fetched"),
    ] {
        let response = fetching.url(&format!("http://a.example/{path}")).await;
        response.assert_problem(status, name);
        for word in ["secret", "html", "JSON", "HTML"] {
            assert!(
                !response.detail().contains(word),
                "{path}: {}",
                response.text
            );
        }
    }
    assert_eq!(fetching.url("http://a.example/octets").await.class(), 9);
}

#[tokio::test]
async fn the_limit_of_a_body_is_also_that_of_an_image() {
    let mut small = limits();
    small.max_body = 8 << 10;
    let web = Web::start(|path| match path {
        "/announced" => Reply::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 8193\r\n\r\n".to_vec()),
        _ => {
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            Reply::Stall(format!("{head}{}", chunk.repeat(3)).into_bytes())
        }
    })
    .await;
    let server = server_with(small, |_| Ok(())).await;
    let fetching = Fetching::new(server, &web, rules("http://a.example"));
    for path in ["announced", "chunks"] {
        let response = fetching.url(&format!("http://a.example/{path}")).await;
        response.assert_problem(413, "body-too-large");
    }
}

#[tokio::test]
async fn bytes_count_in_the_memory_of_bodies_while_they_arrive() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n";
    let stalled = [head.as_bytes(), &[0; 200_000]].concat();
    let web = Web::start(move |_| Reply::Stall(stalled.clone())).await;
    let fetching = Arc::new(Fetching::new(
        server().await,
        &web,
        rules("http://a.example"),
    ));
    let memory = limits().body_memory;
    let admission = || fetching.server.serving.admission();
    let fits = |bytes| admission().bytes().grow(bytes).is_ok();
    assert!(fits(memory));
    let request = tokio::spawn({
        let fetching = Arc::clone(&fetching);
        async move { fetching.url(URL).await }
    });
    wait_until("200 kB to be counted", async || !fits(memory - 199_999)).await;
    assert!(
        fits(memory - 300_000 - 1024),
        "no more than what was announced"
    );
    request.abort();
    wait_until("them to be released", async || fits(memory)).await;
    // no room: 429
    let mut share = admission().bytes();
    share.grow(memory - 1024).unwrap();
    fetching.url(URL).await.assert_problem(429, "overloaded");
}

#[tokio::test]
async fn a_slow_server_ends_the_fetch_or_the_request() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx";
    let web = Web::start(move |_| Reply::Stall(head.to_vec())).await;
    let mut quick = rules("http://a.example");
    quick.timeout = Duration::from_millis(50);
    let response = Fetching::new(server().await, &web, quick).url(URL).await;
    response.assert_problem(422, "url-not-fetched");
    assert!(
        response.detail().contains("within 0.05 s"),
        "{}",
        response.text
    );
    let mut limits = limits();
    limits.request_timeout = Duration::from_millis(50);
    let server = server_with(limits, |_| Ok(())).await;
    let response = Fetching::new(server, &web, rules("http://a.example"));
    response
        .url(URL)
        .await
        .assert_problem(504, "deadline-exceeded");
}

#[tokio::test]
async fn private_addresses_are_for_the_hosts_that_the_operator_names() {
    let web = Web::start(|_| image(7)).await;
    for name in ["images.internal", "other.internal"] {
        web.name(name, &[&["127.0.0.1"]]);
    }
    web.name("metadata.internal", &[&["169.254.169.254"]]);
    let mut rules = rules("http://*");
    rules.private = PrivateHosts::parse("images.internal, metadata.internal").unwrap();
    let fetching = Fetching::new(server().await, &web, rules);
    assert_eq!(fetching.url("http://images.internal/").await.class(), 7);
    for url in [
        "http://other.internal/",
        "http://metadata.internal/",
        "http://127.0.0.1/",
    ] {
        fetching
            .url(url)
            .await
            .assert_problem(422, "url-not-fetched");
    }
    assert_eq!(web.connected(), ["127.0.0.1:80"]);
}

#[tokio::test]
async fn fetches_at_the_same_time_are_limited() {
    let web = Web::start(|_| Reply::Stall(Vec::new())).await;
    let fetching = Arc::new(Fetching::new(
        server().await,
        &web,
        rules("http://a.example"),
    ));
    let images = json!(vec![json!({"url": URL}); 8]).to_string();
    let requests: Vec<_> = (0..5)
        .map(|_| {
            let (fetching, images) = (Arc::clone(&fetching), images.clone());
            tokio::spawn(async move { fetching.send(images).await })
        })
        .collect();
    wait_until("32 fetches", async || web.heads().len() == 32).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(web.connected().len(), 32);
    // they end, and those that waited begin
    web.release();
    wait_until("the others", async || web.heads().len() == 40).await;
    for request in requests {
        assert_eq!(
            request.await.unwrap().status,
            200,
            "a problem for each image"
        );
    }
}

#[tokio::test]
async fn a_certificate_must_be_that_of_the_host() {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let web = Web::serve(Some(acceptor), |_| image(7)).await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let trusting = Fetching::trusting(server().await, &web, rules("*"), roots);
    assert_eq!(trusting.url("https://a.example/").await.class(), 7);
    assert_eq!(web.connected(), [format!("{}:443", super::web::PUBLIC)]);
    let other = trusting.url("https://b.example/").await;
    other.assert_problem(422, "url-not-fetched");
    let fetching = Fetching::new(server().await, &web, rules("*"));
    let untrusted = fetching.url("https://a.example/").await;
    assert_eq!(untrusted.detail(), other.detail());
}
