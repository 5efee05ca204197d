//! TensorFlow Serving's gRPC: predictions and classes for each form of input, and
//! what is said about models.

use std::collections::HashMap;

use prost::Message;

use super::tfserving_requests::{
    CLASSIFY, METADATA, PREDICT, STATUS, example, examples, files, floats, predict, spec, tensor,
};
use crate::support::client::{flat, grey};
use crate::support::grpc::Client;
use crate::support::grpc::tensorflow::error::Code as ErrorCode;
use crate::support::grpc::tensorflow::serving::model_spec::VersionChoice;
use crate::support::grpc::tensorflow::serving::model_version_status::State;
use crate::support::grpc::tensorflow::serving::{
    ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse,
    GetModelStatusRequest, GetModelStatusResponse, ModelSpec, ModelVersionStatus, PredictRequest,
    PredictResponse, SignatureDefMap, StatusProto,
};
use crate::support::grpc::tensorflow::tensor_shape_proto::Dim;
use crate::support::grpc::tensorflow::{
    DataType, SignatureDef, TensorInfo, TensorProto, TensorShapeProto,
};
use crate::support::listening::{connections, listen};
use crate::support::network::{CLASSES, SIDE};
use crate::support::server::{Server, limits, server, server_with};

/// The most probable class of each image.
#[track_caller]
fn classes(response: &PredictResponse) -> Vec<usize> {
    let [(name, output)] = <[_; 1]>::try_from(response.outputs.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(name, "probabilities");
    assert_eq!(output.dtype(), DataType::DtFloat);
    let rows: Vec<&[f32]> = output.float_val.chunks(CLASSES).collect();
    let dims: Vec<i64> = shape_of(output);
    assert_eq!(dims, [rows.len() as i64, CLASSES as i64]);
    let best = rows.iter().map(|row| {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        (0..CLASSES)
            .max_by(|&a, &b| row[a].total_cmp(&row[b]))
            .unwrap()
    });
    best.collect()
}

fn shape_of(tensor: &TensorProto) -> Vec<i64> {
    let shape = tensor.tensor_shape.as_ref().unwrap();
    shape.dim.iter().map(|dim| dim.size).collect()
}

async fn client(server: &Server) -> Client {
    Client::owning(listen(server, connections(10)).await).await
}

async fn ask(client: &Client, request: PredictRequest) -> PredictResponse {
    client.call(PREDICT, request).await.unwrap()
}

#[tokio::test]
async fn images_of_each_form_have_the_same_class() {
    let server = server().await;
    let client = client(&server).await;
    let side = i64::from(SIDE);
    let pixels = |value: u8| vec![value; (SIDE * SIDE * 3) as usize];
    let content = |bytes: Vec<u8>| TensorProto {
        tensor_content: bytes.into(),
        ..TensorProto::default()
    };
    let file = grey(51);
    let mut packed = Vec::new();
    prost::encoding::encode_varint(file.len() as u64, &mut packed);
    packed.extend_from_slice(&file);
    let floats_of = |factor: f32| pixels(51).iter().map(|&v| f32::from(v) * factor).collect();
    let bytes_of = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect();
    let integers: Vec<i32> = pixels(51).into_iter().map(i32::from).collect();
    let whole: Vec<u8> = integers.iter().flat_map(|v| v.to_le_bytes()).collect();
    let of_integers = TensorProto {
        int_val: integers,
        ..TensorProto::default()
    };
    let one = [1, side, side, 3];
    for tensor in [
        files(&[], std::slice::from_ref(&file)),
        files(&[1], std::slice::from_ref(&file)),
        files(&[1, 1], std::slice::from_ref(&file)),
        tensor(DataType::DtString, &[1], content(packed)),
        tensor(DataType::DtUint8, &one, content(pixels(51))),
        tensor(DataType::DtUint8, &one, of_integers.clone()),
        tensor(DataType::DtInt32, &one, of_integers),
        tensor(DataType::DtInt32, &one, content(whole)),
        tensor(DataType::DtFloat, &one, content(bytes_of(floats_of(1.0)))),
        // 0 to 1
        tensor(
            DataType::DtFloat,
            &one,
            content(bytes_of(floats_of(1.0 / 255.0))),
        ),
        floats(&one, floats_of(1.0)),
        floats(&one, floats_of(1.0 / 255.0)),
        // The server resizes.
        floats(&[1, 21, 13, 3], vec![51.0 / 255.0; 21 * 13 * 3]),
    ] {
        let shown = format!("{:?} {:?}", tensor.dtype(), tensor.tensor_shape);
        let response = ask(&client, predict(tensor)).await;
        assert_eq!(classes(&response), [51], "{shown}");
    }
    // Without a shape, as many as there are.
    let mut two = files(&[2], &[grey(7), flat(9, 40, 30)]);
    assert_eq!(classes(&ask(&client, predict(two.clone())).await), [7, 9]);
    two.tensor_shape = None;
    assert_eq!(classes(&ask(&client, predict(two)).await), [7, 9]);
    let both = [pixels(7), pixels(9)].concat();
    let both = tensor(DataType::DtUint8, &[2, side, side, 3], content(both));
    assert_eq!(classes(&ask(&client, predict(both)).await), [7, 9]);
}

#[tokio::test]
async fn a_response_says_which_model_version_and_signature_was_used() {
    let server = server().await;
    let client = client(&server).await;
    let request = predict(files(&[1], &[grey(7)]));
    let used = |signature: &str| ModelSpec {
        name: "fake".into(),
        version_choice: Some(VersionChoice::Version(1)),
        signature_name: signature.into(),
    };
    let label = |label: &str| Some(VersionChoice::VersionLabel(label.into()));
    for (choice, signature, expected) in [
        (None, "", "serving_default"),
        (None, "predict", "predict"),
        (Some(VersionChoice::Version(1)), "", "serving_default"),
        (label("stable"), "", "serving_default"),
        (label("latest"), "classify", "classify"),
    ] {
        let response = ask(
            &client,
            PredictRequest {
                model_spec: Some(ModelSpec {
                    name: "fake".into(),
                    version_choice: choice.clone(),
                    signature_name: signature.into(),
                }),
                output_filter: vec!["probabilities".into()],
                ..request.clone()
            },
        )
        .await;
        assert_eq!(response.model_spec, Some(used(expected)), "{choice:?}");
        assert_eq!(classes(&response), [7]);
    }
}

#[tokio::test]
async fn the_probabilities_are_those_of_rest() {
    let server = server().await;
    let client = client(&server).await;
    let response = ask(&client, predict(files(&[1], &[grey(7)]))).await;
    let body =
        serde_json::json!({"instances": [{"b64": crate::support::client::base64(&grey(7))}]});
    let rest = crate::support::client::post("/v1/models/fake:predict", body.to_string());
    let rest = server.send(rest).await.json;
    let expected: Vec<f32> = serde_json::from_value(rest["predictions"][0].clone()).unwrap();
    assert_eq!(response.outputs["probabilities"].float_val, expected);
}

#[tokio::test]
async fn a_large_response_is_complete() {
    let limits = resnet_server::core::limits::Limits {
        max_images: 64,
        ..limits()
    };
    let server = server_with(limits, |_| Ok(())).await;
    let client = client(&server).await;
    // More values than are computed at once.
    let values: Vec<u8> = (0..64).collect();
    let images: Vec<Vec<u8>> = values.iter().map(|&value| grey(value)).collect();
    let response = ask(&client, predict(files(&[64], &images))).await;
    let expected: Vec<usize> = values.into_iter().map(usize::from).collect();
    assert_eq!(classes(&response), expected);
}

#[tokio::test]
async fn classify_returns_labels_and_scores() {
    let server = server().await;
    let client = client(&server).await;
    for with_context in [false, true] {
        let images = [
            example("image/encoded", &[grey(7)]),
            example("x", &[grey(9)]),
        ];
        let request = examples(&images, with_context);
        let response: ClassificationResponse = client.call(CLASSIFY, request).await.unwrap();
        let used = response.model_spec.unwrap();
        assert_eq!(used.version_choice, Some(VersionChoice::Version(1)));
        let images = response.result.unwrap().classifications;
        assert_eq!(images.len(), 2);
        for (image, label) in images.iter().zip(["grey 7", "grey 9"]) {
            assert_eq!(image.classes.len(), 5);
            assert_eq!(image.classes[0].label, label);
            assert!(image.classes[0].score > 0.999);
            assert!(image.classes[1].score < 0.001);
        }
    }
}

#[tokio::test]
async fn the_status_has_the_versions_of_a_model() {
    let server = server().await;
    let client = client(&server).await;
    let expected = GetModelStatusResponse {
        model_version_status: vec![ModelVersionStatus {
            version: 1,
            state: State::Available.into(),
            status: Some(StatusProto {
                error_code: ErrorCode::Ok.into(),
                error_message: String::new(),
            }),
        }],
    };
    let label = VersionChoice::VersionLabel("stable".into());
    for version_choice in [None, Some(VersionChoice::Version(1)), Some(label)] {
        let request = GetModelStatusRequest {
            model_spec: Some(ModelSpec {
                version_choice,
                ..spec("fake")
            }),
        };
        let found: GetModelStatusResponse = client.call(STATUS, request).await.unwrap();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_version_that_failed_to_load_has_a_reason() {
    let server = Server::new(limits(), None, 2);
    server.files.write_broken("fake", 1, "it is corrupt");
    server
        .start(vec![crate::support::loader::spec("fake")])
        .await;
    let client = client(&server).await;
    let request = GetModelStatusRequest {
        model_spec: Some(spec("fake")),
    };
    let found: GetModelStatusResponse = client.call(STATUS, request).await.unwrap();
    let version = &found.model_version_status[0];
    assert_eq!(version.state(), State::End);
    let status = version.status.clone().unwrap();
    assert_eq!(status.error_code(), ErrorCode::Unknown);
    assert!(status.error_message.contains("it is corrupt"), "{status:?}");
}

#[tokio::test]
async fn metadata_have_the_signatures() {
    let server = server().await;
    let client = client(&server).await;
    let request = GetModelMetadataRequest {
        model_spec: Some(spec("fake")),
        metadata_field: vec!["signature_def".into()],
    };
    let found: GetModelMetadataResponse = client.call(METADATA, request).await.unwrap();
    let version_choice = Some(VersionChoice::Version(1));
    assert_eq!(
        found.model_spec,
        Some(ModelSpec {
            version_choice,
            ..spec("fake")
        })
    );
    let packed = &found.metadata["signature_def"];
    assert_eq!(
        packed.type_url,
        "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    );
    let map = SignatureDefMap::decode(&packed.value[..]).unwrap();
    let info = |name: &str, dtype: DataType, dims: &[i64]| TensorInfo {
        name: name.into(),
        dtype: dtype.into(),
        tensor_shape: Some(TensorShapeProto {
            dim: dims
                .iter()
                .map(|&size| Dim {
                    size,
                    name: String::new(),
                })
                .collect(),
            unknown_rank: false,
        }),
    };
    let image = info("image:0", DataType::DtString, &[-1]);
    let output = info("probabilities:0", DataType::DtFloat, &[-1, CLASSES as i64]);
    let predict = SignatureDef {
        inputs: HashMap::from([("image".to_owned(), image)]),
        outputs: HashMap::from([("probabilities".to_owned(), output)]),
        method_name: "tensorflow/serving/predict".into(),
    };
    let classify = &map.signature_def["classify"];
    assert_eq!(map.signature_def["serving_default"], predict);
    assert_eq!(map.signature_def["predict"], predict);
    assert_eq!(classify.method_name, "tensorflow/serving/classify");
    assert_eq!(classify.outputs["scores"].dtype(), DataType::DtFloat);
    assert_eq!(map.signature_def.len(), 3);
}
