//! Engine configurations and execution plans of a convolution's graph, and
//! execution plans bound to device addresses.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::sys;
use sys::cudnnBackendAttributeName_t as Attr;
use sys::cudnnBackendDescriptorType_t as DescriptorType;

use super::descriptor::{Descriptor, DevicePointer, Handle, PlanTarget};
use super::graph::{B, Convolution, OperationGraph, W, X, Y, Z};
use crate::cuda::error::CudaError;
use crate::cuda::tensor::DeviceTensor;
use crate::dtype::Dtype;

/// Limit of engine configurations read per heuristic mode.
const CONFIGS_PER_MODE: usize = 24;

/// The buffers that a plan reads and writes.
pub(in crate::cuda) struct ConvolutionOperands<'a> {
    pub(in crate::cuda) x: &'a DeviceTensor,
    /// Device address of the filters `[K, R, S, C / groups]`.
    pub(in crate::cuda) weight: u64,
    pub(in crate::cuda) residual: Option<&'a DeviceTensor>,
    /// Device address of the bias `[K]`.
    pub(in crate::cuda) bias: u64,
    pub(in crate::cuda) y: &'a DeviceTensor,
    /// Device address of the workspace, at least [`ExecutionPlan::workspace`] bytes.
    pub(in crate::cuda) workspace: u64,
}

/// The engine configurations of a convolution, fastest first by cuDNN's
/// heuristics.
pub(in crate::cuda) struct EngineConfigs {
    convolution: Convolution,
    configurations: Vec<Arc<Descriptor>>,
    graph: Arc<OperationGraph>,
}

/// An execution plan: one engine configuration, finalized.
pub(in crate::cuda) struct ExecutionPlan {
    // declared first, so that it is dropped before the descriptors it refers to
    plan: Descriptor,
    _configuration: Arc<Descriptor>,
    _graph: Arc<OperationGraph>,
    convolution: Convolution,
    engine: usize,
    workspace: usize,
}

/// An execution plan with the device addresses it runs on (cuDNN's variant
/// pack).
pub(in crate::cuda) struct BoundPlan {
    pack: Descriptor,
    plan: Arc<ExecutionPlan>,
}

