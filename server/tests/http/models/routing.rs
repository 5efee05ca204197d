//! Which model and version serve a request.

use std::collections::BTreeMap;

use resnet_server::core::spec::{ModelSpec, VersionPolicy};

use crate::support::client::{get, grey, post};
use crate::support::loader::spec;
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits};

/// Two models. The first one is the default and has an alias.
async fn two_models() -> Server {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server
        .files
        .write("dogs", 3, || FakeNetwork::with_offset(100));
    let cats = ModelSpec {
        aliases: vec!["felines".into(), "production".into()],
        ..spec("cats")
    };
    server.start(vec![cats, spec("dogs")]).await;
    server
}

/// A model with versions 1 and 2, whose classes differ by 100.
async fn two_versions(traffic: &[(u64, u32)]) -> Server {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server
        .files
        .write("cats", 2, || FakeNetwork::with_offset(100));
    let cats = ModelSpec {
        versions: VersionPolicy::All,
        traffic: traffic.iter().copied().collect(),
        ..spec("cats")
    };
    server.start(vec![cats]).await;
    server
}

/// The number of requests that each version serves, of `requests`.
async fn served(server: &Server, requests: usize) -> BTreeMap<u64, usize> {
    let mut served = BTreeMap::new();
    for _ in 0..requests {
        let response = server.post(grey(7)).await;
        let (_, version, class) = response.result();
        assert_eq!(class, if version == 1 { 7 } else { 107 });
        *served.entry(version).or_default() += 1;
    }
    served
}

#[tokio::test]
async fn a_request_gets_the_model_of_its_path_or_else_the_default() {
    let server = two_models().await;
    assert_eq!(server.post(grey(7)).await.result(), ("cats", 1, 7));
    let response = server.classify("cats", grey(7)).await;
    assert_eq!(response.result(), ("cats", 1, 7));
    let response = server.classify("dogs", grey(7)).await;
    assert_eq!(response.result(), ("dogs", 3, 107));
    let request = post("/models/dogs/versions/3/classify", grey(7));
    assert_eq!(server.send(request).await.result(), ("dogs", 3, 107));
}

#[tokio::test]
async fn an_alias_selects_its_model_on_every_route() {
    let server = two_models().await;
    for alias in ["felines", "production"] {
        let response = server.classify(alias, grey(7)).await;
        assert_eq!(response.result(), ("cats", 1, 7));
        let request = post(&format!("/models/{alias}/versions/1/classify"), grey(7));
        assert_eq!(server.send(request).await.result(), ("cats", 1, 7));
        let model = server.get(&format!("/models/{alias}")).await;
        assert_eq!(model.json["name"], "cats");
        let ready = server.get(&format!("/models/{alias}/ready")).await;
        assert_eq!(ready.status, 200);
    }
}

#[tokio::test]
async fn results_timings_and_metrics_name_the_model_and_version() {
    let server = two_models().await;
    let response = server.classify("dogs", grey(7)).await;
    let timing = response.header("server-timing");
    assert!(timing.starts_with(r#"model;desc="dogs/3", "#), "{timing}");
    for metric in ["decode", "queue", "forward"] {
        let count = |labels: &str| format!("resnet_{metric}_seconds_count{{{labels}}}");
        let dogs = count(r#"model="dogs",version="3""#);
        assert_eq!(server.metric(&dogs).await, 1.0);
        let cats = count(r#"model="cats",version="1""#);
        assert_eq!(server.metric(&cats).await, 0.0);
    }
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let server = two_models().await;
    for request in [
        post("/models/birds/classify", grey(7)),
        post("/models/birds/versions/1/classify", grey(7)),
        get("/models/birds"),
        get("/models/birds/versions/1"),
        get("/models/birds/ready"),
        get("/models/birds/versions/1/ready"),
    ] {
        let response = server.send(request).await;
        response.assert_problem(404, "model-not-found");
        assert!(response.detail().contains("`birds`"), "{}", response.text);
        assert_eq!(response.header("retry-after"), "");
    }
}

#[tokio::test]
async fn an_unknown_version_is_not_found_also_if_it_is_not_a_number() {
    let server = two_models().await;
    for version in ["0", "2", "latest", "1.0", "-1", "99999999999999999999999"] {
        let path = format!("/models/cats/versions/{version}");
        for request in [
            post(&format!("{path}/classify"), grey(7)),
            get(&path),
            get(&format!("{path}/ready")),
        ] {
            let response = server.send(request).await;
            response.assert_problem(404, "model-not-found");
            let detail = response.detail();
            assert!(detail.contains("`cats`"), "{detail}");
            assert!(detail.contains(&format!("version {version}")), "{detail}");
        }
    }
    let response = server.get("/models/cats/versions/2").await;
    let detail = response.detail();
    assert!(detail.ends_with("the versions served are: 1"), "{detail}");
}

#[tokio::test]
async fn the_newest_version_serves_requests_without_a_version() {
    let server = two_versions(&[]).await;
    assert_eq!(served(&server, 10).await, BTreeMap::from([(2, 10)]));
    let request = post("/models/cats/versions/1/classify", grey(7));
    assert_eq!(server.send(request).await.result(), ("cats", 1, 7));
}

#[tokio::test]
async fn traffic_is_split_between_versions_by_weight() {
    let server = two_versions(&[(1, 90), (2, 10)]).await;
    let expected = BTreeMap::from([(1, 180), (2, 20)]);
    assert_eq!(served(&server, 200).await, expected);
}

#[tokio::test]
async fn a_version_without_traffic_is_served_only_by_its_number() {
    for traffic in [&[(1, 100)][..], &[(1, 100), (2, 0)]] {
        let server = two_versions(traffic).await;
        assert_eq!(served(&server, 20).await, BTreeMap::from([(1, 20)]));
        let request = post("/models/cats/versions/2/classify", grey(7));
        assert_eq!(server.send(request).await.result(), ("cats", 2, 107));
    }
}

#[tokio::test]
async fn the_traffic_of_an_unloaded_version_goes_to_the_other() {
    let server = two_versions(&[(1, 90), (2, 10)]).await;
    let path = "/models/cats/versions/1";
    let response = server.admin(&format!("{path}/unload")).await;
    assert_eq!(response.status, 204);
    assert_eq!(served(&server, 20).await, BTreeMap::from([(2, 20)]));
    let response = server.admin(&format!("{path}/load")).await;
    assert_eq!(response.status, 204);
    let served = served(&server, 100).await;
    assert_eq!(served, BTreeMap::from([(1, 90), (2, 10)]));
}
