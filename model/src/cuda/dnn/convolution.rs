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
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::sys;
use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendDescriptorType_t as Kind;
use sys::cudnnDataType_t as Data;
use sys::cudnnPointwiseMode_t as Pointwise;

use super::descriptor::{Address, Descriptor, Handle, Target};
use crate::cuda::fault::Fault;
use crate::cuda::map::Map;
use crate::cuda::number::Number;

/// How many of an answer's engines are looked at.
const LOOKED_AT: usize = 24;
/// Tensors by the names they have in the graph.
const X: i64 = 1;
const W: i64 = 2;
const Z: i64 = 3;
const B: i64 = 4;
const Y: i64 = 5;
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

/// What a plan reads and writes.
pub(in crate::cuda) struct Operands<'a> {
    pub(in crate::cuda) x: &'a Map,
    /// Address of weights `[K, R, S, C / groups]`.
    pub(in crate::cuda) weight: u64,
    pub(in crate::cuda) residual: Option<&'a Map>,
    /// Address of `[K]`.
    pub(in crate::cuda) bias: u64,
    pub(in crate::cuda) y: &'a Map,
    /// Address of as many bytes as the plan's workspace.
    pub(in crate::cuda) workspace: u64,
}

/// The graph of a convolution with the descriptors it refers to.
struct Graph {
    /// In an order in which each only refers to those before it.
    parts: Vec<Descriptor>,
    graph: Descriptor,
}

/// A convolution's engines, best first as cuDNN expects.
pub(in crate::cuda) struct Engines {
    convolution: Convolution,
    configurations: Vec<Arc<Descriptor>>,
    graph: Arc<Graph>,
}

/// One engine, ready to run.
pub(in crate::cuda) struct Plan {
    // dropped before what it refers to
    plan: Descriptor,
    _configuration: Arc<Descriptor>,
    _graph: Arc<Graph>,
    convolution: Convolution,
    workspace: usize,
}

/// A plan with the addresses it runs over.
pub(in crate::cuda) struct Bound {
    pack: Descriptor,
    plan: Arc<Plan>,
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
    fn new(target: Target, c: &Convolution, number: Number) -> Result<Self, Fault> {
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

impl Engines {
    /// Asks cuDNN for the engines of a convolution.
    pub(in crate::cuda) fn new(
        target: Target,
        convolution: Convolution,
        number: Number,
    ) -> Result<Self, Fault> {
        use sys::cudnnBackendHeurMode_t::{CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
        let mut graph = Graph::new(target, &convolution, number)?;
        let mut configurations = Vec::new();
        for mode in [CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK] {
            let mut heuristic = Descriptor::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?;
            heuristic.set(
                Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                &[graph.graph.reference()],
            )?;
            heuristic.set(Name::CUDNN_ATTR_ENGINEHEUR_MODE, &[mode])?;
            let properties = Some(Name::CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
            heuristic.set_target(target, None, properties)?;
            heuristic.finalize()?;
            let found = heuristic.children(
                Name::CUDNN_ATTR_ENGINEHEUR_RESULTS,
                Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                LOOKED_AT,
            )?;
            for configuration in found {
                if number != Number::F32 || is_single_precision(&configuration)? {
                    configurations.push(Arc::new(configuration));
                }
            }
            graph.parts.push(heuristic);
        }
        Ok(Self {
            convolution,
            configurations,
            graph: Arc::new(graph),
        })
    }

    /// How many there are.
    pub(in crate::cuda) fn len(&self) -> usize {
        self.configurations.len()
    }

    /// Engine `index` as a plan; an error when it does not do after all, which
    /// is nothing unusual.
    pub(in crate::cuda) fn plan(&self, target: Target, index: usize) -> Result<Arc<Plan>, Fault> {
        let Some(configuration) = self.configurations.get(index) else {
            return Err(Fault::Internal(format!("no engine {index}")));
        };
        let mut plan = Descriptor::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?;
        let handle = Some(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
        let properties = Some(Name::CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
        plan.set_target(target, handle, properties)?;
        plan.set(
            Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
            &[configuration.reference()],
        )?;
        plan.finalize()?;
        let workspace = plan.integer(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?;
        Ok(Arc::new(Plan {
            plan,
            _configuration: Arc::clone(configuration),
            _graph: Arc::clone(&self.graph),
            convolution: self.convolution,
            workspace: usize::try_from(workspace).unwrap_or(0),
        }))
    }
}

/// Whether an engine keeps f32 as it is: none that rounds its inputs to TF32
/// for tensor cores.
fn is_single_precision(configuration: &Descriptor) -> Result<bool, Fault> {
    use sys::cudnnBackendNumericalNote_t as Note;
    let engines = configuration.children(
        Name::CUDNN_ATTR_ENGINECFG_ENGINE,
        Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
        1,
    )?;
    let mut notes = Vec::new();
    for engine in &engines {
        notes.extend(engine.notes()?);
    }
    let rounds = [
        Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE as u32,
        Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS as u32,
    ];
    Ok(!notes.iter().any(|note| rounds.contains(note)))
}

impl Plan {
    /// Bytes of workspace it needs.
    pub(in crate::cuda) fn workspace(&self) -> usize {
        self.workspace
    }

    /// The plan over these addresses.
    pub(in crate::cuda) fn bind(self: &Arc<Self>, operands: &Operands) -> Result<Bound, Fault> {
        let c = &self.convolution;
        let shape = |map: &Map| [map.channels, map.height, map.width];
        let fits = |map: &Map, dims: [usize; 3]| map.n == c.n && shape(map) == dims;
        let sound = fits(operands.x, c.input)
            && fits(operands.y, c.output)
            && operands.residual.is_some() == c.residual
            && operands.residual.is_none_or(|z| fits(z, c.output));
        if !sound {
            return Err(Fault::Internal(format!("{c} is given other maps")));
        }
        let mut ids = vec![X, W, B, Y];
        let mut addresses = vec![operands.x.at, operands.weight, operands.bias, operands.y.at];
        if let Some(residual) = operands.residual {
            ids.push(Z);
            addresses.push(residual.at);
        }
        let addresses: Vec<_> = addresses.into_iter().map(Address).collect();
        let mut pack = Descriptor::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?;
        pack.set(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &ids)?;
        pack.set(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &addresses)?;
        pack.set(
            Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
            &[Address(operands.workspace)],
        )?;
        pack.finalize()?;
        Ok(Bound {
            pack,
            plan: Arc::clone(self),
        })
    }
}

impl Bound {
    /// Queues it on the handle's stream.
    pub(in crate::cuda) fn run(&self, handle: &Handle) -> Result<(), Fault> {
        // SAFETY: the maps' shapes were checked by `bind`, the weights and the
        // workspace are made from the same step (`weights`, `lane`), and all
        // of them live in the lane, which waits for its stream at its end.
        unsafe { handle.execute(&self.plan.plan, &self.pack) }
    }
}
