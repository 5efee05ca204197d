//! Requests of TensorFlow Serving's clients: tensors and examples.

use crate::support::grpc::tensorflow::feature::Kind;
use crate::support::grpc::tensorflow::serving::input::Kind as Examples;
use crate::support::grpc::tensorflow::serving::{
    ClassificationRequest, ExampleList, ExampleListWithContext, Input, ModelSpec, PredictRequest,
};
use crate::support::grpc::tensorflow::tensor_shape_proto::Dim;
use crate::support::grpc::tensorflow::{
    BytesList, DataType, Example, Feature, Features, TensorProto, TensorShapeProto,
};

pub(super) const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
pub(super) const CLASSIFY: &str = "/tensorflow.serving.PredictionService/Classify";
pub(super) const METADATA: &str = "/tensorflow.serving.PredictionService/GetModelMetadata";
pub(super) const STATUS: &str = "/tensorflow.serving.ModelService/GetModelStatus";

pub(super) fn spec(name: &str) -> ModelSpec {
    ModelSpec {
        name: name.into(),
        ..ModelSpec::default()
    }
}

/// A request with one input.
pub(super) fn predict(tensor: TensorProto) -> PredictRequest {
    PredictRequest {
        model_spec: Some(spec("fake")),
        inputs: [("input_1".to_owned(), tensor)].into(),
        ..PredictRequest::default()
    }
}

/// The values with a type and a shape.
pub(super) fn tensor(dtype: DataType, dims: &[i64], values: TensorProto) -> TensorProto {
    let dim = dims.iter().map(|&size| Dim {
        size,
        name: String::new(),
    });
    TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(TensorShapeProto {
            dim: dim.collect(),
            unknown_rank: false,
        }),
        ..values
    }
}

pub(super) fn files(dims: &[i64], files: &[Vec<u8>]) -> TensorProto {
    let values = TensorProto {
        string_val: files.iter().map(|file| file.clone().into()).collect(),
        ..TensorProto::default()
    };
    tensor(DataType::DtString, dims, values)
}

pub(super) fn floats(dims: &[i64], values: Vec<f32>) -> TensorProto {
    let values = TensorProto {
        float_val: values,
        ..TensorProto::default()
    };
    tensor(DataType::DtFloat, dims, values)
}

/// An example with one feature of these files.
pub(super) fn example(name: &str, files: &[Vec<u8>]) -> Example {
    let kind = Kind::BytesList(BytesList {
        value: files.iter().map(|file| file.clone().into()).collect(),
    });
    let feature = Feature { kind: Some(kind) };
    Example {
        features: Some(Features {
            feature: [(name.to_owned(), feature)].into(),
        }),
    }
}

pub(super) fn examples(examples: &[Example], with_context: bool) -> ClassificationRequest {
    let examples = examples.to_vec();
    let kind = match with_context {
        false => Examples::ExampleList(ExampleList { examples }),
        true => Examples::ExampleListWithContext(ExampleListWithContext { examples }),
    };
    ClassificationRequest {
        model_spec: Some(spec("fake")),
        input: Some(Input { kind: Some(kind) }),
    }
}
