//! `openapi.yaml` against the real server with the default model: every
//! example is asked for as its `x-request` says, and must be what comes back.

mod ask;
mod compare;
mod examples;

use ask::{ask, file, files, ready};
use compare::compare;
use examples::{CONTRACT, examples, object, operations};
use server::problem::Kind;

use crate::support::{multipart, post_as, send};

#[tokio::test]
async fn every_example_of_an_answer_is_what_the_server_answers() {
    let mut differences = Vec::new();
    for example in examples() {
        let answer = ask(&example).await;
        let compare = std::panic::AssertUnwindSafe(|| compare(&example, &answer));
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
async fn every_example_of_a_request_is_understood() {
    let service = ready();
    let content = &CONTRACT["paths"]["/classify"]["post"]["requestBody"]["content"];
    let mut asked = 0;
    for (content_type, form) in object(content) {
        for (name, example) in object(&form["examples"]) {
            let request = if let Some(paths) = example.get("x-files") {
                multipart(&files(paths))
            } else if example.get("externalValue").is_some() {
                post_as("image/jpeg", file(&example["externalValue"]))
            } else {
                post_as(content_type, example["value"].to_string())
            };
            let answer = send(&service, request).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            let items = answer.json.as_array().cloned().unwrap_or(vec![answer.json]);
            for item in items {
                assert_eq!(
                    item["predictions"].as_array().unwrap().len(),
                    5,
                    "{name}: {item}"
                );
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 4);
}

/// Each kind of problem, each route and each field is in the contract and on
/// the page for people.
#[test]
fn contract_and_page_leave_nothing_out() {
    let page = include_str!("../../../src/http/pages/docs.html");
    let text = include_str!("../../../../openapi.yaml");
    for kind in Kind::ALL {
        let uri = kind.type_uri();
        let name = uri.trim_start_matches("/docs#");
        let status = kind.status().as_u16();
        let row = format!("<tr id=\"{name}\"><td>{status}</td><td><code>{name}</code></td>");
        assert!(page.contains(&row), "docs.html lacks {row}");
        assert!(
            text.contains(&format!("type: {uri}\n")),
            "openapi.yaml lacks {uri}"
        );
        assert!(
            text.contains(&format!("title: {}\n", kind.title())),
            "{uri}'s title"
        );
    }
    for (path, method, _) in operations() {
        let heading = format!("{} {path}<", method.to_uppercase());
        let row = format!("{} <a href=\"{path}\">{path}</a>", method.to_uppercase());
        assert!(
            page.contains(&heading) || page.contains(&row),
            "docs.html lacks {row}"
        );
    }
    let schemas = &CONTRACT["components"]["schemas"];
    for schema in ["Photos", "Answer", "Prediction", "Problem", "Model"] {
        let variants = schemas[schema]["oneOf"].as_array().cloned();
        for variant in variants.unwrap_or(vec![schemas[schema].clone()]) {
            for (property, _) in object(&variant["properties"]) {
                assert!(
                    page.contains(&format!("<code>{property}</code>"))
                        || page.contains(&format!("\"{property}\"")),
                    "docs.html lacks {schema}'s {property}"
                );
            }
        }
    }
    assert!(page.contains("<code>top_k</code>") && page.contains("<code>X-Request-Id</code>"));
}
