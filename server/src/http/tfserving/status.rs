//! What TensorFlow Serving reports about a model: the states of its versions and
//! the signatures of one.

use serde::{Serialize, Serializer};
use serde_json::ser::{PrettyFormatter, Serializer as JsonSerializer};
use serde_json::{Value, json};

use super::request::SIGNATURES;

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

impl<'a> VersionStatus<'a> {
    /// The version with this state (`State::name`) and reason.
    pub(super) fn new(version: u64, state: &str, reason: Option<&'a str>) -> Self {
        let (state, error_code) = match state {
            "ready" => ("AVAILABLE", "OK"),
            "loading" => ("LOADING", "OK"),
            "failed" => ("END", "UNKNOWN"),
            _ => ("END", "OK"),
        };
        Self {
            version,
            state,
            status: Code {
                error_code,
                error_message: reason.filter(|_| error_code != "OK").unwrap_or_default(),
            },
        }
    }
}

/// The metadata of a version whose network has this many classes.
pub(super) fn metadata(name: &str, version: u64, classes: usize) -> Value {
    let tensor = |name: &str, dtype: &str, shape: &[i64]| {
        let dim = |size: &i64| json!({"size": size.to_string(), "name": ""});
        let shape: Vec<Value> = shape.iter().map(dim).collect();
        json!({
            "dtype": dtype,
            "tensor_shape": {"dim": shape, "unknown_rank": false},
            "name": format!("{name}:0"),
        })
    };
    let classes = i64::try_from(classes).unwrap_or(-1);
    let predict = json!({
        "inputs": {"image": tensor("image", "DT_STRING", &[-1])},
        "outputs": {"probabilities": tensor("probabilities", "DT_FLOAT", &[-1, classes])},
        "method_name": "tensorflow/serving/predict",
    });
    let classify = json!({
        "inputs": {"inputs": tensor("examples", "DT_STRING", &[-1])},
        "outputs": {
            "classes": tensor("classes", "DT_STRING", &[-1, -1]),
            "scores": tensor("scores", "DT_FLOAT", &[-1, -1]),
        },
        "method_name": "tensorflow/serving/classify",
    });
    let [default, named, examples] = SIGNATURES;
    json!({
        "model_spec": {
            "name": name,
            "signature_name": "",
            "version": version.to_string(),
        },
        "metadata": {
            "signature_def": {
                "signature_def": {default: predict.clone(), named: predict, examples: classify},
            },
        },
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

    #[test]
    fn a_status_lists_the_versions_in_the_form_of_protobuf() {
        let status = Status {
            model_version_status: vec![
                VersionStatus::new(1, "ready", None),
                VersionStatus::new(2, "failed", Some("no such file")),
            ],
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
