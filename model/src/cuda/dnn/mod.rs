//! cuDNN's graphs, safely: a convolution with all that follows it as one plan.
//! `descriptor` is the only file that calls cuDNN.

mod convolution;
mod descriptor;
mod graph;

pub(super) use convolution::{Bound, Engines, Operands, Plan};
pub(super) use descriptor::{Handle, Properties, Target};
pub(super) use graph::Convolution;
