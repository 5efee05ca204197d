//! What TensorFlow Serving reports about a model: the states of its versions and
//! the signatures of one.

use serde::{Serialize, Serializer};
use serde_json::ser::{PrettyFormatter, Serializer as JsonSerializer};
use serde_json::{Map, Value, json};

use crate::tfserving::signature::{ElementType, Tensor, signatures};
use crate::tfserving::state::{State, VersionState};

/// The body of a status request. `name` and `ready` are what a client of KServe
/// reads at the same path.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    pub(super) model_version_status: Vec<VersionStatus<'a>>,
    pub(super) name: &'a str,
    pub(super) ready: bool,
}

/// One version.
#[derive(Serialize)]
pub(super) struct VersionStatus<'a> {
    /// A 64-bit integer, which protobuf writes as a string.
    #[serde(serialize_with = "as_text")]
    pub(super) version: u64,
    pub(super) state: &'static str,
    pub(super) status: Code<'a>,
}

/// Why a version has its state.
#[derive(Serialize)]
pub(super) struct Code<'a> {
    error_code: &'static str,
    error_message: &'a str,
}

fn as_text<S: Serializer>(version: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(version)
}

impl<'a> From<&'a VersionState> for VersionStatus<'a> {
    fn from(version: &'a VersionState) -> Self {
        Self {
            version: version.version,
            state: match version.state {
                State::Loading => "LOADING",
                State::Available => "AVAILABLE",
                State::End => "END",
            },
            status: Code {
                error_code: match version.error {
                    Some(_) => "UNKNOWN",
                    None => "OK",
                },
                error_message: version.error.as_deref().unwrap_or_default(),
            },
        }
    }
}

/// The metadata of a version whose network has this many classes.
pub(super) fn metadata(name: &str, version: u64, classes: usize) -> Value {
    let dim = |size: &i64| json!({"size": size.to_string(), "name": ""});
    let tensor = |tensor: &Tensor| {
        let dtype = match tensor.element {
            ElementType::Float => "DT_FLOAT",
            ElementType::Text => "DT_STRING",
        };
        let shape: Vec<Value> = tensor.shape.iter().map(dim).collect();
        json!({
            "dtype": dtype,
            "tensor_shape": {"dim": shape, "unknown_rank": false},
            "name": format!("{}:0", tensor.name),
        })
    };
    let named = |of: &Tensor| (of.key.to_owned(), tensor(of));
    let signatures = signatures(classes).into_iter().map(|signature| {
        let outputs: Map<String, Value> = signature.outputs.iter().map(named).collect();
        let described = json!({
            "inputs": Map::from_iter([named(&signature.input)]),
            "outputs": outputs,
            "method_name": signature.method,
        });
        (signature.name.to_owned(), described)
    });
    json!({
        "model_spec": {
            "name": name,
            "signature_name": "",
            "version": version.to_string(),
        },
        "metadata": {"signature_def": {"signature_def": signatures.collect::<Map<_, _>>()}},
    })
}

/// JSON as protobuf prints it: indented by one blank, with a newline at the end.
pub(super) fn printed(body: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b" ");
    body.serialize(&mut JsonSerializer::with_formatter(&mut text, formatter))?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tfserving::signature::SIGNATURES;

    #[test]
    fn a_status_lists_the_versions_in_the_form_of_protobuf() {
        let states = [
            VersionState {
                version: 1,
                state: State::Available,
                error: None,
            },
            VersionState {
                version: 2,
                state: State::End,
                error: Some("no such file".into()),
            },
        ];
        let status = Status {
            model_version_status: states.iter().map(VersionStatus::from).collect(),
            name: "cat",
            ready: true,
        };
        let text = String::from_utf8(printed(&status).unwrap()).unwrap();
        let expected = r#"{
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  },
  {
   "version": "2",
   "state": "END",
   "status": {
    "error_code": "UNKNOWN",
    "error_message": "no such file"
   }
  }
 ],
 "name": "cat",
 "ready": true
}
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn metadata_have_the_signatures_that_requests_may_name() {
        let metadata = metadata("cat", 3, 1000);
        assert_eq!(metadata["model_spec"]["version"], "3");
        let signatures = &metadata["metadata"]["signature_def"]["signature_def"];
        for name in SIGNATURES {
            assert!(signatures[name]["method_name"].is_string(), "{name}");
        }
        let outputs = &signatures["serving_default"]["outputs"];
        let shape = &outputs["probabilities"]["tensor_shape"]["dim"];
        assert_eq!(shape[1]["size"], "1000");
    }
}
