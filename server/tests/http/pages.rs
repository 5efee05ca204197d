//! The pages for people, and `/model`.

use crate::support::{CLASSES, server};

#[tokio::test]
async fn the_pages_load_nothing_from_elsewhere() {
    let server = server();
    for path in ["/", "/docs"] {
        let page = server.get(path).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        for outside in ["src=", "<link", "@import", "url("] {
            assert!(!page.text.contains(outside), "{path} has {outside}");
        }
    }
    let welcome = server.get("/").await.text;
    assert!(welcome.contains("curl --data-binary @cat.jpg"));
    let head = axum::http::Request::head("/")
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(server.send(head).await.text, "");
}

#[tokio::test]
async fn the_model_tells_what_it_is() {
    let answer = server().get("/model").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let model = answer.json;
    assert_eq!(model["name"], "fake");
    assert_eq!(model["architecture"], "mean");
    assert_eq!(model["input"]["width"], 8);
    assert_eq!(model["input"]["recipe"]["resize"]["short_side"], 8);
    assert_eq!(model["device"], "cpu");
    assert_eq!(model["labels"].as_array().unwrap().len(), CLASSES);
    assert_eq!(model["labels"][7]["label"], "grey 7");
}
