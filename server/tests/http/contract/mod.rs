//! `openapi.yaml` against the real server with the default model: the request
//! of each example is sent, and the response must match.

mod ask;
mod compare;
mod examples;

use ask::{ask, file, files, ready};
use compare::compare;
use examples::{CONTRACT, examples, object};
use resnet_server::http::problem::ProblemType;

use crate::support::client::{multipart, post_as, send};

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
    let (serving, _) = ready().await;
    let content = &CONTRACT["components"]["requestBodies"]["Images"]["content"];
    let mut sent = 0;
    for (content_type, form) in object(content) {
        for (name, example) in object(&form["examples"]) {
            let request = if let Some(paths) = example.get("x-files") {
                multipart(&files(paths))
            } else if example.get("externalValue").is_some() {
                let content_type = content_type.replace('*', "jpeg");
                post_as(&content_type, file(&example["externalValue"]))
            } else {
                post_as(content_type, example["value"].to_string())
            };
            let response = send(&serving, request).await;
            assert_eq!(response.status, 200, "{name}: {}", response.text);
            let items = response.json.as_array().cloned();
            for item in items.unwrap_or(vec![response.json]) {
                assert_eq!(
                    item["predictions"].as_array().unwrap().len(),
                    5,
                    "{name}: {item}"
                );
            }
            sent += 1;
        }
    }
    assert_eq!(sent, 5);
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
