//! The forms of a request, its parameters, and the form of its response.

use serde_json::{Value, json};

use crate::support::client::{base64, class, grey, multipart, post, post_as};
use crate::support::server::{limits, server, server_with};

#[tokio::test]
async fn raw_bytes_with_any_content_type() {
    let server = server().await;
    assert_eq!(server.post(grey(77)).await.class(), 77);
    for content_type in [
        "image/png",
        "image/jpeg",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "text/plain; charset=utf-8",
        "application/json",
        "nonsense",
    ] {
        let response = server.send(post_as(content_type, grey(78))).await;
        assert_eq!(response.class(), 78, "{content_type}");
    }
}

#[tokio::test]
async fn a_response_has_its_keys_in_order_and_timings() {
    let server = server().await;
    let response = server.post(grey(3)).await;
    assert_eq!(response.header("content-type"), "application/json");
    let id = response.header("x-request-id");
    let head = format!(
        r#"{{"model":"fake","version":1,"request_id":"{id}","activation":"softmax","predictions":[{{"index":3,"wnid":null,"label":"grey 3","probability":0."#
    );
    assert!(response.text.starts_with(&head), "{}", response.text);
    // The softmax of a logit of 20 among 255 logits of 0.
    let expected = 20_f64.exp() / (20_f64.exp() + 255.0);
    let probability = response.json["predictions"][0]["probability"].as_f64();
    assert!((probability.unwrap() - expected).abs() < 1e-6);

    let timing = response.header("server-timing");
    let timings = timing.strip_prefix(r#"model;desc="fake/1", "#).unwrap();
    let names: Vec<&str> = timings
        .split(", ")
        .map(|metric| {
            let (name, duration) = metric.split_once(";dur=").unwrap();
            assert!(duration.parse::<f64>().unwrap() >= 0.0);
            name
        })
        .collect();
    assert_eq!(names, ["decode", "queue", "forward"]);
}

#[tokio::test]
async fn a_form_with_one_file_returns_an_object() {
    let response = server().await.send(multipart(&[grey(9)])).await;
    assert_eq!(response.class(), 9);
}

#[tokio::test]
async fn a_form_with_several_files_returns_an_array_in_order() {
    let mut broken = grey(5);
    broken.truncate(40);
    let files = [grey(50), broken, grey(20), b"hello".to_vec(), grey(40)];
    let response = server().await.send(multipart(&files)).await;
    assert_eq!(response.status, 200);
    let items = response.json.as_array().unwrap();
    assert_eq!(items.len(), 5);
    for (i, expected) in [(0, 50), (2, 20), (4, 40)] {
        assert_eq!(class(&items[i]), expected);
        assert_eq!(items[i]["request_id"], response.header("x-request-id"));
    }
    assert_eq!(items[1]["type"], "/docs#broken-image");
    assert_eq!(items[1]["status"], 422);
    assert_eq!(items[3]["type"], "/docs#unsupported-format");
    assert_eq!(items[3]["request_id"], response.header("x-request-id"));
}

#[tokio::test]
async fn a_part_without_a_file_name_is_an_image_if_its_field_name_is() {
    let part = |field: &str| {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n");
        let body = [head.as_bytes(), &grey(7), b"\r\n--b--\r\n"].concat();
        post_as("multipart/form-data; boundary=b", body)
    };
    let server = server().await;
    assert_eq!(server.send(part("image")).await.class(), 7);
    let response = server.send(part("colour")).await;
    response.assert_problem(400, "malformed-request");
    assert!(response.text.contains("colour"), "{}", response.text);
}

#[tokio::test]
async fn malformed_forms() {
    let server = server().await;
    let whole = multipart(&[grey(1)]).into_body();
    let whole = axum::body::to_bytes(whole, usize::MAX).await.unwrap();
    let unterminated_head = [b"--frontier\r\n".as_slice(), &[b'x'; 100_000]].concat();
    for (content_type, body) in [
        ("multipart/form-data", whole.to_vec()),
        ("multipart/form-data; boundary=other", whole.to_vec()),
        (
            "multipart/form-data; boundary=frontier",
            whole[..60].to_vec(),
        ),
        (
            "multipart/form-data; boundary=frontier",
            whole[..whole.len() - 20].to_vec(),
        ),
        ("multipart/form-data; boundary=frontier", unterminated_head),
        ("multipart/form-data; boundary=frontier", Vec::new()),
        (
            "multipart/form-data; boundary=frontier",
            b"--frontier--\r\n".to_vec(),
        ),
    ] {
        let response = server.send(post_as(content_type, body)).await;
        response.assert_problem(400, "malformed-request");
    }
    assert!(server.batches().is_empty());
}

#[tokio::test]
async fn json_with_one_image_returns_an_object_and_a_list_an_array() {
    let server = server().await;
    let as_json = |body: Value| post_as("application/json", body.to_string());
    let one = server
        .send(as_json(json!({"image": base64(&grey(8))})))
        .await;
    assert_eq!(one.class(), 8);

    let list = json!({"images": [base64(&grey(30)), "not base64!", base64(&grey(10)), ""]});
    let response = server.send(as_json(list)).await;
    assert_eq!(response.status, 200);
    assert_eq!(class(&response.json[0]), 30);
    assert_eq!(response.json[1]["type"], "/docs#malformed-request");
    assert_eq!(class(&response.json[2]), 10);
    assert_eq!(response.json[3]["type"], "/docs#empty-image");
    assert_eq!(response.json[3]["status"], 400);

    let lone = server
        .send(as_json(json!({"images": [base64(&grey(30))]})))
        .await;
    assert_eq!(class(&lone.json[0]), 30);
}

#[tokio::test]
async fn json_with_escapes_spaces_data_urls_and_unknown_keys() {
    let server = server().await;
    let escaped = base64(&grey(0xfb)).replace('/', r"\/");
    let data_url = format!("data:image/png;base64,{}", base64(&grey(0xfb)));
    for body in [
        format!(r#"{{"image":"{escaped}"}}"#),
        format!(r#" {{ "image" : "{data_url}" , "note": {{"a": [1, null]}} }} "#),
    ] {
        let response = server
            .send(post_as("Application/JSON; charset=utf-8", body))
            .await;
        assert_eq!(response.class(), 0xfb);
    }
}

#[tokio::test]
async fn malformed_json() {
    let server = server().await;
    let deep = format!(
        r#"{{"image":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let deep_unknown_key = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "",
        "   ",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"image": 5}"#,
        r#"{"image": null}"#,
        r#"{"images": []}"#,
        r#"{"images": "cat"}"#,
        r#"{"images": ["", 7]}"#,
        r#"{"image": "", "images": [""]}"#,
        r#"{"image": "", "image": ""}"#,
        r#"{"image": "cat.jpg"}"#,
        r#"{"image": "\ud800"}"#,
        &deep,
        &deep_unknown_key,
    ] {
        let response = server
            .send(post_as("application/json", body.to_owned()))
            .await;
        response.assert_problem(400, "malformed-request");
    }
    assert!(server.batches().is_empty());
}

#[tokio::test]
async fn more_images_than_max_images() {
    let server = server().await;
    let nine = vec![grey(1); limits().max_images + 1];
    let response = server.send(multipart(&nine)).await;
    response.assert_problem(413, "too-many-images");
    assert!(
        response.text.contains("more than 8 images"),
        "{}",
        response.text
    );

    let strings = "\"\",".repeat(300_000);
    let body = format!("{{\"images\":[{strings}\"\"]}}");
    let response = server.send(post_as("application/json", body)).await;
    response.assert_problem(413, "too-many-images");
    assert!(server.batches().is_empty());
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_an_invalid_one_is_replaced() {
    let server = server().await;
    let with_id = |id: &str| {
        let mut request = post("/classify", grey(1));
        request
            .headers_mut()
            .insert("x-request-id", id.parse().unwrap());
        request
    };
    let response = server.send(with_id("order-66:a.b_c/9")).await;
    assert_eq!(response.header("x-request-id"), "order-66:a.b_c/9");
    assert_eq!(response.json["request_id"], "order-66:a.b_c/9");

    let long = "x".repeat(129);
    for invalid in ["", "a b", "a\"b", "{}", long.as_str()] {
        let id = server
            .send(with_id(invalid))
            .await
            .header("x-request-id")
            .to_owned();
        assert_eq!(id.len(), 36, "expected a new UUID, found {id}");
    }
    let (a, b) = (server.post(grey(1)).await, server.post(grey(1)).await);
    assert_ne!(a.header("x-request-id"), b.header("x-request-id"));
}

#[tokio::test]
async fn the_images_of_a_request_share_a_deadline_and_each_reports_it() {
    let mut limits = limits();
    limits.request_timeout = std::time::Duration::from_millis(50);
    let server = server_with(limits, |_| Ok(())).await;
    server.network().gate.close();
    let response = server.send(multipart(&[grey(1), b"text".to_vec()])).await;
    server.network().gate.open();
    assert_eq!(response.status, 200);
    assert_eq!(response.json[0]["status"], 504);
    assert_eq!(response.json[1]["status"], 415);
}
