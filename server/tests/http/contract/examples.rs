//! The examples of `openapi.yaml`.

use std::sync::LazyLock;

use serde_json::Value;

pub(crate) static CONTRACT: LazyLock<Value> = LazyLock::new(|| {
    serde_norway::from_str(include_str!("../../../../openapi.yaml")).expect("openapi.yaml is YAML")
});

/// An example of a response, and its place in the contract.
pub(crate) struct Example<'a> {
    pub(crate) name: String,
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) headers: Vec<&'a str>,
    pub(crate) example: &'a Value,
}

/// Resolves a `$ref` of the contract.
fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => CONTRACT
            .pointer(reference.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{reference} does not exist")),
        None => value,
    }
}

pub(crate) fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| (key.as_str(), value))
}

/// The operations of the contract: path, method, operation.
pub(crate) fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    object(&CONTRACT["paths"]).flat_map(|(path, methods)| {
        object(methods).map(move |(method, operation)| (path, method, operation))
    })
}

/// The examples of a response. A content without any counts as one example
/// whose body is not compared.
fn examples_of(
    path: &'static str,
    method: &'static str,
    status: u16,
    response: &'static Value,
) -> Vec<Example<'static>> {
    let response = resolve(response);
    let mut examples = Vec::new();
    let always = |header: &&'static Value| resolve(header)["required"] != false;
    let headers = object(&response["headers"]).filter(|(_, header)| always(header));
    let headers: Vec<&str> = headers.map(|(name, _)| name).collect();
    for (content_type, content) in object(&response["content"]) {
        let mut found: Vec<(&str, &Value)> = object(&content["examples"]).collect();
        if found.is_empty() {
            found.push(("", &Value::Null));
        }
        examples.extend(found.into_iter().map(|(name, example)| Example {
            name: format!("{method} {path} {status} {name}"),
            path: example["x-request"]["path"].as_str().unwrap_or(path),
            method,
            status,
            content_type,
            headers: headers.clone(),
            example,
        }));
    }
    examples
}

pub(crate) fn examples() -> Vec<Example<'static>> {
    let mut all = Vec::new();
    for (path, method, operation) in operations() {
        for (status, response) in object(&operation["responses"]) {
            all.extend(examples_of(path, method, status.parse().unwrap(), response));
        }
    }
    for (name, status) in [("NotFound", 404), ("MethodNotAllowed", 405)] {
        let response = &CONTRACT["components"]["responses"][name];
        all.extend(examples_of("/", "get", status, response));
    }
    all
}
