//! TorchServe's API apart from its transport: the answers of its image classifier,
//! the management of models, and the texts of errors. REST (`http/torchserve/`) and
//! gRPC (`grpc/torchserve/`) use it.

pub mod answer;
pub mod describe;
pub mod failure;
pub mod management;
pub mod version;
