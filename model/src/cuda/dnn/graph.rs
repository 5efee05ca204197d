//! A convolution, residual add, bias add and ReLU as one cuDNN operation graph.
//! For this order, with channels last, cuDNN has precompiled engines that need
//! no workspace.
//!
//! ```text
//! x, w -> convolution -> [+ z] -> + b -> [max(., 0)] -> y
//! ```
//!
//! Only x, w, z, b and y are in device memory. The values between the operations
//! are virtual tensors in f32.

use std::fmt;

use candle_core::cuda_backend::cudarc::cudnn::sys;
use sys::cudnnBackendAttributeName_t as Attr;
use sys::cudnnBackendDescriptorType_t as DescriptorType;
use sys::cudnnDataType_t as Data;
use sys::cudnnPointwiseMode_t as Pointwise;

use super::descriptor::{Descriptor, PlanTarget};
use crate::cuda::error::CudaError;
use crate::dtype::Dtype;

/// Unique IDs of the tensors in the graph.
pub(super) const X: i64 = 1;
pub(super) const W: i64 = 2;
pub(super) const Z: i64 = 3;
pub(super) const B: i64 = 4;
pub(super) const Y: i64 = 5;
/// First ID of the virtual tensors.
const VIRTUAL: i64 = 10;
/// Alignment of every buffer and tensor in bytes.
const ALIGNMENT: i64 = 16;

/// The shapes of a convolution, and its epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cuda) struct Convolution {
    /// Batch size.
    pub(in crate::cuda) n: usize,
    /// Input channels (padded), height and width.
    pub(in crate::cuda) input: [usize; 3],
    /// Output channels (padded), height and width.
    pub(in crate::cuda) output: [usize; 3],
    /// Kernel size.
    pub(in crate::cuda) kernel: usize,
    /// Stride.
    pub(in crate::cuda) stride: usize,
    /// Zero padding on each side.
    pub(in crate::cuda) padding: usize,
    /// Groups of channels.
    pub(in crate::cuda) groups: usize,
    /// Whether a residual is added.
    pub(in crate::cuda) residual: bool,
    /// Whether ReLU is applied.
    pub(in crate::cuda) relu: bool,
}

impl Convolution {
    /// Number of filter values.
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

/// The operation graph of a convolution, with the descriptors it refers to.
pub(super) struct OperationGraph {
    /// Every descriptor that the graph refers to, directly or indirectly.
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) graph: Descriptor,
}

