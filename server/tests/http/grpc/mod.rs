//! gRPC over a connection: each service, health checks and reflection.

mod health;
mod infer;
mod mounting;
mod reflection;
mod repository;
mod stream;
mod tfserving;
mod tfserving_errors;
mod tfserving_requests;
mod torchserve;
mod torchserve_management;
