//! `ModelInfer`: inputs of each form, outputs, errors, deadlines and cancellation.

use std::time::Duration;

use tonic::{Code, Request, Status};

use crate::support::client::grey;
use crate::support::grpc::inference::infer_parameter::ParameterChoice;
use crate::support::grpc::inference::model_infer_request::{
    InferInputTensor, InferRequestedOutputTensor,
};
use crate::support::grpc::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use crate::support::grpc::{Client, images};
use crate::support::listening::{LONG, connections, listen};
use crate::support::network::{CLASSES, SIDE};
use crate::support::server::{limits, server, server_with};

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

async fn infer(client: &Client, request: ModelInferRequest) -> Result<ModelInferResponse, Status> {
    client.call(INFER, request).await
}

/// The most probable class of each image, from raw FP32 logits `[N, classes]`.
fn classes(response: &ModelInferResponse) -> Vec<usize> {
    assert_eq!(response.outputs[0].datatype, "FP32");
    let raw = &response.raw_output_contents[0];
    let values: Vec<f32> = raw
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let rows = values.chunks(CLASSES);
    rows.map(|row| {
        (0..CLASSES)
            .max_by(|&a, &b| row[a].total_cmp(&row[b]))
            .unwrap()
    })
    .collect()
}

fn tensor(datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
    let mut request = images(&[]);
    request.raw_input_contents.clear();
    request.inputs = vec![InferInputTensor {
        name: "any".into(),
        datatype: datatype.into(),
        shape: shape.into(),
        contents: Some(contents),
        ..Default::default()
    }];
    request
}

fn raw(datatype: &str, shape: &[i64], raw: Vec<u8>) -> ModelInferRequest {
    let mut request = tensor(datatype, shape, InferTensorContents::default());
    request.inputs[0].contents = None;
    request.raw_input_contents = vec![raw.into()];
    request
}

#[tokio::test]
async fn images_of_each_form_have_the_same_class() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let side = i64::from(SIDE);
    let pixels = vec![42_u8; (SIDE * SIDE * 3) as usize];
    let file = grey(42);
    let bytes = InferTensorContents {
        bytes_contents: vec![file.clone().into()],
        ..Default::default()
    };
    let integers = InferTensorContents {
        uint_contents: pixels.iter().map(|&p| u32::from(p)).collect(),
        ..Default::default()
    };
    for request in [
        images(std::slice::from_ref(&file)),
        tensor("BYTES", &[1, 1], bytes),
        raw("UINT8", &[1, file.len() as i64], file),
        raw("UINT8", &[1, side, side, 3], pixels),
        tensor("UINT8", &[1, side, side, 3], integers),
    ] {
        let shape = request.inputs[0].shape.clone();
        let response = infer(&client, request).await.unwrap();
        assert_eq!(classes(&response), [42], "{shape:?}");
        assert_eq!(response.outputs[0].shape, [1, CLASSES as i64]);
        assert_eq!(
            (&*response.model_name, &*response.model_version),
            ("fake", "1")
        );
    }
    let two = infer(&client, images(&[grey(7), grey(8)])).await.unwrap();
    assert_eq!(classes(&two), [7, 8]);
    assert_eq!(two.outputs[0].shape, [2, CLASSES as i64]);
}

#[tokio::test]
async fn outputs_ids_and_classifications_are_as_requested() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let mut request = images(&[grey(42)]);
    request.id = "7".into();
    let three = InferParameter {
        parameter_choice: Some(ParameterChoice::Int64Param(3)),
    };
    request.outputs = vec![
        InferRequestedOutputTensor {
            name: "probabilities".into(),
            parameters: [("classification".to_owned(), three)].into(),
        },
        InferRequestedOutputTensor {
            name: "logits".into(),
            ..Default::default()
        },
    ];
    let response = infer(&client, request).await.unwrap();
    assert_eq!(response.id, "7");
    let names: Vec<&str> = response
        .outputs
        .iter()
        .map(|output| &*output.name)
        .collect();
    assert_eq!(names, ["probabilities", "logits"]);
    assert_eq!(response.raw_output_contents.len(), 2);
    let texts = &response.raw_output_contents[0];
    let length = u32::from_le_bytes(texts[..4].try_into().unwrap()) as usize;
    let first = str::from_utf8(&texts[4..4 + length]).unwrap();
    assert!(first.ends_with(":42:grey 42"), "{first}");
    assert_eq!(response.outputs[0].shape, [1, 3]);
}

