//! The body of an inference request: JSON, which binary tensors may follow.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Few, Object, Parameters, is_too_deep};
use super::numbers::{numbers, strings};
use crate::core::admission::ByteShare;
use crate::core::image::Encoding;
use crate::core::limits::{LONGEST_ID, MAX_IMAGES};
use crate::oip::failure::Failure;
use crate::oip::outputs::{Output, Wanted};
use crate::oip::policy::Policy;
use crate::oip::tensor::{Datatype, InputTensor, TensorData, shape_text};

/// Keys that Triton keeps for itself.
const RESERVED: &str = "triton_";

/// A request.
#[derive(Debug)]
pub(super) struct InferRequest {
    pub(super) id: Option<String>,
    pub(super) policy: Policy,
    pub(super) input: InputTensor,
    pub(super) wanted: Vec<Wanted>,
}

#[derive(Deserialize)]
struct Document<'a> {
    id: Option<String>,
    #[serde(borrow, default)]
    parameters: Option<Parameters<'a>>,
    #[serde(borrow)]
    inputs: Few<Object<InputDocument<'a>>, 16>,
    #[serde(borrow)]
    outputs: Option<Few<Object<OutputDocument<'a>>, 16>>,
}

#[derive(Deserialize)]
struct InputDocument<'a> {
    name: String,
    datatype: String,
    shape: Few<i64, 16>,
    #[serde(borrow, default)]
    parameters: Option<Parameters<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputDocument<'a> {
    name: String,
    #[serde(borrow, default)]
    parameters: Option<Parameters<'a>>,
}

/// Parses a body whose first `header` bytes are JSON, or all of it. What is copied
/// from it is counted in `share`.
///
/// # Errors
/// A request that is wrong, or has an extension that this server has not.
pub(super) fn parse(
    body: &Bytes,
    header: Option<usize>,
    model: &str,
    share: &mut ByteShare,
) -> Result<InferRequest, Failure> {
    let length = header.unwrap_or(body.len());
    if length > body.len() {
        return Err(Failure::Invalid(format!(
            "Unable to parse Inference-Header-Content-Length, value is out of range [ 0, {} ], \
             got: {length}",
            body.len()
        )));
    }
    let (json, binary) = (body.slice(..length), body.slice(length..));
    if is_too_deep(&json) {
        let text = "JSON nesting depth exceeds maximum allowed limit (100)";
        return Err(Failure::Invalid(text.into()));
    }
    let Object(document): Object<Document<'_>> =
        serde_json::from_slice(&json).map_err(|error| {
            Failure::Invalid(format!("failed to parse the request JSON buffer: {error}"))
        })?;
    let id = document.id.filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| id.len() > LONGEST_ID) {
        let text = format!("'id' must have at most {LONGEST_ID} bytes");
        return Err(Failure::Invalid(text));
    }
    let parameters = document.parameters.unwrap_or_default();
    let policy = check_parameters(&parameters)?;
    let all_binary = parameters
        .bool("binary_data_output")
        .map_err(Failure::Invalid)?;
    let inputs = document.inputs.0;
    let [Object(input)] = <[Object<InputDocument<'_>>; 1]>::try_from(inputs).map_err(|inputs| {
        let names = inputs.iter().map(|Object(i)| format!("'{}'", i.name));
        let names: Vec<String> = names.collect();
        Failure::Invalid(format!(
            "expected 1 inputs but got {} inputs for model '{model}'. Got input(s) [{}]",
            names.len(),
            names.join(",")
        ))
    })?;
    let source = Source {
        json: &json,
        binary: header.map(|_| binary),
        model,
    };
    let input = source.input(input, share)?;
    let wanted = match document.outputs {
        Some(Few(outputs)) if !outputs.is_empty() => {
            let outputs = outputs.into_iter();
            outputs
                .map(|Object(output)| wanted(output, all_binary, model))
                .collect::<Result<_, _>>()?
        }
        _ => vec![Wanted::default_output(all_binary)],
    };
    Ok(InferRequest {
        id,
        policy,
        input,
        wanted,
    })
}

/// Checks the parameters of a request; returns its schedule policy.
fn check_parameters(parameters: &Parameters<'_>) -> Result<Policy, Failure> {
    if parameters
        .iter()
        .any(|(name, _)| name.starts_with(RESERVED))
    {
        let text = "parameter keys starting with 'triton_' are reserved for Triton usage and \
                    should not be specified.";
        return Err(Failure::Invalid(text.into()));
    }
    let priority = parameters.unsigned("priority").map_err(Failure::Invalid)?;
    for name in ["sequence_start", "sequence_end"] {
        parameters.bool(name).map_err(Failure::Invalid)?;
    }
    let timeout = parameters.unsigned("timeout").map_err(Failure::Invalid)?;
    Ok(Policy::new(priority, timeout))
}