/// The descriptor of a tensor `[n, c, h, w]`, channels last.
fn tensor(
    id: i64,
    data: Data,
    dims: [usize; 4],
    is_virtual: bool,
) -> Result<Descriptor, CudaError> {
    let [n, c, h, w] = dims.map(|d| d as i64);
    let mut tensor = Descriptor::new(DescriptorType::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?;
    tensor.set(Attr::CUDNN_ATTR_TENSOR_DATA_TYPE, &[data])?;
    tensor.set(Attr::CUDNN_ATTR_TENSOR_DIMENSIONS, &[n, c, h, w])?;
    tensor.set(Attr::CUDNN_ATTR_TENSOR_STRIDES, &[h * w * c, 1, w * c, c])?;
    tensor.set(Attr::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[id])?;
    tensor.set(Attr::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[ALIGNMENT])?;
    if is_virtual {
        tensor.set(Attr::CUDNN_ATTR_TENSOR_IS_VIRTUAL, &[true])?;
    }
    tensor.finalize()?;
    Ok(tensor)
}

fn data(dtype: Dtype) -> Data {
    match dtype {
        Dtype::F16 => Data::CUDNN_DATA_HALF,
        Dtype::Bf16 => Data::CUDNN_DATA_BFLOAT16,
        // int8 is rejected when a network is loaded
        Dtype::F32 | Dtype::Int8 => Data::CUDNN_DATA_FLOAT,
    }
}

impl OperationGraph {
    pub(super) fn new(
        target: PlanTarget,
        c: &Convolution,
        dtype: Dtype,
    ) -> Result<Self, CudaError> {
        let (data, float) = (data(dtype), Data::CUDNN_DATA_FLOAT);
        let [cin, h, w] = c.input;
        let [cout, p, q] = c.output;
        let output = [c.n, cout, p, q];
        // the epilogue: each operation, and the tensor that it adds
        let mut epilogue = Vec::new();
        if c.residual {
            epilogue.push((Pointwise::CUDNN_POINTWISE_ADD, Some((Z, output))));
        }
        epilogue.push((Pointwise::CUDNN_POINTWISE_ADD, Some((B, [1, cout, 1, 1]))));
        if c.relu {
            epilogue.push((Pointwise::CUDNN_POINTWISE_RELU_FWD, None));
        }

        let mut descriptors = Vec::new();
        let mut operations = Vec::new();
        let x = tensor(X, data, [c.n, cin, h, w], false)?;
        let filter = [cout, cin / c.groups, c.kernel, c.kernel];
        let weight = tensor(W, data, filter, false)?;
        let mut last = tensor(VIRTUAL, float, output, true)?;
        let geometry = geometry(c)?;
        let mut operation = Descriptor::new(
            DescriptorType::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
        )?;
        for (name, part) in [
            (
                Attr::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                &geometry,
            ),
            (Attr::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, &x),
            (Attr::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, &weight),
            (Attr::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, &last),
        ] {
            operation.set(name, &[part.reference()])?;
        }
        operation.set(
            Attr::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            &[1f32],
        )?;
        operation.set(Attr::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, &[0f32])?;
        operation.finalize()?;
        operations.push(operation);
        descriptors.extend([x, weight, geometry]);

        let count = epilogue.len();
        for (at, (mode, operand)) in epilogue.into_iter().enumerate() {
            let output_tensor = if at + 1 == count {
                tensor(Y, data, output, false)?
            } else {
                tensor(VIRTUAL + 1 + at as i64, float, output, true)?
            };
            let mut pointwise =
                Descriptor::new(DescriptorType::CUDNN_BACKEND_POINTWISE_DESCRIPTOR)?;
            pointwise.set(Attr::CUDNN_ATTR_POINTWISE_MODE, &[mode])?;
            pointwise.set(Attr::CUDNN_ATTR_POINTWISE_MATH_PREC, &[float])?;
            pointwise.finalize()?;
            let kind = DescriptorType::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
            let mut operation = Descriptor::new(kind)?;
            operation.set(
                Attr::CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
                &[pointwise.reference()],
            )?;
            operation.set(
                Attr::CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                &[last.reference()],
            )?;
            if let Some((id, dims)) = operand {
                let other = tensor(id, data, dims, false)?;
                operation.set(
                    Attr::CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                    &[other.reference()],
                )?;
                descriptors.push(other);
            }
            operation.set(
                Attr::CUDNN_ATTR_OPERATION_POINTWISE_YDESC,
                &[output_tensor.reference()],
            )?;
            operation.finalize()?;
            operations.push(operation);
            descriptors.extend([pointwise, std::mem::replace(&mut last, output_tensor)]);
        }
        descriptors.push(last);

        let references: Vec<_> = operations.iter().map(Descriptor::reference).collect();
        let mut graph = Descriptor::new(DescriptorType::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?;
        let handle = Some(Attr::CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
        graph.set_target(target, handle, None)?;
        graph.set(Attr::CUDNN_ATTR_OPERATIONGRAPH_OPS, &references)?;
        graph.finalize()?;
        descriptors.extend(operations);
        Ok(Self { descriptors, graph })
    }
}

/// The convolution descriptor: stride, padding and compute type.
fn geometry(c: &Convolution) -> Result<Descriptor, CudaError> {
    let both = |side: usize| [side as i64; 2];
    let mut geometry = Descriptor::new(DescriptorType::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?;
    geometry.set(
        Attr::CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
        &[Data::CUDNN_DATA_FLOAT],
    )?;
    geometry.set(
        Attr::CUDNN_ATTR_CONVOLUTION_CONV_MODE,
        &[sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION],
    )?;
    geometry.set(Attr::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2i64])?;
    geometry.set(Attr::CUDNN_ATTR_CONVOLUTION_DILATIONS, &both(1))?;
    geometry.set(Attr::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &both(c.stride))?;
    geometry.set(Attr::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &both(c.padding))?;
    geometry.set(Attr::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &both(c.padding))?;
    geometry.finalize()?;
    Ok(geometry)
}
