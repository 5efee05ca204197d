//! What answers contain: the query parameters, the category, and the classes
//! and categories that a request asks for.

use resnet_server::core::serving::Serving;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::client::{Response, grey, multipart, post};
use crate::support::network::{CLASSES, FakeNetwork};
use crate::support::server::{MODEL, Server, limits, server, server_of};

/// Class 4 has a probability of 0.6 and class 5 of 0.3; both are dark. The
/// other classes share the rest, and 200 and above are light.
async fn hedging() -> Server {
    let network = FakeNetwork::with_corruption(|classes, logits| {
        for (row, &class) in logits.chunks_exact_mut(CLASSES).zip(classes) {
            let class = usize::from(class);
            let rest = 0.1 / (CLASSES - 2) as f32;
            row.fill(rest.ln());
            row[class] = 0.6_f32.ln();
            row[class + 1] = 0.3_f32.ln();
        }
    });
    let mut text = String::from("dark\tdark\tshade\nlight\tlight\tshade\nshade\t\n");
    for class in 0..CLASSES {
        let parent = if class < 200 { "dark" } else { "light" };
        text += &format!("grey {class}\t\t{parent}\n");
    }
    server_of(network.with_hierarchy(&text), 2, limits()).await
}

async fn ask(server: &Server, query: &str) -> Response {
    server
        .send(post(&format!("/classify?{query}"), grey(4)))
        .await
}

