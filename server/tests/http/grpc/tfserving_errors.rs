//! Requests to TensorFlow Serving's gRPC that are wrong, too large or too late.

use std::time::Duration;

use tonic::{Code, Request, Status};

use super::tfserving_requests::{
    CLASSIFY, METADATA, PREDICT, STATUS, example, examples, files, floats, predict, spec, tensor,
};
use crate::support::client::grey;
use crate::support::grpc::Client;
use crate::support::grpc::tensorflow::feature::Kind;
use crate::support::grpc::tensorflow::serving::model_spec::VersionChoice;
use crate::support::grpc::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest,
    GetModelMetadataResponse, GetModelStatusRequest, GetModelStatusResponse, ModelSpec,
    PredictRequest, PredictResponse,
};
use crate::support::grpc::tensorflow::{
    DataType, Example, Feature, Features, FloatList, TensorProto,
};
use crate::support::listening::{connections, listen};
use crate::support::server::{limits, server, server_with};

#[track_caller]
fn assert_status(status: &Status, code: Code, text: &str) {
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(text), "{status}: {text}");
}

/// A request of this spec.
fn of(model_spec: ModelSpec) -> PredictRequest {
    PredictRequest {
        model_spec: Some(model_spec),
        ..predict(files(&[1], &[grey(7)]))
    }
}

#[tokio::test]
async fn what_a_request_names_must_exist() {
    let server = server().await;
    let client = Client::owning(listen(&server, connections(10)).await).await;
    let version = |choice| ModelSpec {
        version_choice: Some(choice),
        ..spec("fake")
    };
    let signature = ModelSpec {
        signature_name: "cats".into(),
        ..spec("fake")
    };
    let filter = |names: &[&str]| PredictRequest {
        output_filter: names.iter().map(|name| (*name).to_owned()).collect(),
        ..of(spec("fake"))
    };
    let missing = PredictRequest {
        model_spec: None,
        ..of(spec("fake"))
    };
    for (request, code, text) in [
        (
            of(spec("cats")),
            Code::NotFound,
            "Servable not found for request: Latest(cats)",
        ),
        (
            of(version(VersionChoice::Version(2))),
            Code::NotFound,
            "Servable not found for request: Specific(fake, 2)",
        ),
        (
            of(version(VersionChoice::Version(-1))),
            Code::NotFound,
            "Servable not found for request: Specific(fake, -1)",
        ),
        (
            of(version(VersionChoice::VersionLabel("x".into()))),
            Code::InvalidArgument,
            "Unrecognized servable version label: x",
        ),
        (
            of(signature),
            Code::FailedPrecondition,
            "Serving signature key \"cats\" not found",
        ),
        (missing, Code::InvalidArgument, "Missing ModelSpec"),
        (of(spec("")), Code::InvalidArgument, "no name specified"),
        (
            filter(&["logits"]),
            Code::InvalidArgument,
            "output tensor alias not found in signature: logits",
        ),
        (
            filter(&["probabilities", "probabilities"]),
            Code::InvalidArgument,
            "duplicate output tensor alias: probabilities",
        ),
    ] {
        let sent = client.call::<_, PredictResponse>(PREDICT, request);
        assert_status(&sent.await.unwrap_err(), code, text);
    }
}

