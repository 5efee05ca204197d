//! `openapi.yaml` and `docs/openapi/` against the real server with the default model:
//! the request of each example is sent, and the response must match.

mod ask;
mod bodies;
mod compare;
mod examples;
mod routes;

use ask::{ask, ready, send_request};
use compare::compare;
use examples::{CONTRACTS, check, examples, native, requests};
use resnet_server::http::problem::ProblemType;

#[tokio::test]
async fn each_example_of_a_response_is_what_the_server_returns() {
    let mut differences = Vec::new();
    for example in examples() {
        let response = ask(&example).await;
        let compare = std::panic::AssertUnwindSafe(|| compare(&example, &response));
        if std::panic::catch_unwind(compare).is_err() {
            differences.push(example.name);
        }
    }
    assert!(
        differences.is_empty(),
        "the contract and the server differ: {differences:#?}"
    );
}

#[tokio::test]
async fn each_example_of_a_request_is_accepted() {
    for contract in CONTRACTS.iter() {
        for (operation, content_type, name, example) in requests(contract) {
            let name = format!("{}: {} {name}", contract.file, operation.path);
            let (serving, _) = ready().await;
            let request = bodies::example(&operation, content_type, example);
            if content_type.ends_with("json") {
                let content = &contract.resolve(&operation.body["requestBody"])["content"];
                let schema = &content[content_type]["schema"];
                check(contract, schema, &example["value"], &name);
            }
            let response = send_request(&serving, contract, request).await;
            assert_eq!(response.status, 200, "{name}: {}", response.text);
            let responses = &operation.body["responses"];
            let success = contract.resolve(&responses["200"]);
            let schema = &success["content"]["application/json"]["schema"];
            if response.header("content-type") == "application/json" {
                check(contract, schema, &response.json, &name);
            }
        }
    }
    assert_eq!(requests(native()).len(), 5);
}

/// Every item of a request with several images may be a problem.
#[tokio::test]
async fn no_item_of_a_native_example_is_a_problem() {
    for (operation, content_type, name, example) in requests(native()) {
        let (serving, _) = ready().await;
        let request = bodies::example(&operation, content_type, example);
        let response = send_request(&serving, native(), request).await;
        let items = response.json.as_array().cloned();
        for item in items.unwrap_or(vec![response.json]) {
            let predictions = item["predictions"].as_array().map(Vec::len);
            assert_eq!(predictions, Some(5), "{name}: {item}");
        }
    }
}

const PAGE: &str = include_str!("../../../assets/docs.html");

/// The contract and the page for people describe each problem. The page renders
/// everything else from the contract.
#[test]
fn the_contract_and_the_page_list_every_problem() {
    let text = include_str!("../../../../openapi.yaml");
    for problem in ProblemType::ALL {
        let uri = problem.type_uri();
        let name = uri.trim_start_matches("/docs#");
        let status = problem.status().as_u16();
        let row = format!("<tr id=\"{name}\"><td>{status}</td><td><code>{name}</code></td>");
        assert!(PAGE.contains(&row), "docs.html lacks {row}");
        assert!(
            text.contains(&format!("type: {uri}\n")),
            "openapi.yaml lacks {uri}"
        );
        assert!(
            text.contains(&format!("title: {}\n", problem.title())),
            "openapi.yaml lacks the title of {uri}"
        );
    }
}