/// The names of an answer's predictions.
fn names(answer: &Value) -> Vec<&str> {
    let predictions = answer["predictions"].as_array().unwrap().iter();
    predictions.map(|p| p["label"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn top_k_sets_the_number_of_predictions() {
    let server = server().await;
    let returned = async |query: &str| {
        let response = ask(&server, query).await;
        assert_eq!(response.status, 200, "{query}: {}", response.text);
        let classes = names(&response.json).len();
        (classes, response.json.get("top_k").cloned())
    };
    assert_eq!(returned("").await, (5, None));
    assert_eq!(returned("top_k=0").await, (0, None));
    assert_eq!(returned("top_k=1").await, (1, None));
    assert_eq!(returned("top_k=256").await, (CLASSES, None));
    let clamped = |requested: u64| Some(json!({"requested": requested, "returned": CLASSES}));
    assert_eq!(returned("top_k=1000").await, (CLASSES, clamped(1000)));
    let largest = usize::MAX as u64;
    for query in [
        "top_k=18446744073709551615",
        "top_k=18446744073709551616",
        "top_k=99999999999999999999999999999999999999999999999999",
    ] {
        assert_eq!(
            returned(query).await,
            (CLASSES, clamped(largest)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_threshold_drops_predictions() {
    let server = hedging().await;
    let labels = async |query: &str| {
        let response = ask(&server, query).await;
        names(&response.json).join(" ")
    };
    assert_eq!(labels("threshold=0.5").await, "grey 4");
    assert_eq!(labels("threshold=0.1").await, "grey 4 grey 5");
    assert_eq!(labels("threshold=1").await, "");
    assert_eq!(labels("threshold=0.1&top_k=1").await, "grey 4");
    assert_eq!(labels("threshold=0&top_k=3").await, "grey 4 grey 5 grey 0");
}

#[tokio::test]
async fn the_category_is_the_most_specific_one_that_is_probable_enough() {
    let server = hedging().await;
    let category = async |query: &str| ask(&server, query).await.json["category"].take();
    let dark = category("").await;
    assert_eq!(
        (&dark["name"], &dark["wnid"]),
        (&json!("dark"), &json!("dark"))
    );
    assert!(
        (dark["probability"].as_f64().unwrap() - 0.978).abs() < 0.001,
        "{dark}"
    );
    let class = category("min_confidence=0.5&top_k=0").await;
    assert_eq!(
        (&class["name"], &class["wnid"]),
        (&json!("grey 4"), &Value::Null)
    );
    let response = ask(&server, "min_confidence=0.99").await;
    assert_eq!(response.json.get("category"), Some(&Value::Null));
    // Every image of a request has its own.
    let response = server.send(multipart(&[grey(4), grey(230)])).await;
    assert_eq!(response.json[0]["category"]["name"], "dark");
    assert_eq!(response.json[1]["category"]["name"], "light");
}

#[tokio::test]
async fn the_servers_min_confidence_applies_to_requests_without_one() {
    let server = hedging().await;
    let Server { serving, files } = server;
    let serving: Serving = Arc::into_inner(serving).unwrap();
    let serving = Arc::new(serving.with_min_confidence(0.5));
    let server = Server { serving, files };
    let name = async |query: &str| ask(&server, query).await.json["category"]["name"].take();
    assert_eq!(name("").await, "grey 4");
    assert_eq!(name("min_confidence=0.8").await, "dark");
}

#[tokio::test]
async fn without_a_hierarchy_there_is_no_category() {
    let server = server().await;
    let response = server.post(grey(4)).await;
    assert_eq!(response.json.get("category"), None);
}

#[tokio::test]
async fn labels_restrict_the_predictions_and_have_probabilities() {
    let server = hedging().await;
    for path in [
        "/classify".to_owned(),
        format!("/models/{MODEL}/classify"),
        format!("/models/{MODEL}/versions/1/classify"),
    ] {
        let path = format!("{path}?labels=light,grey%205&labels=dark&top_k=2");
        let answer = server.send(post(&path, grey(4))).await.json;
        assert_eq!(names(&answer), ["grey 4", "grey 5"], "{path}");
        let labels = answer["labels"].as_array().unwrap();
        let asked: Vec<_> = labels
            .iter()
            .map(|label| label["name"].as_str().unwrap())
            .collect();
        assert_eq!(asked, ["light", "grey 5", "dark"]);
        let probability = |i: usize| labels[i]["probability"].as_f64().unwrap();
        assert!((probability(0) - 0.022).abs() < 0.001, "{labels:?}");
        assert!((probability(1) - 0.3).abs() < 0.001, "{labels:?}");
        assert!((probability(2) - 0.978).abs() < 0.001, "{labels:?}");
    }
    let answer = ask(&server, "labels=light&top_k=1").await.json;
    assert_eq!(names(&answer), ["grey 200"]);
    assert_eq!(answer["category"]["name"], "dark", "of all classes");
}

#[tokio::test]
async fn a_label_that_the_model_does_not_have_is_an_error_with_similar_names() {
    let server = hedging().await;
    for (query, similar) in [
        ("labels=drak", "`dark`"),
        ("labels=dark,gray%2099", "`grey 99`"),
    ] {
        let response = ask(&server, query).await;
        response.assert_problem(400, "bad-parameter");
        let detail = response.json["detail"].as_str().unwrap();
        assert!(detail.contains(similar), "{detail}");
    }
    // A category without a name connects others.
    ask(&server, "labels=shade")
        .await
        .assert_problem(400, "bad-parameter");
    assert!(server.network().batches.lock().unwrap().is_empty());
}

#[tokio::test]
async fn invalid_parameters() {
    let server = server().await;
    for query in [
        "top_k=-1",
        "top_k=five",
        "top_k=",
        "top_k=1.5",
        "top_k=%2B5",
        "top_k=1&top_k=2",
        "topk=3",
        "threshold=",
        "threshold=1.01",
        "threshold=-0.1",
        "threshold=nan",
        "threshold=0.1&threshold=0.1",
        "min_confidence=2",
        "min_confidence=80%25",
        "labels=",
    ] {
        let response = ask(&server, query).await;
        response.assert_problem(400, "bad-parameter");
        let name = query.split('=').next().unwrap();
        let detail = response.json["detail"].as_str().unwrap();
        assert!(detail.contains(name), "{query}: {detail}");
    }
    assert!(server.batches().is_empty());
}
