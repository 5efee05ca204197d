//! The Open Inference Protocol over REST.

mod errors;
mod infer;
mod server;
mod tensors;
