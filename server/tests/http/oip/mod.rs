//! The Open Inference Protocol over REST.

mod errors;
mod infer;
mod mutations;
mod server;
mod tensors;
