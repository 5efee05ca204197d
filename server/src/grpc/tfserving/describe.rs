//! What is said about a model: its signatures, and the states of its versions.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;

use super::spec::{Spec, described as model_spec};
use crate::core::serving::Serving;
use crate::grpc::proto::tensorflow::error::Code;
use crate::grpc::proto::tensorflow::serving::model_version_status::State as ProtoState;
use crate::grpc::proto::tensorflow::serving::{
    GetModelMetadataRequest, GetModelMetadataResponse, GetModelStatusRequest,
    GetModelStatusResponse, ModelVersionStatus, SignatureDefMap, StatusProto,
};
use crate::grpc::proto::tensorflow::tensor_shape_proto::Dim;
use crate::grpc::proto::tensorflow::{DataType, SignatureDef, TensorInfo, TensorShapeProto};
use crate::grpc::unary::Query;
use crate::http::inference::malformed;
use crate::http::problem::Problem;
use crate::http::tfserving::problem;
use crate::tfserving::signature::{ElementType, Tensor, signatures};
use crate::tfserving::state::{State, VersionState, described, states};

/// The only field of the metadata.
const SIGNATURES: &str = "signature_def";

/// The name of [`SignatureDefMap`].
const TYPE_URL: &str = "type.googleapis.com/tensorflow.serving.SignatureDefMap";

pub(super) struct GetModelMetadata;

impl Query for GetModelMetadata {
    type Request = GetModelMetadataRequest;
    type Response = GetModelMetadataResponse;

    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        let spec = Spec::new(request.model_spec)?;
        let mut wanted = request.metadata_field.iter();
        if wanted.len() == 0 {
            let text = "GetModelMetadataRequest must specify at least one metadata_field";
            return Err(malformed(text.into()));
        }
        if let Some(other) = wanted.find(|field| *field != SIGNATURES) {
            let other = other.escape_default();
            return Err(malformed(format!(
                "Metadata field {other} is not supported; use {SIGNATURES}"
            )));
        }
        let instance = described(serving.registry(), &spec.name, &spec.version);
        let instance = instance.map_err(|failure| problem(&failure))?;
        let classes = instance.network().info().classes;
        let packed = prost_types::Any {
            type_url: TYPE_URL.to_owned(),
            value: map(classes).encode_to_vec(),
        };
        Ok(GetModelMetadataResponse {
            model_spec: Some(model_spec(&spec.name, &instance)),
            metadata: HashMap::from([(SIGNATURES.to_owned(), packed)]),
        })
    }
}

fn map(classes: usize) -> SignatureDefMap {
    let dim = |&size: &i64| Dim {
        size,
        name: String::new(),
    };
    let named = |tensor: &Tensor| {
        let dtype = match tensor.element {
            ElementType::Float => DataType::DtFloat,
            ElementType::Text => DataType::DtString,
        };
        let info = TensorInfo {
            name: format!("{}:0", tensor.name),
            dtype: dtype.into(),
            tensor_shape: Some(TensorShapeProto {
                dim: tensor.shape.iter().map(dim).collect(),
                unknown_rank: false,
            }),
        };
        (tensor.key.to_owned(), info)
    };
    let signatures = signatures(classes).into_iter().map(|signature| {
        let described = SignatureDef {
            inputs: HashMap::from([named(&signature.input)]),
            outputs: signature.outputs.iter().map(named).collect(),
            method_name: signature.method.to_owned(),
        };
        (signature.name.to_owned(), described)
    });
    SignatureDefMap {
        signature_def: signatures.collect(),
    }
}

pub(super) struct GetModelStatus;

impl Query for GetModelStatus {
    type Request = GetModelStatusRequest;
    type Response = GetModelStatusResponse;

    async fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> Result<Self::Response, Problem> {
        let spec = Spec::new(request.model_spec)?;
        let states = states(serving.registry(), &spec.name, &spec.version);
        let (states, _) = states.map_err(|failure| problem(&failure))?;
        Ok(GetModelStatusResponse {
            model_version_status: states.into_iter().map(status).collect(),
        })
    }
}

fn status(version: VersionState) -> ModelVersionStatus {
    let state = match version.state {
        State::Loading => ProtoState::Loading,
        State::Available => ProtoState::Available,
        State::End => ProtoState::End,
    };
    let code = match version.error {
        Some(_) => Code::Unknown,
        None => Code::Ok,
    };
    ModelVersionStatus {
        version: i64::try_from(version.version).unwrap_or(i64::MAX),
        state: state.into(),
        status: Some(StatusProto {
            error_code: code.into(),
            error_message: version.error.unwrap_or_default(),
        }),
    }
}