impl EngineConfigs {
    /// Queries cuDNN's heuristics for a convolution. In f32, engines that round
    /// their inputs to TF32 are excluded.
    pub(in crate::cuda) fn new(
        target: PlanTarget,
        convolution: Convolution,
        dtype: Dtype,
    ) -> Result<Self, CudaError> {
        use sys::cudnnBackendHeurMode_t::{CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
        let mut graph = OperationGraph::new(target, &convolution, dtype)?;
        let mut configurations = Vec::new();
        for mode in [CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK] {
            let mut heuristic =
                Descriptor::new(DescriptorType::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?;
            heuristic.set(
                Attr::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                &[graph.graph.reference()],
            )?;
            heuristic.set(Attr::CUDNN_ATTR_ENGINEHEUR_MODE, &[mode])?;
            let properties = Some(Attr::CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
            heuristic.set_target(target, None, properties)?;
            heuristic.finalize()?;
            let found = heuristic.children(
                Attr::CUDNN_ATTR_ENGINEHEUR_RESULTS,
                DescriptorType::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                CONFIGS_PER_MODE,
            )?;
            for configuration in found {
                if dtype != Dtype::F32 || is_single_precision(&configuration)? {
                    configurations.push(Arc::new(configuration));
                }
            }
            graph.descriptors.push(heuristic);
        }
        Ok(Self {
            convolution,
            configurations,
            graph: Arc::new(graph),
        })
    }

    /// Number of configurations.
    pub(in crate::cuda) fn len(&self) -> usize {
        self.configurations.len()
    }

    /// Finalizes configuration `index` as an execution plan. cuDNN commonly
    /// rejects some of the configurations that its heuristics return.
    pub(in crate::cuda) fn plan(
        &self,
        target: PlanTarget,
        index: usize,
    ) -> Result<Arc<ExecutionPlan>, CudaError> {
        let Some(configuration) = self.configurations.get(index) else {
            return Err(CudaError::Internal(format!(
                "there is no engine configuration {index}"
            )));
        };
        let mut plan = Descriptor::new(DescriptorType::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?;
        let handle = Some(Attr::CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
        let properties = Some(Attr::CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
        plan.set_target(target, handle, properties)?;
        plan.set(
            Attr::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
            &[configuration.reference()],
        )?;
        plan.finalize()?;
        let workspace = plan.integer(Attr::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?;
        Ok(Arc::new(ExecutionPlan {
            plan,
            _configuration: Arc::clone(configuration),
            _graph: Arc::clone(&self.graph),
            convolution: self.convolution,
            engine: index,
            workspace: usize::try_from(workspace).unwrap_or(0),
        }))
    }
}

/// Whether an engine computes in full f32. Engines that use tensor cores (TF32),
/// or that convert their inputs to a shorter type, do not.
fn is_single_precision(configuration: &Descriptor) -> Result<bool, CudaError> {
    use sys::cudnnBackendNumericalNote_t as Note;
    let engines = configuration.children(
        Attr::CUDNN_ATTR_ENGINECFG_ENGINE,
        DescriptorType::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
        1,
    )?;
    let mut notes = Vec::new();
    for engine in &engines {
        notes.extend(engine.notes()?);
    }
    let reduced_precision = [
        Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE as u32,
        Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS as u32,
    ];
    Ok(!notes.iter().any(|note| reduced_precision.contains(note)))
}

impl ExecutionPlan {
    /// Batch size of one run.
    pub(in crate::cuda) fn images(&self) -> usize {
        self.convolution.n
    }

    /// Index of its engine configuration in [`EngineConfigs`].
    pub(in crate::cuda) fn engine(&self) -> usize {
        self.engine
    }

    /// Workspace size in bytes.
    pub(in crate::cuda) fn workspace(&self) -> usize {
        self.workspace
    }

    /// Binds the plan to device addresses.
    pub(in crate::cuda) fn bind(
        self: &Arc<Self>,
        operands: &ConvolutionOperands,
    ) -> Result<BoundPlan, CudaError> {
        let c = &self.convolution;
        let matches = |tensor: &DeviceTensor, dims: [usize; 3]| {
            tensor.n == c.n && [tensor.channels, tensor.height, tensor.width] == dims
        };
        let valid = matches(operands.x, c.input)
            && matches(operands.y, c.output)
            && operands.residual.is_some() == c.residual
            && operands.residual.is_none_or(|z| matches(z, c.output));
        if !valid {
            return Err(CudaError::Internal(format!(
                "the shapes of the operands do not match the convolution {c}"
            )));
        }
        let mut ids = vec![X, W, B, Y];
        let mut addresses = vec![operands.x.at, operands.weight, operands.bias, operands.y.at];
        if let Some(residual) = operands.residual {
            ids.push(Z);
            addresses.push(residual.at);
        }
        let addresses: Vec<_> = addresses.into_iter().map(DevicePointer).collect();
        let mut pack = Descriptor::new(DescriptorType::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?;
        pack.set(Attr::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &ids)?;
        pack.set(Attr::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &addresses)?;
        pack.set(
            Attr::CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
            &[DevicePointer(operands.workspace)],
        )?;
        pack.finalize()?;
        Ok(BoundPlan {
            pack,
            plan: Arc::clone(self),
        })
    }
}

impl BoundPlan {
    /// The execution plan.
    pub(in crate::cuda) fn plan(&self) -> &ExecutionPlan {
        &self.plan
    }

    /// Queues the plan on the handle's stream.
    pub(in crate::cuda) fn run(&self, handle: &Handle) -> Result<(), CudaError> {
        // SAFETY: `bind` checked the tensors' shapes. The weights and the
        // workspace are sized from the same step (`weights`, `lane`). The lane
        // keeps all of them alive, and synchronizes its stream when dropped.
        unsafe { handle.execute(&self.plan.plan, &self.pack) }
    }
}
