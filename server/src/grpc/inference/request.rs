//! A `ModelInferRequest` as the tensor and the outputs that the protocol knows.

use std::collections::HashMap;

use bytes::Bytes;
use half::{bf16, f16};

use crate::core::error::Error;
use crate::core::image::Encoding;
use crate::core::limits::LONGEST_ID;
use crate::grpc::proto::inference::infer_parameter::ParameterChoice;
use crate::grpc::proto::inference::model_infer_request::{
    InferInputTensor, InferRequestedOutputTensor,
};
use crate::grpc::proto::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use crate::oip::failure::Failure;
use crate::oip::outputs::{Output, Wanted};
use crate::oip::policy::Policy;
use crate::oip::tensor::{Datatype, InputTensor, TensorData};

/// Inputs of a request, and outputs, at most. As many as over REST.
const MOST_TENSORS: usize = 16;

/// A request.
pub(super) struct Parsed {
    pub(super) id: String,
    pub(super) policy: Policy,
    pub(super) input: InputTensor,
    pub(super) wanted: Vec<Wanted>,
}

/// The version of a request; empty if it is the server's choice.
///
/// # Errors
/// Text that is no number.
pub(super) fn version(model: &str, text: &str) -> Result<Option<u64>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Error::UnknownVersion {
        name: model.to_owned(),
        version: text.to_owned(),
        available: "listed by ModelMetadata".into(),
    })
}

/// The parts of a request.
///
/// # Errors
/// A request that is wrong, or has an extension that this server has not.
pub(super) fn parse(request: ModelInferRequest) -> Result<Parsed, Failure> {
    let ModelInferRequest {
        model_name: model, ..
    } = request;
    if request.inputs.len() > MOST_TENSORS || request.outputs.len() > MOST_TENSORS {
        return Err(Failure::Invalid(format!(
            "a request has at most {MOST_TENSORS} inputs and {MOST_TENSORS} outputs, got {} and {}",
            request.inputs.len(),
            request.outputs.len()
        )));
    }
    if request.id.len() > LONGEST_ID {
        let text = format!("'id' must have at most {LONGEST_ID} bytes");
        return Err(Failure::Invalid(text));
    }
    let policy = check_parameters(&request.parameters)?;
    let [input] = <[InferInputTensor; 1]>::try_from(request.inputs).map_err(|inputs| {
        let names: Vec<String> = inputs.iter().map(|i| format!("'{}'", i.name)).collect();
        Failure::Invalid(format!(
            "expected 1 inputs but got {} inputs for model '{model}'. Got input(s) [{}]",
            names.len(),
            names.join(",")
        ))
    })?;
    let input = tensor(input, request.raw_input_contents, &model)?;
    let outputs = request.outputs.into_iter();
    let outputs = outputs.map(|output| wanted(&output, &model));
    let mut wanted = outputs.collect::<Result<Vec<_>, _>>()?;
    if wanted.is_empty() {
        wanted.push(Wanted::default_output(true));
    }
    Ok(Parsed {
        id: request.id,
        policy,
        input,
        wanted,
    })
}

type Parameters = HashMap<String, InferParameter>;

fn choice<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a ParameterChoice> {
    parameters.get(name)?.parameter_choice.as_ref()
}

/// A whole number that is not negative, of either type.
fn unsigned(parameters: &Parameters, name: &str) -> Result<Option<u64>, Failure> {
    match choice(parameters, name) {
        None => Ok(None),
        Some(ParameterChoice::Uint64Param(value)) => Ok(Some(*value)),
        Some(ParameterChoice::Int64Param(value)) if *value >= 0 => Ok(Some(value.unsigned_abs())),
        Some(_) => Err(Failure::Invalid(format!(
            "invalid value for '{name}' parameter, expected int64_param or uint64_param that is \
             not negative"
        ))),
    }
}

