//! TensorFlow Serving's API apart from its transport: which version a request means,
//! the signatures of a model, the states of its versions, and the texts of errors.
//! REST (`http/tfserving/`) and gRPC (`grpc/tfserving/`) use it.

pub mod failure;
pub mod signature;
pub mod state;
pub mod version;
