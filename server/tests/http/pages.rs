//! The HTML pages.

use crate::support::server::server;

#[tokio::test]
async fn the_pages_load_no_external_resources() {
    let server = server().await;
    for path in ["/", "/docs"] {
        let page = server.get(path).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        for external in ["src=", "<link", "@import", "url("] {
            assert!(!page.text.contains(external), "{path} has {external}");
        }
    }
    let welcome = server.get("/").await.text;
    assert!(welcome.contains("curl --data-binary @cat.jpg"));
    let head = axum::http::Request::head("/")
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(server.send(head).await.text, "");
}
