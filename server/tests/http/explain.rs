//! `/explain` and `/embed`, with a network whose feature map is the brightness of
//! the image.

use std::io::Cursor;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage, imageops};
use model::Outputs;
use resnet_server::core::npy::Matrix;
use resnet_server::core::serving::Serving;
use serde_json::{Value, json};

use crate::support::client::{Response, base64, multipart, post, send};
use crate::support::seeing::{CLASSES, MAP, seeing};
use crate::support::server::{server, wait_until};

/// Left, top, right and bottom of the white object of [`photo`].
const OBJECT: [u32; 4] = [72, 44, 92, 64];

/// A dark photo of 120 x 80 with a white object.
fn photo() -> RgbImage {
    let [left, top, right, bottom] = OBJECT;
    RgbImage::from_fn(120, 80, |x, y| {
        let inside = (left..right).contains(&x) && (top..bottom).contains(&y);
        Rgb([if inside { 255 } else { 30 }; 3])
    })
}

/// A PNG that viewers turn upright by the EXIF orientation `tag`.
fn png(upright: &RgbImage, tag: u8) -> Vec<u8> {
    use imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    let pixels = match tag {
        2 => flip_horizontal(upright),
        3 => rotate180(upright),
        4 => flip_vertical(upright),
        5 => flip_horizontal(&rotate90(upright)),
        6 => rotate270(upright),
        7 => flip_horizontal(&rotate270(upright)),
        8 => rotate90(upright),
        _ => upright.clone(),
    };
    let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([tag, 0, 0, 0, 0, 0, 0]);
    let mut file = Cursor::new(Vec::new());
    let mut encoder = PngEncoder::new(&mut file);
    encoder.set_exif_metadata(exif).unwrap();
    let (width, height) = pixels.dimensions();
    let color = ExtendedColorType::Rgb8;
    encoder.write_image(&pixels, width, height, color).unwrap();
    file.into_inner()
}

fn accept(media_type: &str, request: Request<Body>) -> Request<Body> {
    let mut request = request;
    let value = media_type.parse().unwrap();
    request.headers_mut().insert("accept", value);
    request
}

fn floats(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap()).collect()
}

