//! Engines and plans of a convolution's graph, and a plan over addresses.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::sys;
use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendDescriptorType_t as Kind;

use super::descriptor::{Address, Descriptor, Handle, Target};
use super::graph::{B, Convolution, Graph, W, X, Y, Z};
use crate::cuda::fault::Fault;
use crate::cuda::map::Map;
use crate::cuda::number::Number;

/// How many of an answer's engines are looked at.
const LOOKED_AT: usize = 24;

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
    engine: usize,
    workspace: usize,
}

/// A plan with the addresses it runs over.
pub(in crate::cuda) struct Bound {
    pack: Descriptor,
    plan: Arc<Plan>,
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
            engine: index,
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
    /// Images of a run.
    pub(in crate::cuda) fn images(&self) -> usize {
        self.convolution.n
    }

    /// Its engine, by the index among the convolution's.
    pub(in crate::cuda) fn engine(&self) -> usize {
        self.engine
    }

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
    /// What it runs.
    pub(in crate::cuda) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Queues it on the handle's stream.
    pub(in crate::cuda) fn run(&self, handle: &Handle) -> Result<(), Fault> {
        // SAFETY: the maps' shapes were checked by `bind`, the weights and the
        // workspace are made from the same step (`weights`, `lane`), and all
        // of them live in the lane, which waits for its stream at its end.
        unsafe { handle.execute(&self.plan.plan, &self.pack) }
    }
}
