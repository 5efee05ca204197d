//! The candle backend: runs the graph with candle's operations, one node at a
//! time, in f32. It is slow. It is the reference in the tests of the fused
//! backends.

mod operations;

use std::time::{Duration, Instant};

use candle_core::Tensor;
use weights::{Checkpoint, Preprocessing};

use crate::backend::{Backend, BackendInfo, Input, StepObserver};
use crate::class_map::ClassWeights;
use crate::cost::{self, Cost};
use crate::cpu::{self, SupportedIsa};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::{Error, NoClassMaps, Result, no_such_class};
use crate::graph::{Graph, Value};
use crate::options::EngineChoice;
use crate::outputs::{Output, OutputValues, Outputs};
use crate::threads::ThreadPool;

/// A network that runs with candle's operations.
pub struct CandleBackend {
    graph: Graph,
    outputs: OutputValues,
    /// Parameters of each node, in the order of `Graph::parameters_of`.
    parameters: Vec<Vec<Tensor>>,
    /// Scale `1 / std` and shift `-mean / std`, `[1, 3, 1, 1]` each, for pixels in
    /// 0..=1.
    normalise: (Tensor, Tensor),
    device: Device,
    candle_device: candle_core::Device,
    /// Threads of candle's CPU operations, as many as in `threads`. `None` on a
    /// GPU.
    pool: Option<rayon::ThreadPool>,
    threads: ThreadPool,
    /// Height and width of the input.
    size: usize,
}

impl CandleBackend {
    /// Reads the parameters of `graph` onto `device`, in f32.
    ///
    /// # Errors
    /// A parameter is missing or has the wrong shape; candle cannot use the
    /// device; `device` is more than one GPU.
    pub fn new(
        graph: &Graph,
        checkpoint: &Checkpoint,
        preprocessing: &Preprocessing,
        device: &Device,
        threads: &ThreadPool,
    ) -> Result<Self> {
        let candle_device = open(device)?;
        let pool = match device {
            Device::Cpu => Some(thread_pool(threads.count())?),
            Device::Cuda(_) => None,
        };
        let mut parameters = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            let mut tensors = Vec::new();
            for (name, shape) in graph.parameters_of(node) {
                let values = checkpoint.read(&name, &shape)?;
                tensors.push(Tensor::from_vec(values, shape, &candle_device)?);
            }
            parameters.push(tensors);
        }
        let channels = |values: [f32; 3]| Tensor::from_slice(&values, (1, 3, 1, 1), &candle_device);
        let (mean, std) = (preprocessing.mean, preprocessing.std);
        let scale = channels(std::array::from_fn(|c| 1.0 / std[c]))?;
        let shift = channels(std::array::from_fn(|c| -mean[c] / std[c]))?;
        Ok(Self {
            graph: graph.clone(),
            outputs: OutputValues::of(graph),
            parameters,
            normalise: (scale, shift),
            device: device.clone(),
            candle_device,
            pool,
            threads: threads.clone(),
            size: graph.shape(0).height,
        })
    }

    /// Normalised planes `[N, 3, S, S]` on the device.
    fn planes(&self, input: Input, n: usize) -> Result<Tensor> {
        let (size, device) = (self.size, &self.candle_device);
        match input {
            Input::Planes(planes) => Ok(Tensor::from_slice(planes, (n, 3, size, size), device)?),
            Input::Pixels(images) => {
                let pixels = Tensor::from_vec(images.concat(), (n, size, size, 3), device)?;
                let planes = pixels.permute((0, 3, 1, 2))?.contiguous()?;
                let unit = (planes.to_dtype(candle_core::DType::F32)? / 255.0)?;
                let (scale, shift) = &self.normalise;
                Ok(unit.broadcast_mul(scale)?.broadcast_add(shift)?)
            }
        }
    }

    /// Runs all nodes; calls `observe` with the index and duration of each.
    fn run(&self, input: Input, outputs: Outputs, observe: Option<StepObserver>) -> Result<Output> {
        let requested = self.outputs.requested(outputs)?;
        let n = input.images(self.size)?;
        if n == 0 {
            return Ok(Output::empty(outputs));
        }
        let run = || self.values(self.planes(input, n)?, observe);
        let values = match &self.pool {
            Some(pool) => pool.install(run)?,
            None => run()?,
        };
        requested.read(|value| {
            let tensor = values[value].as_ref();
            let tensor =
                tensor.ok_or_else(|| Error::Internal(format!("value {value} was freed")))?;
            read(tensor)
        })
    }

    /// For each value, the index of the last node that reads it. For a value that
    /// a pass can return, the number of nodes, so that it is not freed.
    fn last_uses(&self) -> Vec<usize> {
        let mut last_use = self.graph.last_uses();
        for value in self.outputs.kept() {
            last_use[value] = self.graph.nodes.len();
        }
        last_use
    }

    /// Runs all nodes and returns the values that a pass can return. The other
    /// values are freed after their last use, so that a network of 1001 layers
    /// fits in memory.
    fn values(
        &self,
        planes: Tensor,
        mut observe: Option<StepObserver>,
    ) -> Result<Vec<Option<Tensor>>> {
        let last_use = self.last_uses();
        let mut values: Vec<Option<Tensor>> = vec![None; self.graph.nodes.len()];
        values[0] = Some(planes);
        for (i, node) in self.graph.nodes.iter().enumerate().skip(1) {
            let start = Instant::now();
            let inputs = node.inputs.iter().map(|&v| values[v].clone());
            let inputs = inputs.collect::<Option<Vec<_>>>();
            let inputs =
                inputs.ok_or_else(|| Error::Internal(format!("an input of node {i} was freed")))?;
            values[i] = Some(operations::apply(node, &inputs, &self.parameters[i])?);
            if let Some(observe) = &mut observe {
                self.candle_device.synchronize()?;
                observe(i, start.elapsed());
            }
            for &v in node.inputs.iter().filter(|&&v| last_use[v] == i) {
                values[v] = None;
            }
        }
        Ok(values)
    }
}

