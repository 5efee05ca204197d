//! The Open Inference Protocol, version 2, with Triton's extensions, apart from its
//! transport: tensors in, tensors out, and what is said about models. REST
//! (`http/oip/`) and gRPC use it.

pub mod config;
pub mod failure;
pub mod images;
pub mod metadata;
pub mod outputs;
pub mod policy;
pub mod statistics;
pub mod tensor;
