//! The gRPC services through a real client and listener.

mod health;
mod infer;
mod reflection;
mod repository;
mod stream;