#[tokio::test]
async fn tensors_that_are_no_images_are_errors_that_say_why() {
    let server = server().await;
    let client = Client::owning(listen(&server, connections(10)).await).await;
    let content = |dtype, dims: &[i64], bytes: usize| {
        let values = TensorProto {
            tensor_content: vec![1; bytes].into(),
            ..TensorProto::default()
        };
        tensor(dtype, dims, values)
    };
    let integers = |values: &[i32]| {
        let values = TensorProto {
            int_val: values.to_vec(),
            ..TensorProto::default()
        };
        tensor(DataType::DtUint8, &[1, 1, 1, 3], values)
    };
    let mut unknown_rank = files(&[], &[grey(7)]);
    unknown_rank.tensor_shape.as_mut().unwrap().unknown_rank = true;
    let mut unknown_type = files(&[1], &[grey(7)]);
    unknown_type.dtype = 77;
    let nine = vec![grey(7); 9];
    for (tensor, text) in [
        (TensorProto::default(), "the tensor is DT_INVALID"),
        (content(DataType::DtInt64, &[1, 8, 8, 3], 8), "DT_INT64"),
        (unknown_type, "of an unknown type"),
        (unknown_rank, "unknown dimensions"),
        (files(&[-1], &[grey(7)]), "unknown dimensions"),
        (files(&[0], &[]), "no image"),
        (files(&[2], &[grey(7)]), "1 strings, where its shape has 2"),
        (files(&[9], &nine), "at most 8"),
        (content(DataType::DtString, &[9], 9), "at most 8"),
        (content(DataType::DtString, &[2], 9), "strings of the shape"),
        (files(&[1], &[b"no image".to_vec()]), ""),
        (
            content(DataType::DtUint8, &[8, 8, 3], 192),
            "[images, height",
        ),
        (
            content(DataType::DtUint8, &[1, 8, 8, 4], 256),
            "[images, height",
        ),
        (content(DataType::DtUint8, &[1, 8, 8, 3], 191), "191 values"),
        (content(DataType::DtUint8, &[9, 1, 1, 3], 27), "at most 8"),
        (content(DataType::DtUint8, &[0, 8, 8, 3], 0), "no image"),
        (
            content(DataType::DtUint8, &[1, i64::MAX, i64::MAX, 3], 3),
            "[images, height",
        ),
        (
            content(DataType::DtFloat, &[1, 1, 1, 3], 11),
            "multiple of 4",
        ),
        (
            content(DataType::DtInt32, &[1, 1, 1, 3], 11),
            "multiple of 4",
        ),
        (integers(&[1, 2]), "2 values"),
        (integers(&[1, 2, 256]), "from 0 to 255"),
        (integers(&[1, 2, -1]), "from 0 to 255"),
        (floats(&[1, 1, 1, 3], vec![0.5, 0.5, -0.5]), "0 to 255"),
        (floats(&[1, 1, 1, 3], vec![0.5, 0.5, f32::NAN]), "0 to 255"),
        (floats(&[1, 1, 1, 3], vec![0.5; 4]), "4 values"),
    ] {
        let shown = format!("{:?} {:?}", tensor.dtype, tensor.tensor_shape);
        let sent = client.call::<_, PredictResponse>(PREDICT, predict(tensor));
        let status = sent.await.expect_err(&shown);
        assert_status(&status, Code::InvalidArgument, text);
    }
    let mut two = predict(files(&[1], &[grey(7)]));
    two.inputs.insert("more".into(), files(&[1], &[grey(7)]));
    let none = PredictRequest {
        model_spec: Some(spec("fake")),
        ..PredictRequest::default()
    };
    for (request, text) in [(two, "2!=1"), (none, "0!=1")] {
        let sent = client.call::<_, PredictResponse>(PREDICT, request);
        let status = sent.await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, text);
    }
    let route = "route=\"/tensorflow.serving.PredictionService/Predict\"";
    let counted = format!(r#"resnet_requests_total{{{route},status="400",protocol="grpc"}}"#);
    assert_eq!(server.metric(&counted).await, 27.0);
}

#[tokio::test]
async fn examples_must_have_an_image_each() {
    let server = server().await;
    let client = Client::owning(listen(&server, connections(10)).await).await;
    let floats = Example {
        features: Some(Features {
            feature: [(
                "x".to_owned(),
                Feature {
                    kind: Some(Kind::FloatList(FloatList { value: vec![1.0] })),
                },
            )]
            .into(),
        }),
    };
    let mut two = example("x", &[grey(7)]);
    let features = two.features.as_mut().unwrap();
    let more = features.feature["x"].clone();
    features.feature.insert("y".into(), more);
    let no_input = ClassificationRequest {
        model_spec: Some(spec("fake")),
        input: None,
    };
    let unknown = ClassificationRequest {
        model_spec: Some(spec("cats")),
        ..examples(&[example("x", &[grey(7)])], false)
    };
    let nine = vec![example("x", &[grey(7)]); 9];
    for (request, code, text) in [
        (no_input, Code::InvalidArgument, "Input is empty."),
        (
            examples(&[], false),
            Code::InvalidArgument,
            "Input is empty.",
        ),
        (examples(&nine, false), Code::InvalidArgument, "at most 8"),
        (
            examples(&[floats], true),
            Code::InvalidArgument,
            "bytes_list",
        ),
        (examples(&[two], false), Code::InvalidArgument, "2 features"),
        (
            examples(&[Example::default()], false),
            Code::InvalidArgument,
            "0 features",
        ),
        (
            examples(&[example("x", &[])], false),
            Code::InvalidArgument,
            "0 values",
        ),
        (
            examples(&[example("x", &[b"text".to_vec()])], false),
            Code::InvalidArgument,
            "",
        ),
        (unknown, Code::NotFound, "Latest(cats)"),
    ] {
        let sent = client.call::<_, ClassificationResponse>(CLASSIFY, request);
        assert_status(&sent.await.unwrap_err(), code, text);
    }
}

