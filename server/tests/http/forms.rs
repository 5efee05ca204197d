//! The forms of a request, its parameters, and the shape of its answer.

use serde_json::json;

use crate::support::{
    CLASSES, base64, class, grey, limits, multipart, post, post_as, server, server_with,
};

#[tokio::test]
async fn raw_bytes_whatever_the_content_type_says() {
    let server = server();
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
        let answer = server.send(post_as(content_type, grey(78))).await;
        assert_eq!(answer.class(), 78, "{content_type}");
    }
}

#[tokio::test]
async fn an_answer_has_its_keys_in_order_and_its_timings() {
    let server = server();
    let answer = server.post(grey(3)).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let id = answer.header("x-request-id");
    let head = format!(
        r#"{{"model":"fake","request_id":"{id}","predictions":[{{"index":3,"wnid":null,"label":"grey 3","probability":0."#
    );
    assert!(answer.text.starts_with(&head), "{}", answer.text);
    // softmax of one logit of 20 among 255 of 0
    let expected = 20_f64.exp() / (20_f64.exp() + 255.0);
    let probability = answer.json["predictions"][0]["probability"].as_f64();
    assert!((probability.unwrap() - expected).abs() < 1e-6);

    let timing = answer.header("server-timing");
    let names: Vec<&str> = timing
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
async fn a_form_with_one_file_gives_an_object() {
    let answer = server().send(multipart(&[grey(9)])).await;
    assert_eq!(answer.class(), 9);
}

#[tokio::test]
async fn a_form_with_many_files_gives_an_array_in_order() {
    let mut broken = grey(5);
    broken.truncate(40);
    let files = [grey(50), broken, grey(20), b"hello".to_vec(), grey(40)];
    let answer = server().send(multipart(&files)).await;
    assert_eq!(answer.status, 200);
    let items = answer.json.as_array().unwrap();
    assert_eq!(items.len(), 5);
    for (i, expected) in [(0, 50), (2, 20), (4, 40)] {
        assert_eq!(class(&items[i]), expected);
        assert_eq!(items[i]["request_id"], answer.header("x-request-id"));
    }
    assert_eq!(items[1]["type"], "/docs#broken-image");
    assert_eq!(items[1]["status"], 422);
    assert_eq!(items[3]["type"], "/docs#unsupported-format");
    assert_eq!(items[3]["request_id"], answer.header("x-request-id"));
}

#[tokio::test]
async fn a_part_without_a_file_name_counts_by_its_field() {
    let part = |field: &str| {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n");
        let body = [head.as_bytes(), &grey(7), b"\r\n--b--\r\n"].concat();
        post_as("multipart/form-data; boundary=b", body)
    };
    let server = server();
    assert_eq!(server.send(part("image")).await.class(), 7);
    let answer = server.send(part("colour")).await;
    answer.assert_problem(400, "malformed-request");
    assert!(answer.text.contains("colour"), "{}", answer.text);
}

#[tokio::test]
async fn malformed_forms() {
    let server = server();
    let whole = multipart(&[grey(1)]).into_body();
    let whole = axum::body::to_bytes(whole, usize::MAX).await.unwrap();
    let endless_head = [b"--frontier\r\n".as_slice(), &[b'x'; 100_000]].concat();
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
        ("multipart/form-data; boundary=frontier", endless_head),
        ("multipart/form-data; boundary=frontier", Vec::new()),
        (
            "multipart/form-data; boundary=frontier",
            b"--frontier--\r\n".to_vec(),
        ),
    ] {
        let answer = server.send(post_as(content_type, body)).await;
        answer.assert_problem(400, "malformed-request");
    }
    assert!(server.batches().is_empty());
}

