//! The forms of a request, its parameters, and the form of its response.

use axum::body::Body;
use axum::http::Request;
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

/// A form of these parts: headers and content.
fn form(parts: &[(&str, Vec<u8>)]) -> Request<Body> {
    let mut body = Vec::new();
    for (headers, content) in parts {
        body.extend_from_slice(b"--b\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(headers.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    post_as("multipart/form-data; boundary=b", body)
}

#[tokio::test]
async fn a_part_is_an_image_by_its_type_or_its_file_name() {
    let server = server().await;
    for headers in [
        "name=photo\r\nContent-Type: image/jpeg",
        "name=\"upload\"; filename=\"a.bin\"",
        "name=x; filename*=UTF-8''K%C3%A4tzchen.jpg",
        "name=x; filename=\"\"; filename*=UTF-8''a.jpg",
        "name=\"q\"; FileName*=utf-8'de'a.jpg\r\nContent-Type: text/plain",
    ] {
        let response = server.send(form(&[(headers, grey(7))])).await;
        assert_eq!(response.class(), 7, "{headers}");
    }
}

#[tokio::test]
async fn other_fields_and_file_inputs_without_a_file_are_no_images() {
    let server = server().await;
    let unchosen = "name=\"image\"; filename=\"\"\r\nContent-Type: application/octet-stream";
    let image = ("name=image; filename=\"a.png\"", grey(7));
    let one = form(&[
        ("name=\"submit\"", b"Classify".to_vec()),
        image.clone(),
        (unchosen, Vec::new()),
        (
            "name=comment\r\nContent-Type: text/plain",
            b"a cat".to_vec(),
        ),
    ]);
    assert_eq!(server.send(one).await.class(), 7, "an object, not an array");
    let two = form(&[image.clone(), (unchosen, Vec::new()), image]);
    assert_eq!(server.send(two).await.json.as_array().unwrap().len(), 2);
    let none = server.send(form(&[(unchosen, Vec::new())])).await;
    none.assert_problem(400, "malformed-request");
    // A named file of no bytes was chosen.
    let empty = form(&[("name=image; filename=\"a.png\"", Vec::new())]);
    server.send(empty).await.assert_problem(400, "empty-image");
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
    let blanks = format!(" \\n data:image/png;base64,{}", base64(&grey(0xfb)));
    let upper_case = format!("DATA:image/png;BASE64,{}", base64(&grey(0xfb)));
    for body in [
        format!(r#"{{"image":"{escaped}"}}"#),
        format!(r#"{{"image":"{blanks}"}}"#),
        format!(r#"{{"image":"{upper_case}"}}"#),
        format!(r#" {{ "image" : "{data_url}" , "note": {{"a": [1, null]}} }} "#),
    ] {
        let response = server
            .send(post_as("Application/JSON; charset=utf-8", body))
            .await;
        assert_eq!(response.class(), 0xfb);
    }
}

#[tokio::test]
async fn json_is_detected_by_its_first_byte() {
    let server = server().await;
    let object = json!({"image": base64(&grey(8))}).to_string();
    let list = json!([base64(&grey(8)), base64(&grey(9))]).to_string();
    for content_type in [
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "image/jpeg",
        "application/json",
    ] {
        for start in ["", "\u{feff}", "\r\n "] {
            let body = format!("{start}{object}");
            let response = server.send(post_as(content_type, body)).await;
            assert_eq!(response.class(), 8, "{content_type} {start:?}");
            let body = format!("{start}{list}");
            let response = server.send(post_as(content_type, body)).await;
            assert_eq!(class(&response.json[1]), 9, "{content_type} {start:?}");
        }
    }
}

#[tokio::test]
async fn a_null_in_a_list_is_a_missing_image() {
    let body = json!([base64(&grey(8)), null]).to_string();
    let response = server().await.send(post_as("text/plain", body)).await;
    assert_eq!(class(&response.json[0]), 8);
    assert_eq!(response.json[1]["type"], "/docs#empty-image");
}

#[tokio::test]
async fn one_string_in_the_place_of_a_list() {
    let server = server().await;
    let as_json = |body: Value| post_as("application/json", body.to_string());
    let list = server
        .send(as_json(json!({"images": base64(&grey(8))})))
        .await;
    assert_eq!(class(&list.json[0]), 8);
    let wrong = server.send(as_json(json!({"images": "cat.jpg"}))).await;
    wrong.assert_problem(400, "malformed-request");
    assert!(wrong.detail().contains("a list"), "{}", wrong.text);
}

#[tokio::test]
async fn a_problem_does_not_echo_the_upload() {
    let server = server().await;
    let long = "/9j4".repeat(50_000);
    for body in [
        json!({"image": [long]}),
        json!({"image": {"data": long}}),
        json!({"images": {"data": long}}),
        json!({"images": [[long]]}),
        json!({"images": [7, long]}),
        json!({"image": format!("!{long}")}),
        json!({ long.clone(): "x" }),
    ] {
        let response = server
            .send(post_as("application/json", body.to_string()))
            .await;
        response.assert_problem(400, "malformed-request");
        assert!(response.text.len() < 1000, "{}", response.text.len());
    }
    let name = format!("name=\"{long}\"");
    let response = server.send(form(&[(&name, b"x".to_vec())])).await;
    response.assert_problem(400, "malformed-request");
    assert!(response.text.len() < 1000, "{}", response.text.len());
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