/// Column, row and value of the largest value of a map.
fn largest(map: &Value) -> (usize, usize, f64) {
    let rows: Vec<Vec<f64>> = map["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(floats)
        .collect();
    assert_eq!((rows.len(), rows[0].len()), (MAP, MAP));
    let places = (0..MAP).flat_map(|y| (0..MAP).map(move |x| (x, y)));
    let values = places.map(|(x, y)| (x, y, rows[y][x]));
    values.max_by(|a, b| a.2.total_cmp(&b.2)).unwrap()
}

async fn explained(serving: &Arc<Serving>, query: &str, file: Vec<u8>) -> Value {
    let response = send(serving, post(&format!("/explain{query}"), file)).await;
    assert_eq!(response.status, 200, "{}", response.text);
    response.json
}

#[tokio::test]
async fn the_mean_of_a_map_and_the_bias_is_the_logit() {
    let (serving, _) = seeing().await;
    let request = post("/explain?top_k=2", png(&photo(), 1));
    let response = send(&serving, request).await;
    assert_eq!(response.status, 200, "{}", response.text);
    let answer = &response.json;
    let order = [
        "model",
        "version",
        "request_id",
        "activation",
        "predictions",
        "width",
        "height",
        "crop",
        "maps",
    ];
    assert_eq!(answer.as_object().unwrap().len(), order.len());
    let places = order.map(|key| response.text.find(&format!("\"{key}\":")));
    assert!(
        places.is_sorted() && places[0].is_some(),
        "{}",
        response.text
    );
    assert_eq!(
        (&answer["width"], &answer["height"]),
        (&json!(120), &json!(80))
    );
    // 120 x 80 -> 60 x 40, of which 14..46 x 4..36 are seen
    let crop = json!({"x": 28.0, "y": 8.0, "width": 64.0, "height": 64.0});
    assert_eq!(answer["crop"], crop);
    let maps = answer["maps"].as_array().unwrap();
    assert_eq!(maps.len(), 2);
    for (map, prediction) in maps.iter().zip(answer["predictions"].as_array().unwrap()) {
        for key in ["index", "wnid", "label", "probability"] {
            assert_eq!(map[key], prediction[key]);
        }
        let rows = map["values"].as_array().unwrap().iter();
        let mean = rows.flat_map(floats).sum::<f64>() / (MAP * MAP) as f64;
        let (_, bias) = CLASSES[map["index"].as_u64().unwrap() as usize];
        let error = mean + f64::from(bias) - map["logit"].as_f64().unwrap();
        assert!(error.abs() < 1e-5, "{map}");
    }
}

#[tokio::test]
async fn maps_and_overlays_show_the_object_for_every_orientation() {
    let (serving, _) = seeing().await;
    let [left, top, right, bottom] = OBJECT.map(f64::from);
    let is_inside = |x: f64, y: f64| (left..right).contains(&x) && (top..bottom).contains(&y);
    for tag in 1..=8 {
        let file = png(&photo(), tag);
        let answer = explained(&serving, "?class=bright", file.clone()).await;
        let (x, y, _) = largest(&answer["maps"][0]);
        let crop = &answer["crop"];
        let number = |key: &str| crop[key].as_f64().unwrap();
        let place = |at: usize, start: &str, length: &str| {
            number(start) + (at as f64 + 0.5) * number(length) / MAP as f64
        };
        let (x, y) = (place(x, "x", "width"), place(y, "y", "height"));
        assert!(is_inside(x, y), "tag {tag}: {x}, {y}");

        let query = "/explain?class=0&opacity=1&colormap=viridis";
        let response = send(&serving, accept("image/png", post(query, file))).await;
        assert_eq!(response.status, 200, "{}", response.text);
        assert_eq!(response.header("content-type"), "image/png");
        let drawn = image::load_from_memory(&response.bytes)
            .unwrap()
            .into_rgb8();
        assert_eq!(drawn.dimensions(), (120, 80), "tag {tag}");
        // viridis: the highest value has most green
        let brightest = drawn
            .enumerate_pixels()
            .max_by_key(|(_, _, pixel)| pixel.0[1]);
        let (x, y, _) = brightest.unwrap();
        assert!(is_inside(x.into(), y.into()), "tag {tag}: {x}, {y}");
        // outside the crop
        assert_eq!(drawn.get_pixel(0, 0).0, [30; 3]);
    }
}

#[tokio::test]
async fn invalid_parameters_and_too_many_photos_are_problems() {
    let (serving, _) = seeing().await;
    let file = png(&photo(), 1);
    for (query, part) in [
        ("top_k=0", "1 to 100"),
        ("top_k=101", "1 to 100"),
        ("class=cat", "`cat` is not a class of model `seeing`"),
        ("class=2", "0 to 1"),
        ("class=0&top_k=1", "exclude each other"),
        ("opacity=1.5", "0 to 1"),
        ("opacity=NaN", "0 to 1"),
        ("colormap=jet", "viridis, inferno or turbo"),
        ("overlay=true", "top_k, class, opacity and colormap"),
    ] {
        let response = send(&serving, post(&format!("/explain?{query}"), file.clone())).await;
        response.assert_problem(400, "bad-parameter");
        assert!(
            response.detail().contains(part),
            "{query}: {}",
            response.detail()
        );
    }
    let mut two = multipart(&[file.clone(), file]);
    *two.uri_mut() = "/explain".parse().unwrap();
    let response = send(&serving, accept("image/png", two)).await;
    response.assert_problem(400, "bad-parameter");
    assert!(
        response.detail().contains("one image"),
        "{}",
        response.detail()
    );
}

#[tokio::test]
async fn a_list_of_images_has_results_and_problems() {
    let (serving, _) = seeing().await;
    let images = json!({"images": [base64(&png(&photo(), 1)), base64(b"no image")]}).to_string();
    for route in ["/explain", "/embed"] {
        let mut request = post(route, images.clone());
        let json = "application/json".parse().unwrap();
        request.headers_mut().insert("content-type", json);
        let response = send(&serving, request).await;
        assert_eq!(response.status, 200, "{}", response.text);
        assert_eq!(response.json[0]["model"], "seeing");
        assert_eq!(response.json[1]["status"], 415, "{}", response.text);
        assert!(response.header("server-timing").contains("forward"));
    }
    let response = send(&serving, post("/explain", b"no image".to_vec())).await;
    response.assert_problem(415, "unsupported-format");
}

#[tokio::test]
async fn a_model_without_class_maps_is_refused_with_the_reason() {
    let server = server().await;
    let response = server.send(post("/explain", "")).await;
    response.assert_problem(422, "no-class-maps");
    assert!(response.detail().contains("operations are not known"));
    // before an image ran
    assert!(server.batches().is_empty());
}

fn embed(query: &str, files: &[Vec<u8>], media_type: &str) -> Request<Body> {
    let mut request = multipart(files);
    *request.uri_mut() = format!("/models/seeing/embed{query}").parse().unwrap();
    accept(media_type, request)
}

#[tokio::test]
async fn embeddings_are_returned_as_json_bytes_and_npy() {
    let (serving, _) = seeing().await;
    let files = [png(&photo(), 1), png(&RgbImage::new(50, 50), 1)];
    let response = send(&serving, embed("", &files[..1], "*/*")).await;
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!(response.json["dimension"], 2);
    let first = floats(&response.json["embedding"]);
    assert_eq!((first.len(), first[1]), (2, 1.0));
    let norm = (first[0] * first[0] + 1.0).sqrt();

    let response = send(&serving, embed("?normalize=true", &files[..1], "*/*")).await;
    let normalized = floats(&response.json["embedding"]);
    for (normalized, value) in normalized.iter().zip(&first) {
        assert!((normalized - value / norm).abs() < 1e-6);
    }

    let response = send(&serving, embed("", &files, "application/octet-stream")).await;
    assert_eq!(response.header("content-type"), "application/octet-stream");
    assert_eq!(response.header("x-embedding-shape"), "2,2");
    let values: Vec<f32> = response
        .bytes
        .chunks_exact(4)
        .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
        .collect();
    assert_eq!(values, [first[0] as f32, 1.0, 0.0, 1.0]);

    let response = send(&serving, embed("", &files, "application/x-npy")).await;
    assert_eq!(response.header("content-type"), "application/x-npy");
    let matrix = Matrix::parse(&response.bytes).unwrap();
    assert_eq!((matrix.rows, matrix.columns), (2, 2));
    assert_eq!(matrix.values, values);

    let response = send(&serving, embed("?normalize=yes", &files, "*/*")).await;
    response.assert_problem(400, "bad-parameter");
}

#[tokio::test]
async fn an_image_without_embedding_fails_a_request_for_bytes() {
    let (serving, _) = seeing().await;
    let files = [png(&photo(), 1), b"no image".to_vec()];
    let response = send(&serving, embed("", &files, "application/x-npy")).await;
    response.assert_problem(415, "unsupported-format");
    assert!(
        response.detail().starts_with("image 2 of 2: "),
        "{}",
        response.detail()
    );
}

/// Sends a request from another task.
fn spawn(serving: &Arc<Serving>, path: &'static str) -> tokio::task::JoinHandle<Response> {
    let serving = Arc::clone(serving);
    tokio::spawn(async move { send(&serving, post(path, png(&photo(), 1))).await })
}

#[tokio::test]
async fn an_image_that_wants_a_map_shares_its_batch_with_ordinary_ones() {
    let (serving, network) = seeing().await;
    network.batches.lock().unwrap().clear();
    network.gate.close();
    let batches = || network.batches.lock().unwrap().len();
    let waiting = || serving.metrics().queue_depth.get();
    let first = spawn(&serving, "/classify");
    wait_until("the first batch", async || batches() == 1).await;
    let others = ["/classify", "/explain", "/embed", "/classify"].map(|path| spawn(&serving, path));
    wait_until("the others to queue", async || waiting() == 4).await;
    network.gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    for other in others {
        let response = other.await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text);
    }
    let found = network.batches.lock().unwrap().clone();
    assert_eq!(found, [(1, Outputs::LOGITS), (4, Outputs::ALL)]);
}
