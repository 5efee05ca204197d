//! A convolution, the sum with a residual, the bias and the ReLU as one graph
//! of cuDNN's, in this order: with it, and channels last, cuDNN has engines
//! that are compiled already and need no workspace.
//!
//! ```text
//! x, w -> convolution -> [+ z] -> + b -> [max(., 0)] -> y
//! ```
//!
//! Only x, w, z, b and y are in memory; what lies between stays in f32.

use std::fmt;

use candle_core::cuda_backend::cudarc::cudnn::sys;
use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendDescriptorType_t as Kind;
use sys::cudnnDataType_t as Data;
use sys::cudnnPointwiseMode_t as Pointwise;

use super::descriptor::{Descriptor, Target};
use crate::cuda::fault::Fault;
use crate::cuda::number::Number;

/// Tensors by the names they have in the graph.
pub(super) const X: i64 = 1;
pub(super) const W: i64 = 2;
pub(super) const Z: i64 = 3;
pub(super) const B: i64 = 4;
pub(super) const Y: i64 = 5;
const VIRTUAL: i64 = 10;
/// Every buffer and map starts at a multiple of so many bytes.
const ALIGNMENT: i64 = 16;

/// What a plan computes: shapes and what follows the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cuda) struct Convolution {
    /// Images.
    pub(in crate::cuda) n: usize,
    /// Channels, height and width read, channels padded.
    pub(in crate::cuda) input: [usize; 3],
    /// Channels, height and width made.
    pub(in crate::cuda) output: [usize; 3],
    /// Side of the kernel.
    pub(in crate::cuda) kernel: usize,
    /// Step between outputs.
    pub(in crate::cuda) stride: usize,
    /// Zeros on each side.
    pub(in crate::cuda) padding: usize,
    /// Independent groups of channels.
    pub(in crate::cuda) groups: usize,
    /// Whether a residual is added.
    pub(in crate::cuda) residual: bool,
    /// Whether negative values become zero.
    pub(in crate::cuda) relu: bool,
}

impl Convolution {
    /// Values of its weights.
    pub(in crate::cuda) fn weights(&self) -> usize {
        self.output[0] * self.kernel * self.kernel * self.input[0] / self.groups
    }
}

impl fmt::Display for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [c, h, w] = self.input;
        let [k, p, q] = self.output;
        let (side, stride, groups) = (self.kernel, self.stride, self.groups);
        let n = self.n;
        write!(
            f,
            "n{n} {c}x{h}x{w} {side}x{side}/{stride} g{groups} {k}x{p}x{q}"
        )?;
        f.write_str(if self.residual { " add" } else { "" })?;
        f.write_str(if self.relu { " relu" } else { "" })
    }
}

/// The graph of a convolution with the descriptors it refers to.
pub(super) struct Graph {
    /// In an order in which each only refers to those before it.
    pub(super) parts: Vec<Descriptor>,
    pub(super) graph: Descriptor,
}

/// A tensor `[n, c, h, w]`, channels last.
fn tensor(id: i64, data: Data, dims: [usize; 4], is_virtual: bool) -> Result<Descriptor, Fault> {
    let [n, c, h, w] = dims.map(|d| d as i64);
    let mut tensor = Descriptor::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?;
    tensor.set(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, &[data])?;
    tensor.set(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &[n, c, h, w])?;
    tensor.set(Name::CUDNN_ATTR_TENSOR_STRIDES, &[h * w * c, 1, w * c, c])?;
    tensor.set(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[id])?;
    tensor.set(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[ALIGNMENT])?;
    if is_virtual {
        tensor.set(Name::CUDNN_ATTR_TENSOR_IS_VIRTUAL, &[true])?;
    }
    tensor.finalize()?;
    Ok(tensor)
}

fn data(number: Number) -> Data {
    match number {
        Number::F16 => Data::CUDNN_DATA_HALF,
        Number::Bf16 => Data::CUDNN_DATA_BFLOAT16,
        Number::F32 => Data::CUDNN_DATA_FLOAT,
    }
}