#[tokio::test]
async fn json_with_one_image_gives_an_object_and_a_list_an_array() {
    let server = server();
    let as_json = |body: serde_json::Value| post_as("application/json", body.to_string());
    let one = server
        .send(as_json(json!({"image": base64(&grey(8))})))
        .await;
    assert_eq!(one.class(), 8);

    let list = json!({"images": [base64(&grey(30)), "not base64!", base64(&grey(10)), ""]});
    let answer = server.send(as_json(list)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(class(&answer.json[0]), 30);
    assert_eq!(answer.json[1]["type"], "/docs#malformed-request");
    assert_eq!(class(&answer.json[2]), 10);
    assert_eq!(answer.json[3]["type"], "/docs#empty-image");
    assert_eq!(answer.json[3]["status"], 400);

    let lone = server
        .send(as_json(json!({"images": [base64(&grey(30))]})))
        .await;
    assert_eq!(class(&lone.json[0]), 30);
}

#[tokio::test]
async fn json_as_other_languages_write_it() {
    let server = server();
    let escaped = base64(&grey(0xfb)).replace('/', r"\/");
    let data_url = format!("data:image/png;base64,{}", base64(&grey(0xfb)));
    for body in [
        format!(r#"{{"image":"{escaped}"}}"#),
        format!(r#" {{ "image" : "{data_url}" , "note": {{"a": [1, null]}} }} "#),
    ] {
        let answer = server
            .send(post_as("Application/JSON; charset=utf-8", body))
            .await;
        assert_eq!(answer.class(), 0xfb);
    }
}

#[tokio::test]
async fn malformed_json() {
    let server = server();
    let deep = format!(
        r#"{{"image":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let deep_elsewhere = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
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
        &deep_elsewhere,
    ] {
        let answer = server
            .send(post_as("application/json", body.to_owned()))
            .await;
        answer.assert_problem(400, "malformed-request");
    }
    assert!(server.batches().is_empty());
}

#[tokio::test]
async fn more_images_than_a_request_may_hold() {
    let server = server();
    let nine = vec![grey(1); limits().max_images + 1];
    let answer = server.send(multipart(&nine)).await;
    answer.assert_problem(413, "too-many-images");
    assert!(
        answer.text.contains("more than 8 images"),
        "{}",
        answer.text
    );

    let strings = "\"\",".repeat(300_000);
    let body = format!("{{\"images\":[{strings}\"\"]}}");
    let answer = server.send(post_as("application/json", body)).await;
    answer.assert_problem(413, "too-many-images");
    assert!(server.batches().is_empty());
}

#[tokio::test]
async fn top_k_chooses_how_many_classes_are_told() {
    let server = server();
    let told = async |query: &str| {
        let answer = server
            .send(post(&format!("/classify{query}"), grey(4)))
            .await;
        assert_eq!(answer.class(), 4);
        let told = answer.json["predictions"].as_array().unwrap().len();
        (told, answer.json.get("top_k").cloned())
    };
    assert_eq!(told("").await, (5, None));
    assert_eq!(told("?top_k=1").await, (1, None));
    assert_eq!(told("?top_k=256").await, (CLASSES, None));
    let clamped = json!({"requested": 1000, "returned": CLASSES});
    assert_eq!(told("?top_k=1000").await, (CLASSES, Some(clamped)));
}

#[tokio::test]
async fn parameters_that_mean_nothing() {
    let server = server();
    for query in [
        "top_k=0",
        "top_k=-1",
        "top_k=five",
        "top_k=",
        "top_k=1.5",
        "top_k=1&top_k=2",
        "topk=3",
        "top_k=99999999999999999999999",
    ] {
        let answer = server
            .send(post(&format!("/classify?{query}"), grey(4)))
            .await;
        answer.assert_problem(400, "bad-parameter");
        assert!(answer.json["detail"].as_str().unwrap().contains("top_k"));
    }
    assert!(server.batches().is_empty());
}

#[tokio::test]
async fn a_request_keeps_the_id_it_came_with() {
    let server = server();
    let with_id = |id: &str| {
        let mut request = post("/classify", grey(1));
        request
            .headers_mut()
            .insert("x-request-id", id.parse().unwrap());
        request
    };
    let answer = server.send(with_id("order-66:a.b_c/9")).await;
    assert_eq!(answer.header("x-request-id"), "order-66:a.b_c/9");
    assert_eq!(answer.json["request_id"], "order-66:a.b_c/9");

    let long = "x".repeat(129);
    for insane in ["", "a b", "a\"b", "{}", long.as_str()] {
        let id = server
            .send(with_id(insane))
            .await
            .header("x-request-id")
            .to_owned();
        assert_eq!(id.len(), 36, "a fresh UUID, not {id}");
    }
    let (a, b) = (server.post(grey(1)).await, server.post(grey(1)).await);
    assert_ne!(a.header("x-request-id"), b.header("x-request-id"));
}

#[tokio::test]
async fn many_images_share_one_deadline_and_each_tells_of_it() {
    let mut limits = limits();
    limits.request_timeout = std::time::Duration::from_millis(50);
    let server = server_with(limits, |_| Ok(()));
    server.fake.gate.close();
    let answer = server.send(multipart(&[grey(1), b"text".to_vec()])).await;
    server.fake.gate.open();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json[0]["status"], 504);
    assert_eq!(answer.json[1]["status"], 415);
}