/// Copies a value to the host: feature maps as `[N, H, W, C]`, vectors and logits
/// as `[N, C]`.
fn read(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = match tensor.rank() {
        4 => tensor.permute((0, 2, 3, 1))?.contiguous()?,
        _ => tensor.clone(),
    };
    Ok(tensor.flatten_all()?.to_vec1()?)
}

fn thread_pool(threads: usize) -> Result<rayon::ThreadPool> {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    builder.build().map_err(|error| Error::Option {
        option: format!("threads {threads}"),
        reason: error.to_string(),
    })
}

fn open(device: &Device) -> Result<candle_core::Device> {
    let device_error = |reason: String| Error::Device {
        device: device.to_string(),
        reason,
    };
    match device {
        Device::Cpu => Ok(candle_core::Device::Cpu),
        Device::Cuda(gpus) => match gpus[..] {
            [gpu] => open_gpu(gpu).map_err(device_error),
            _ => Err(device_error(
                "the candle engine supports only one GPU".into(),
            )),
        },
    }
}

/// Opens a GPU and runs one operation on it, because some builds contain empty
/// PTX in place of candle's kernels (`toolkit/nvcc`). The error names what is
/// missing.
fn open_gpu(gpu: usize) -> Result<candle_core::Device, String> {
    // candle panics if a library is missing
    #[cfg(feature = "cuda")]
    if let Some(reason) = crate::cuda::CudaPlan::missing() {
        return Err(reason);
    }
    let opened = candle_core::Device::new_cuda(gpu).and_then(|device| {
        let one = Tensor::ones(1, candle_core::DType::F32, &device)?;
        one.relu()?.to_vec1::<f32>()?;
        Ok(device)
    });
    opened.map_err(|error| {
        format!(
            "candle cannot run on it: {error}; build with candle's CUDA kernels \
             (`toolkit/install.sh FOLDER real`)"
        )
    })
}

impl Backend for CandleBackend {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            engine: EngineChoice::Candle,
            device: self.device.clone(),
            dtype: Dtype::F32,
            isa: "candle".into(),
        }
    }

    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn forward(&self, input: Input, outputs: Outputs) -> Result<Output> {
        self.run(input, outputs, None)
    }

    fn forward_timed(&self, planes: &[f32], observe: StepObserver) -> Result<Output> {
        observe(0, Duration::ZERO);
        self.run(Input::Planes(planes), Outputs::LOGITS, Some(observe))
    }

    fn class_weights(&self, class: usize) -> Result<ClassWeights> {
        let [weight, bias] = &self.parameters[self.graph.output()][..] else {
            return Err(NoClassMaps::NoClassifier.into());
        };
        let classes = weight.dim(0)?;
        if class >= classes {
            return Err(no_such_class(class, classes));
        }
        Ok(ClassWeights {
            weight: weight.get(class)?.flatten_all()?.to_vec1()?,
            bias: bias.get(class)?.to_scalar()?,
        })
    }

    fn steps(&self) -> Vec<Cost> {
        let floats = |value: Value| self.graph.shape(value).values();
        let cost = |value: Value| {
            let node = &self.graph.nodes[value];
            let shape = node.shape;
            let read_and_written = node.inputs.iter().chain([&value]);
            Cost {
                name: cost::node_name(node),
                output: [shape.channels, shape.height, shape.width],
                multiply_adds: self.graph.multiply_adds_of(value),
                moved_bytes: 4 * read_and_written.map(|&v| floats(v)).sum::<usize>(),
                weight_bytes: 4 * self.parameters[value]
                    .iter()
                    .map(Tensor::elem_count)
                    .sum::<usize>(),
                slot: None,
                runs_as: "candle".into(),
            }
        };
        (0..self.graph.nodes.len()).map(cost).collect()
    }

    fn weight_bytes(&self) -> usize {
        self.steps().iter().map(|step| step.weight_bytes).sum()
    }

    /// The largest total size of the values that are in memory at the same time.
    /// Memory that candle allocates inside an operation is not included.
    fn arena_bytes(&self, n: usize) -> usize {
        let last_use = self.last_uses();
        let floats = |value: Value| self.graph.shape(value).values();
        let (mut live, mut largest) = (0, 0);
        for (i, node) in self.graph.nodes.iter().enumerate() {
            live += floats(i);
            largest = largest.max(live);
            let mut ended = node.inputs.clone();
            ended.sort_unstable();
            ended.dedup();
            let ended = ended.into_iter().filter(|&v| last_use[v] == i);
            live -= ended.map(floats).sum::<usize>();
        }
        4 * n * largest
    }

    fn peak(&self) -> Option<f64> {
        let on_cpu = || cpu::peak::<f32>(&self.threads, SupportedIsa::best());
        self.device.is_cpu().then(on_cpu)
    }

    fn is_untested(&self) -> bool {
        !self.device.is_cpu()
    }
}