#[tokio::test]
async fn wrong_requests_have_codes_and_say_why() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let named = |name: &str, version: &str| ModelInferRequest {
        model_name: name.into(),
        model_version: version.into(),
        ..images(&[grey(1)])
    };
    let mut output = images(&[grey(1)]);
    output.outputs = vec![InferRequestedOutputTensor {
        name: "cats".into(),
        ..Default::default()
    }];
    let mut both = images(&[grey(1)]);
    both.inputs[0].contents = Some(InferTensorContents::default());
    let logits = InferRequestedOutputTensor {
        name: "logits".into(),
        ..Default::default()
    };
    for (request, code, text) in [
        (
            named("cats", ""),
            Code::NotFound,
            "Request for unknown model: 'cats' is not found",
        ),
        (named("fake", "9"), Code::NotFound, "version 9 is not found"),
        (named("fake", "x"), Code::NotFound, "version x"),
        (
            output,
            Code::InvalidArgument,
            "unexpected inference output 'cats'",
        ),
        (
            both,
            Code::InvalidArgument,
            "contents field must not be specified",
        ),
        (images(&[b"no image".to_vec()]), Code::InvalidArgument, ""),
        (
            images(&vec![grey(1); 9]),
            Code::InvalidArgument,
            "batch-size must be <= 8 for 'fake'",
        ),
        (
            raw("UINT8", &[1, 8, 8, 4], vec![0; 256]),
            Code::InvalidArgument,
            "unexpected shape",
        ),
        (
            raw("INT32", &[1], vec![0; 4]),
            Code::InvalidArgument,
            "data-type is 'INT32'",
        ),
        (
            raw("CATS", &[1], vec![0; 4]),
            Code::InvalidArgument,
            "invalid datatype 'CATS'",
        ),
        (
            raw("BYTES", &[1], vec![9, 0, 0, 0, 1]),
            Code::InvalidArgument,
            "incomplete string",
        ),
        (
            ModelInferRequest::default(),
            Code::NotFound,
            "Request for unknown model",
        ),
        (
            ModelInferRequest {
                id: "x".repeat(257),
                ..images(&[grey(98)])
            },
            Code::InvalidArgument,
            "'id' must have at most 256 bytes",
        ),
        (
            ModelInferRequest {
                outputs: vec![logits; 17],
                ..images(&[grey(98)])
            },
            Code::InvalidArgument,
            "at most 16 inputs",
        ),
    ] {
        let status = infer(&client, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status} {text}");
    }
    let route = "route=\"/inference.GRPCInferenceService/ModelInfer\"";
    let counted = format!(r#"resnet_requests_total{{{route},status="404",protocol="grpc"}}"#);
    assert_eq!(server.metric(&counted).await, 4.0);
}

#[tokio::test]
async fn a_message_may_be_as_large_as_a_body() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let large = |bytes: usize| raw("UINT8", &[1, bytes as i64], vec![0; bytes]);
    let most = limits().max_body;
    // Read, and found to be no image.
    let status = infer(&client, large(most - 1000)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let status = infer(&client, large(most)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    // Many empty fields count as what they become.
    let many = ModelInferRequest {
        inputs: vec![InferInputTensor::default(); 100_000],
        ..ModelInferRequest::default()
    };
    let status = infer(&client, many).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
}

#[tokio::test]
async fn a_deadline_of_the_client_cancels_its_images() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let first = server.occupy_device().await;
    let client = Client::new(&listening).await;
    let mut request = Request::new(images(&[grey(98)]));
    request.set_timeout(Duration::from_millis(50));
    let status = client
        .send::<_, ModelInferResponse>(INFER, request)
        .await
        .unwrap_err();
    assert!(
        [Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()),
        "{status}"
    );
    let mut micros = images(&[grey(99)]);
    let timeout = InferParameter {
        parameter_choice: Some(ParameterChoice::Int64Param(50_000)),
    };
    micros.parameters.insert("timeout".into(), timeout);
    let status = infer(&client, micros).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.batches(), [[1]]);
}

#[tokio::test]
async fn a_cancelled_request_leaves_the_queue() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let first = server.occupy_device().await;
    let client = Client::new(&listening).await;
    let sent = client.clone();
    let cancelled = tokio::spawn(async move { infer(&sent, images(&[grey(99)])).await });
    server.wait_for_metric("resnet_queue_depth", 1.0).await;
    cancelled.abort();
    server.wait_for_metric("resnet_images_in_flight", 1.0).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    let response = infer(&client, images(&[grey(2)])).await.unwrap();
    assert_eq!(classes(&response), [2]);
    assert_eq!(server.batches(), [[1], [2]]);
}

#[tokio::test]
async fn a_full_server_and_one_that_drains_have_different_codes() {
    let mut limits = limits();
    (limits.max_in_flight, limits.max_images) = (1, 1);
    let server = server_with(limits, |_| Ok(())).await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let first = server.occupy_device().await;
    let status = infer(&client, images(&[grey(2)])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let serving = std::sync::Arc::clone(&server.serving);
    let drained = tokio::spawn(async move { serving.drain().await });
    crate::support::server::wait_until("the drain", async || server.serving.is_leaving()).await;
    let status = infer(&client, images(&[grey(3)])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    tokio::time::timeout(LONG, drained).await.unwrap().unwrap();
}