#[tokio::test]
async fn a_status_and_metadata_need_a_model_that_exists() {
    let server = server().await;
    let client = Client::owning(listen(&server, connections(10)).await).await;
    let second = ModelSpec {
        version_choice: Some(VersionChoice::Version(2)),
        ..spec("fake")
    };
    for (model_spec, code, text) in [
        (None, Code::InvalidArgument, "Missing ModelSpec"),
        (
            Some(spec("cats")),
            Code::NotFound,
            "Could not find any versions of model cats",
        ),
        (
            Some(second.clone()),
            Code::NotFound,
            "Could not find version 2 of model fake",
        ),
    ] {
        let request = GetModelStatusRequest { model_spec };
        let sent = client.call::<_, GetModelStatusResponse>(STATUS, request);
        assert_status(&sent.await.unwrap_err(), code, text);
    }
    for (model_spec, fields, code, text) in [
        (
            Some(spec("fake")),
            &[][..],
            Code::InvalidArgument,
            "at least one metadata_field",
        ),
        (
            Some(spec("fake")),
            &["graph"],
            Code::InvalidArgument,
            "Metadata field graph is not supported",
        ),
        (
            Some(spec("cats")),
            &["signature_def"],
            Code::NotFound,
            "Servable not found for request: Latest(cats)",
        ),
        (
            Some(second),
            &["signature_def"],
            Code::NotFound,
            "Servable not found for request: Specific(fake, 2)",
        ),
        (
            None,
            &["signature_def"],
            Code::InvalidArgument,
            "Missing ModelSpec",
        ),
    ] {
        let request = GetModelMetadataRequest {
            model_spec,
            metadata_field: fields.iter().map(|field| (*field).to_owned()).collect(),
        };
        let sent = client.call::<_, GetModelMetadataResponse>(METADATA, request);
        assert_status(&sent.await.unwrap_err(), code, text);
    }
}

#[tokio::test]
async fn methods_that_are_missing_say_what_to_call() {
    let server = server().await;
    let client = Client::owning(listen(&server, connections(10)).await).await;
    for (path, text) in [
        ("/tensorflow.serving.PredictionService/Regress", "Classify"),
        (
            "/tensorflow.serving.PredictionService/MultiInference",
            "Classify",
        ),
        (
            "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
            "SIGHUP",
        ),
    ] {
        let sent = client.call::<_, PredictResponse>(path, of(spec("fake")));
        assert_status(&sent.await.unwrap_err(), Code::Unimplemented, text);
    }
}

#[tokio::test]
async fn limits_and_deadlines_hold() {
    let mut limits = limits();
    (limits.max_in_flight, limits.max_images) = (2, 2);
    let server = server_with(limits.clone(), |_| Ok(())).await;
    let client = Client::owning(listen(&server, connections(10)).await).await;
    let large = files(&[1], &[vec![0; limits.max_body]]);
    let sent = client.call::<_, PredictResponse>(PREDICT, predict(large));
    assert_eq!(sent.await.unwrap_err().code(), Code::ResourceExhausted);

    let first = server.occupy_device().await;
    let two = predict(files(&[2], &[grey(2), grey(3)]));
    let sent = client.call::<_, PredictResponse>(PREDICT, two);
    assert_eq!(sent.await.unwrap_err().code(), Code::ResourceExhausted);

    let mut late = Request::new(predict(files(&[1], &[grey(4)])));
    late.set_timeout(Duration::from_millis(50));
    let sent = client.send::<_, PredictResponse>(PREDICT, late);
    let code = sent.await.unwrap_err().code();
    assert!(
        [Code::DeadlineExceeded, Code::Cancelled].contains(&code),
        "{code}"
    );
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.batches(), [[1]]);
    server.serving.leave();
}