fn wanted(output: OutputDocument<'_>, all_binary: bool, model: &str) -> Result<Wanted, Failure> {
    let parameters = output.parameters.unwrap_or_default();
    if parameters.get("shared_memory_region").is_some() {
        return Err(no_shared_memory(&output.name));
    }
    let classes = parameters
        .unsigned("classification")
        .map_err(Failure::Invalid)?;
    let binary = match parameters.get("binary_data") {
        Some(_) => parameters.bool("binary_data").map_err(Failure::Invalid)?,
        None => all_binary,
    };
    Ok(Wanted {
        output: Output::find(&output.name, model)?,
        classes: usize::try_from(classes.unwrap_or(0)).unwrap_or(usize::MAX),
        binary,
    })
}

fn no_shared_memory(tensor: &str) -> Failure {
    Failure::Unsupported(format!(
        "shared memory is not supported; send and receive tensor '{tensor}' in the request and in \
         the response"
    ))
}

/// Where the elements of the input are.
struct Source<'a> {
    json: &'a Bytes,
    /// What follows the JSON, where its length is given.
    binary: Option<Bytes>,
    model: &'a str,
}

impl Source<'_> {
    fn input(
        self,
        document: InputDocument<'_>,
        share: &mut ByteShare,
    ) -> Result<InputTensor, Failure> {
        let InputDocument { name, .. } = document;
        let datatype = Datatype::find(&document.datatype).ok_or_else(|| {
            let datatype = &document.datatype;
            Failure::Invalid(format!("invalid datatype '{datatype}' for input '{name}'"))
        })?;
        let parameters = document.parameters.unwrap_or_default();
        if parameters.get("shared_memory_region").is_some() {
            return Err(no_shared_memory(&name));
        }
        let shape = document.shape.0;
        let size = parameters
            .unsigned("binary_data_size")
            .map_err(Failure::Invalid)?;
        let rest = self.binary.clone().unwrap_or_default();
        let data = match (document.data, size) {
            (Some(data), None) => {
                if !rest.is_empty() {
                    return Err(self.additional());
                }
                self.json_data(data.get(), &name, datatype, &shape, share)?
            }
            (None, Some(size)) => TensorData::Raw(self.sized(size, &name)?),
            // As OpenVINO Model Server allows for a single input.
            (None, None) if !rest.is_empty() => TensorData::Raw(rest),
            (data, _) => {
                let found = match data {
                    None => "no field is set",
                    Some(_) => "set 'data' 'binary_data_size'",
                };
                return Err(Failure::Invalid(format!(
                    "Input must set only one of the following fields: 'data', \
                     'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. \
                     But {found}"
                )));
            }
        };
        Ok(InputTensor {
            name,
            datatype,
            shape,
            data,
        })
    }

    /// The bytes that follow the JSON, which must be this many.
    fn sized(&self, size: u64, name: &str) -> Result<Bytes, Failure> {
        let Some(binary) = &self.binary else {
            return Err(Failure::Invalid(
                "must specify valid 'Infer-Header-Content-Length' in request header and \
                 'binary_data_size' when passing inputs in binary data format"
                    .into(),
            ));
        };
        let found = binary.len() as u64;
        match found.checked_sub(size) {
            Some(0) => Ok(binary.clone()),
            Some(_) => Err(self.additional()),
            None => Err(Failure::Invalid(format!(
                "unexpected size for input '{name}', expecting {} additional bytes for model '{}'",
                size - found,
                self.model
            ))),
        }
    }

    fn additional(&self) -> Failure {
        let model = self.model;
        Failure::Invalid(format!(
            "unexpected additional input data for model '{model}'"
        ))
    }

    /// The elements in the JSON text `data`.
    fn json_data(
        &self,
        data: &str,
        name: &str,
        datatype: Datatype,
        shape: &[i64],
        share: &mut ByteShare,
    ) -> Result<TensorData, Failure> {
        let invalid =
            |reason| Failure::Invalid(format!("Unable to parse 'data' of '{name}': {reason}"));
        match datatype {
            Datatype::Bytes => {
                // Text with escapes is copied.
                if memchr::memchr(b'\\', data.as_bytes()).is_some() {
                    share.grow(data.len())?;
                }
                let texts = strings(data, self.json, MAX_IMAGES).map_err(invalid)?;
                Ok(TensorData::Elements(texts, Encoding::Base64))
            }
            Datatype::Uint8 | Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 => {
                let count = shape.iter().try_fold(1_usize, |count, &dim| {
                    count.checked_mul(usize::try_from(dim).ok()?)
                });
                // Each element is one character at least.
                let count = count.filter(|&count| count <= data.len()).ok_or_else(|| {
                    let shape = shape_text(shape);
                    invalid(format!(
                        "shape {shape} does not match true shape of 'data' field"
                    ))
                })?;
                share.grow(count * datatype.size().unwrap_or(1))?;
                let bytes = numbers(data, datatype, count).map_err(invalid)?;
                Ok(TensorData::Raw(bytes.into()))
            }
            // No image has this type, which the caller reports.
            _ => Ok(TensorData::Raw(Bytes::new())),
        }
    }
}