impl Graph {
    pub(super) fn new(target: Target, c: &Convolution, number: Number) -> Result<Self, Fault> {
        let (data, float) = (data(number), Data::CUDNN_DATA_FLOAT);
        let [cin, h, w] = c.input;
        let [cout, p, q] = c.output;
        let output = [c.n, cout, p, q];
        // what follows the convolution, and the tensor that each step adds
        let mut following = Vec::new();
        if c.residual {
            following.push((Pointwise::CUDNN_POINTWISE_ADD, Some((Z, output))));
        }
        following.push((Pointwise::CUDNN_POINTWISE_ADD, Some((B, [1, cout, 1, 1]))));
        if c.relu {
            following.push((Pointwise::CUDNN_POINTWISE_RELU_FWD, None));
        }

        let mut parts = Vec::new();
        let mut operations = Vec::new();
        let x = tensor(X, data, [c.n, cin, h, w], false)?;
        let sides = [cout, cin / c.groups, c.kernel, c.kernel];
        let weight = tensor(W, data, sides, false)?;
        let mut last = tensor(VIRTUAL, float, output, true)?;
        let geometry = geometry(c)?;
        let mut operation =
            Descriptor::new(Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)?;
        for (name, part) in [
            (
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                &geometry,
            ),
            (Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, &x),
            (Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, &weight),
            (Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, &last),
        ] {
            operation.set(name, &[part.reference()])?;
        }
        operation.set(
            Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            &[1f32],
        )?;
        operation.set(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, &[0f32])?;
        operation.finalize()?;
        operations.push(operation);
        parts.extend([x, weight, geometry]);

        let count = following.len();
        for (at, (mode, added)) in following.into_iter().enumerate() {
            let made = if at + 1 == count {
                tensor(Y, data, output, false)?
            } else {
                tensor(VIRTUAL + 1 + at as i64, float, output, true)?
            };
            let mut point = Descriptor::new(Kind::CUDNN_BACKEND_POINTWISE_DESCRIPTOR)?;
            point.set(Name::CUDNN_ATTR_POINTWISE_MODE, &[mode])?;
            point.set(Name::CUDNN_ATTR_POINTWISE_MATH_PREC, &[float])?;
            point.finalize()?;
            let kind = Kind::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
            let mut operation = Descriptor::new(kind)?;
            operation.set(
                Name::CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
                &[point.reference()],
            )?;
            operation.set(
                Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                &[last.reference()],
            )?;
            if let Some((id, dims)) = added {
                let other = tensor(id, data, dims, false)?;
                operation.set(
                    Name::CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                    &[other.reference()],
                )?;
                parts.push(other);
            }
            operation.set(
                Name::CUDNN_ATTR_OPERATION_POINTWISE_YDESC,
                &[made.reference()],
            )?;
            operation.finalize()?;
            operations.push(operation);
            parts.extend([point, std::mem::replace(&mut last, made)]);
        }
        parts.push(last);

        let references: Vec<_> = operations.iter().map(Descriptor::reference).collect();
        let mut graph = Descriptor::new(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?;
        let handle = Some(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
        graph.set_target(target, handle, None)?;
        graph.set(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &references)?;
        graph.finalize()?;
        parts.extend(operations);
        Ok(Self { parts, graph })
    }
}

/// How the kernel moves over the map.
fn geometry(c: &Convolution) -> Result<Descriptor, Fault> {
    let both = |side: usize| [side as i64; 2];
    let mut geometry = Descriptor::new(Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?;
    geometry.set(
        Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
        &[Data::CUDNN_DATA_FLOAT],
    )?;
    geometry.set(
        Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE,
        &[sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION],
    )?;
    geometry.set(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2i64])?;
    geometry.set(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, &both(1))?;
    geometry.set(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &both(c.stride))?;
    geometry.set(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &both(c.padding))?;
    geometry.set(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &both(c.padding))?;
    geometry.finalize()?;
    Ok(geometry)
}
