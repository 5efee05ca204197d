//! A safe interface to cuDNN's graph API: a convolution and its epilogue as one
//! execution plan. Only `descriptor` calls cuDNN.

mod convolution;
mod descriptor;
mod graph;

pub(super) use convolution::{BoundPlan, ConvolutionOperands, EngineConfigs, ExecutionPlan};
pub(super) use descriptor::{CudnnDeviceProperties, Handle, PlanTarget};
pub(super) use graph::Convolution;