/// Checks the parameters of a request; returns its schedule policy.
fn check_parameters(parameters: &Parameters) -> Result<Policy, Failure> {
    // A client of streams asks for a mark of the last response, which each is.
    let allowed = ["triton_enable_empty_final_response"];
    let reserved = parameters
        .keys()
        .any(|name| name.starts_with("triton_") && !allowed.contains(&name.as_str()));
    if reserved {
        let text = "parameter keys starting with 'triton_' are reserved for Triton usage. Only \
                    the following keys starting with 'triton_' are allowed: \
                    triton_enable_empty_final_response";
        return Err(Failure::Invalid(text.into()));
    }
    let priority = unsigned(parameters, "priority")?;
    Ok(Policy::new(priority, unsigned(parameters, "timeout")?))
}

fn wanted(output: &InferRequestedOutputTensor, model: &str) -> Result<Wanted, Failure> {
    if output.parameters.contains_key("shared_memory_region") {
        return Err(no_shared_memory(&output.name));
    }
    let classes = match choice(&output.parameters, "classification") {
        None => 0,
        Some(ParameterChoice::Int64Param(count)) if *count > 0 => *count as usize,
        Some(ParameterChoice::Int64Param(_)) => {
            let text = "invalid value for 'classification' parameter, expected >= 0";
            return Err(Failure::Invalid(text.into()));
        }
        Some(_) => {
            let text = "invalid value type for 'classification' parameter, expected int64_param";
            return Err(Failure::Invalid(text.into()));
        }
    };
    Ok(Wanted {
        output: Output::find(&output.name, model)?,
        classes,
        binary: true,
    })
}

fn no_shared_memory(tensor: &str) -> Failure {
    Failure::Unsupported(format!(
        "shared memory is not supported; send and receive tensor '{tensor}' in the request and in \
         the response"
    ))
}

fn tensor(
    input: InferInputTensor,
    mut raw: Vec<Bytes>,
    model: &str,
) -> Result<InputTensor, Failure> {
    let InferInputTensor { name, .. } = input;
    let datatype = Datatype::find(&input.datatype).ok_or_else(|| {
        let datatype = &input.datatype;
        Failure::Invalid(format!("invalid datatype '{datatype}' for input '{name}'"))
    })?;
    if input.parameters.contains_key("shared_memory_region") {
        return Err(no_shared_memory(&name));
    }
    if raw.len() > 1 {
        return Err(Failure::Invalid(format!(
            "expected 1 raw input contents but got {} for model '{model}'",
            raw.len()
        )));
    }
    let data = match (raw.pop(), input.contents) {
        (Some(raw), None) => TensorData::Raw(raw),
        (Some(_), Some(_)) => {
            return Err(Failure::Invalid(format!(
                "contents field must not be specified when using raw_input_contents for '{name}' \
                 for model '{model}'"
            )));
        }
        (None, Some(contents)) => values(contents, datatype, &name)?,
        (None, None) => {
            return Err(Failure::Invalid(format!(
                "unable to find data for input tensor '{name}' for model '{model}' in request."
            )));
        }
    };
    Ok(InputTensor {
        name,
        datatype,
        shape: input.shape,
        data,
    })
}

/// Typed contents as bytes. Half floats have no list of their own, and come as
/// FP32.
fn values(
    contents: InferTensorContents,
    datatype: Datatype,
    name: &str,
) -> Result<TensorData, Failure> {
    let InferTensorContents {
        uint_contents: integers,
        fp32_contents: floats,
        bytes_contents: elements,
    } = contents;
    let raw: Vec<u8> = match datatype {
        Datatype::Bytes => return Ok(TensorData::Elements(elements, Encoding::Raw)),
        Datatype::Uint8 if !elements.is_empty() => elements.concat(),
        Datatype::Uint8 => integers
            .into_iter()
            .map(u8::try_from)
            .collect::<Result<_, _>>()
            .map_err(|_| {
                Failure::Invalid(format!("input '{name}' has values that are no UINT8"))
            })?,
        Datatype::Fp32 => floats.into_iter().flat_map(f32::to_le_bytes).collect(),
        Datatype::Fp16 => {
            let halves = floats.into_iter().map(f16::from_f32);
            halves.flat_map(f16::to_le_bytes).collect()
        }
        Datatype::Bf16 => {
            let halves = floats.into_iter().map(bf16::from_f32);
            halves.flat_map(bf16::to_le_bytes).collect()
        }
        // No image has this type, which the caller reports.
        _ => Vec::new(),
    };
    Ok(TensorData::Raw(raw.into()))
}
