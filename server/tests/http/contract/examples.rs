//! The examples of `openapi.yaml` and of the files in `docs/openapi/`, one per
//! protocol or group of protocols.

use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use boon::{Compiler, Draft, Schemas};
use resnet_server::http::protocol::{Paths, Protocols};
use serde_json::{Value, json};

/// A description of an API.
pub(crate) struct Contract {
    pub(crate) file: &'static str,
    /// The names of its protocols, as `--protocols` takes them.
    protocols: &'static str,
    pub(crate) document: Value,
}

/// Read while the test runs, so that a change of a file needs no compilation.
fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

pub(crate) static CONTRACTS: LazyLock<Vec<Contract>> = LazyLock::new(|| {
    let files = [
        ("openapi.yaml", "native"),
        ("docs/openapi/oip.yaml", "oip"),
        ("docs/openapi/torchserve.yaml", "torchserve"),
        ("docs/openapi/tensorflow-serving.yaml", "tensorflow-serving"),
        ("docs/openapi/huggingface.yaml", "huggingface"),
        ("docs/openapi/containers.yaml", "sagemaker,vertex-ai"),
        ("docs/openapi/photoprism.yaml", "photoprism"),
        ("docs/openapi/roboflow.yaml", "roboflow"),
        ("docs/openapi/deepstack.yaml", "deepstack"),
    ];
    let contract = |(file, protocols)| Contract {
        file,
        protocols,
        document: read(file),
    };
    files.map(contract).into()
});

/// The contract of the native API.
pub(crate) fn native() -> &'static Contract {
    &CONTRACTS[0]
}

/// An operation of a contract.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) contract: &'static Contract,
    pub(crate) path: &'static str,
    pub(crate) method: &'static str,
    /// The path item, which may have parameters of all its operations.
    item: &'static Value,
    pub(crate) body: &'static Value,
}

/// An example of a response, and its place in the contract.
pub(crate) struct Example {
    pub(crate) contract: &'static Contract,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) schema: &'static Value,
    pub(crate) headers: Vec<&'static str>,
    pub(crate) example: &'static Value,
}

impl Contract {
    /// The protocols of a server that has only this API besides the native one.
    pub(crate) fn protocols(&self) -> Protocols {
        let protocols = Protocols::parse(self.protocols).unwrap();
        match self.protocols.contains("vertex-ai") {
            true => protocols.with_vertex_paths(Paths {
                health: Some("/vertex/health".into()),
                predict: Some("/vertex/predict".into()),
            }),
            false => protocols,
        }
    }

    /// Resolves a `$ref`.
    pub(crate) fn resolve(&'static self, value: &'static Value) -> &'static Value {
        match value["$ref"].as_str() {
            Some(reference) => self
                .document
                .pointer(reference.trim_start_matches('#'))
                .unwrap_or_else(|| panic!("{}: {reference} does not exist", self.file)),
            None => value,
        }
    }

    /// Its operations.
    pub(crate) fn operations(&'static self) -> impl Iterator<Item = Operation> {
        const METHODS: [&str; 5] = ["get", "post", "put", "delete", "options"];
        object(&self.document["paths"]).flat_map(move |(path, item)| {
            let methods = object(item).filter(|(method, _)| METHODS.contains(method));
            methods.map(move |(method, body)| Operation {
                contract: self,
                path,
                method,
                item,
                body,
            })
        })
    }
}

impl Operation {
    /// Its path, with the examples of its parameters.
    pub(crate) fn example_path(&self) -> String {
        let of = |holder: &'static Value| holder["parameters"].as_array().into_iter().flatten();
        let mut path = self.path.to_owned();
        for parameter in of(self.item).chain(of(self.body)) {
            let parameter = self.contract.resolve(parameter);
            let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
            let example = &parameter["example"];
            let text = example
                .as_str()
                .map_or(example.to_string(), ToOwned::to_owned);
            path = path.replace(&name, &text);
        }
        path
    }

    /// The examples of a response. A successful content without any counts as one
    /// example whose body is not compared.
    fn examples_of(&self, status: u16, response: &'static Value) -> Vec<Example> {
        let response = self.contract.resolve(response);
        let always = |header: &&'static Value| self.contract.resolve(header)["required"] != false;
        let headers = object(&response["headers"]).filter(|(_, header)| always(header));
        let headers: Vec<&str> = headers.map(|(name, _)| name).collect();
        let mut examples = Vec::new();
        for (content_type, content) in object(&response["content"]) {
            let mut found: Vec<(&str, &Value)> = object(&content["examples"]).collect();
            if found.is_empty() && status == 200 {
                found.push(("", &Value::Null));
            }
            let (file, method) = (self.contract.file, self.method);
            examples.extend(found.into_iter().map(|(name, example)| Example {
                contract: self.contract,
                name: format!("{file}: {method} {} {status} {name}", self.path),
                path: match example["x-request"]["path"].as_str() {
                    Some(path) => path.to_owned(),
                    None => self.example_path(),
                },
                method: example["x-request"]["method"].as_str().unwrap_or(method),
                status,
                content_type,
                schema: &content["schema"],
                headers: headers.clone(),
                example,
            }));
        }
        examples
    }
}

pub(crate) fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| (key.as_str(), value))
}

/// The examples of all contracts. Those of a shared response are sent once, to the
/// first operation that has it.
pub(crate) fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    for contract in CONTRACTS.iter() {
        let mut seen = HashSet::new();
        for operation in contract.operations() {
            for (status, response) in object(&operation.body["responses"]) {
                let shared = response["$ref"].as_str();
                let numbered = status.parse().ok();
                if let Some(status) = numbered
                    && shared.is_none_or(|reference| seen.insert(reference))
                {
                    all.extend(operation.examples_of(status, response));
                }
            }
        }
    }
    let anywhere = Operation {
        contract: native(),
        path: "/",
        method: "get",
        item: &Value::Null,
        body: &Value::Null,
    };
    for (name, status) in [("NotFound", 404), ("MethodNotAllowed", 405)] {
        let response = &native().document["components"]["responses"][name];
        all.extend(anywhere.examples_of(status, response));
    }
    all
}

/// An example of a request: its operation, its content type, its name and itself.
pub(crate) type Sent = (Operation, &'static str, &'static str, &'static Value);

/// The examples of the requests of a contract. Those of a shared body are sent once.
pub(crate) fn requests(contract: &'static Contract) -> Vec<Sent> {
    let mut all = Vec::new();
    let mut seen = HashSet::new();
    for operation in contract.operations() {
        let body = &operation.body["requestBody"];
        let shared = body["$ref"].as_str();
        if shared.is_none_or(|reference| seen.insert(reference)) {
            for (content_type, form) in object(&contract.resolve(body)["content"]) {
                let examples = object(&form["examples"]);
                all.extend(
                    examples.map(|(name, example)| (operation, content_type, name, example)),
                );
            }
        }
    }
    all
}

/// Checks JSON against a schema of a contract.
pub(crate) fn check(contract: &Contract, schema: &Value, found: &Value, name: &str) {
    let document = json!({"allOf": [schema], "components": contract.document["components"]});
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V2020_12);
    compiler.add_resource("/schema.json", document).unwrap();
    let index = compiler.compile("/schema.json", &mut schemas).unwrap();
    let valid = schemas.validate(found, index);
    assert!(valid.is_ok(), "{name}: {:#}\n{found}", valid.unwrap_err());
}
