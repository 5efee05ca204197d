//! The HTML pages and the files that they load.

use axum::body::Body;
use axum::http::Request;

use crate::support::client::{Response, get};
use crate::support::server::{Server, server};

const PAGES: [&str; 3] = ["/", "/docs", "/status"];

/// The values of `attribute="…"` in a text.
fn values<'a>(text: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!("{attribute}=\"");
    let parts = text.split(&start).skip(1);
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// What a page or a script loads: `src`, the `href` of its links, and imports.
fn loaded(text: &str) -> Vec<String> {
    let links = text.split("<link").skip(1);
    let links = links.map(|link| link.split('>').next().unwrap());
    let imports = text.lines().filter_map(|line| {
        let (_, module) = line.split_once(" from \"./")?;
        Some(format!("/assets/{}", module.strip_suffix("\";")?))
    });
    let html = values(text, "src").into_iter();
    let html = html.chain(links.flat_map(|link| values(link, "href")));
    // An empty `src` is one that a script fills.
    html.map(str::to_owned).chain(imports).collect()
}

/// The page and all that it loads, by path.
async fn with_all_files(server: &Server, page: &str) -> Vec<(String, Response)> {
    let mut open = vec![page.to_owned()];
    let mut seen: Vec<(String, Response)> = Vec::new();
    while let Some(path) = open.pop() {
        if seen.iter().any(|(known, _)| *known == path) {
            continue;
        }
        let response = server.get(&path).await;
        let kind = response.header("content-type");
        if kind.starts_with("text/html") || kind.starts_with("text/javascript") {
            open.extend(loaded(&response.text));
        }
        seen.push((path, response));
    }
    seen
}

#[tokio::test]
async fn the_pages_load_only_files_of_this_server() {
    let server = server().await;
    for page in PAGES {
        let files = with_all_files(&server, page).await;
        assert!(files.len() > 5, "{page} loads {} files", files.len());
        let texts = files.iter().map(|(_, file)| file);
        let texts = texts.filter(|file| file.header("content-type") != "image/jpeg");
        let size: usize = texts.map(|file| file.text.len()).sum();
        assert!(
            size < 100_000,
            "{page} loads {size} bytes without its photos"
        );
        for (path, file) in &files {
            assert_eq!(file.status, 200, "{page} loads {path}");
            let local = path == page || path.starts_with("/assets/");
            assert!(local, "{page} loads {path}");
            let policy = file.header("content-security-policy");
            assert!(policy.starts_with("default-src 'self'; img-src 'self' blob: data:;"));
            assert!(!policy.contains("unsafe"), "{policy}");
            for remote in ["http://", "https://", "@import", "url("] {
                let text = file.text.replace("http://www.w3.org/2000/svg", "");
                let image = file.header("content-type") == "image/jpeg";
                assert!(image || !text.contains(remote), "{path} has {remote}");
            }
            // The policy would block both without a message to the visitor.
            for inline in ["<style", " style=\"", " onclick=\""] {
                assert!(!file.text.contains(inline), "{path} has {inline}");
            }
        }
    }
}

#[tokio::test]
async fn the_start_page_shows_a_command_without_scripts() {
    let server = server().await;
    let welcome = server.get("/").await;
    assert_eq!(welcome.header("content-type"), "text/html; charset=utf-8");
    assert!(welcome.text.contains("curl --data-binary @cat.jpg"));
    let head = Request::head("/").body(Body::empty()).unwrap();
    assert_eq!(server.send(head).await.text, "");
}

#[tokio::test]
async fn a_file_that_the_client_has_is_not_sent_again() {
    let server = server().await;
    let path = "/assets/page.js";
    let file = server.get(path).await;
    assert_eq!(file.header("cache-control"), "no-cache");
    let etag = file.header("etag").to_owned();
    for (tag, status) in [
        (etag.clone(), 304),
        (format!("\"other\", W/{etag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let request = Request::get(path).header("if-none-match", &tag);
        let again = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(again.status.as_u16(), status, "{tag}");
        assert_eq!(again.text.is_empty(), status == 304);
        assert_eq!(again.header("etag"), etag);
    }
}

#[tokio::test]
async fn unknown_files_are_problems() {
    let server = server().await;
    for path in ["/assets/index.html", "/assets/..%2FCargo.toml", "/assets/a"] {
        server
            .send(get(path))
            .await
            .assert_problem(404, "not-found");
    }
}

#[tokio::test]
async fn the_contract_is_the_same_in_both_forms() {
    let server = server().await;
    let yaml = server.get("/openapi.yaml").await.text;
    let json = server.get("/openapi.json").await;
    let expected: serde_json::Value = serde_norway::from_str(&yaml).unwrap();
    assert_eq!(json.json, expected);
    // The page shows the routes in the order of the document.
    assert!(json.text.find("\"/classify\"") < json.text.find("\"/models\""));
}
