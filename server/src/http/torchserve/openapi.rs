//! The description that TorchServe returns for `OPTIONS /`: OpenAPI 3.0.1 with the
//! paths of a listener.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::response::printed;
use crate::http::problem::Problem;

/// A route: its path, its method, its operation id and what it does.
type Route = (&'static str, &'static str, &'static str, &'static str);

const INFERENCE: [Route; 7] = [
    ("/", "options", "apiDescription", "Get openapi description."),
    ("/ping", "get", "ping", "Get the health of the server."),
    (
        "/predictions/{model_name}",
        "post",
        "predictions",
        "Classify an image with the default version of a model.",
    ),
    (
        "/predictions/{model_name}/{model_version}",
        "post",
        "version_predictions",
        "Classify an image with a version of a model.",
    ),
    (
        "/explanations/{model_name}",
        "post",
        "explanations",
        "Get the class activation map of an image.",
    ),
    (
        "/v1/models/{model_name}:predict",
        "post",
        "kserve_predictions",
        "Classify the images of a KServe request.",
    ),
    (
        "/api-description",
        "get",
        "api-description",
        "Get openapi description.",
    ),
];

const MANAGEMENT: [Route; 7] = [
    ("/", "options", "apiDescription", "Get openapi description."),
    ("/models", "get", "listModels", "List the models."),
    ("/models", "post", "registerModel", "Register a model."),
    (
        "/models/{model_name}",
        "get",
        "describeModel",
        "Describe the default version of a model.",
    ),
    (
        "/models/{model_name}",
        "put",
        "setAutoScale",
        "Set the workers of a model.",
    ),
    (
        "/models/{model_name}",
        "delete",
        "unregisterModel",
        "Unregister a model.",
    ),
    (
        "/models/{model_name}/{model_version}/set-default",
        "put",
        "setDefault",
        "Set the default version of a model.",
    ),
];

/// The routes of the public listener.
pub(super) async fn inference() -> Result<Response, Problem> {
    printed(StatusCode::OK, &document(&INFERENCE))
}

/// The routes of the admin listener.
pub(super) async fn management() -> Result<Response, Problem> {
    printed(StatusCode::OK, &document(&MANAGEMENT))
}

fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for (path, method, id, description) in routes {
        let entry = paths.entry(*path).or_insert_with(|| json!({}));
        entry[method] = operation(path, id, description);
    }
    json!({
        "openapi": "3.0.1",
        "info": {
            "title": "TorchServe APIs",
            "description": "The routes of TorchServe, served by resnet",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
    })
}

fn operation(path: &str, id: &str, description: &str) -> Value {
    let names = ["model_name", "model_version"].into_iter();
    let names = names.filter(|name| path.contains(&format!("{{{name}}}")));
    let parameter =
        |name| json!({"in": "path", "name": name, "required": true, "schema": {"type": "string"}});
    let parameters: Vec<Value> = names.map(parameter).collect();
    let error = json!({
        "description": "The request failed.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["code", "type", "message"],
            "properties": {
                "code": {"type": "integer"},
                "type": {"type": "string"},
                "message": {"type": "string"},
            },
        }}},
    });
    let mut operation = json!({
        "description": description,
        "operationId": id,
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}, "default": error},
    });
    if id.ends_with("predictions") || id == "explanations" {
        operation["requestBody"] = json!({
            "description": "The bytes of an image.",
            "required": true,
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        });
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_describes_its_routes() {
        let inference = document(&INFERENCE);
        assert_eq!(inference["openapi"], "3.0.1");
        let predictions = &inference["paths"]["/predictions/{model_name}/{model_version}"]["post"];
        assert_eq!(predictions["parameters"][1]["name"], "model_version");
        assert!(predictions["requestBody"].is_object());
        let models = &document(&MANAGEMENT)["paths"]["/models"];
        assert!(models["get"].is_object() && models["post"].is_object());
    }
}
