//! `GET /model`: what is loaded.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use weights::Recipe;

use crate::network::Network;
use crate::problem::Problem;
use crate::service::Service;

#[derive(Serialize)]
struct ModelBody<'a> {
    name: &'a str,
    architecture: &'a str,
    parameters: u64,
    multiply_adds: u64,
    input: Input<'a>,
    device: &'a str,
    dtype: &'a str,
    isa: &'a str,
    digest: &'a str,
    classes: usize,
    labels: Vec<Class<'a>>,
}

#[derive(Serialize)]
struct Input<'a> {
    width: usize,
    height: usize,
    channels: &'static str,
    recipe: &'a Recipe,
}

#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    wnid: Option<&'a str>,
    label: &'a str,
}

pub(super) async fn model(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let body = describe(service.ready()?.network());
    let json = serde_json::to_vec(&body).map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

fn describe(network: &dyn Network) -> ModelBody<'_> {
    let card = network.card();
    let labels = network.labels().iter().enumerate();
    ModelBody {
        name: &card.name,
        architecture: &card.architecture,
        parameters: card.parameters,
        multiply_adds: card.multiply_adds,
        input: Input {
            width: card.input_size,
            height: card.input_size,
            channels: "RGB",
            recipe: network.recipe(),
        },
        device: &card.device,
        dtype: &card.dtype,
        isa: &card.isa,
        digest: &card.digest,
        classes: card.classes,
        labels: labels
            .map(|(index, label)| Class {
                index,
                wnid: label.wnid.as_deref(),
                label: &label.name,
            })
            .collect(),
    }
}
