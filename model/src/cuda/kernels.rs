//! Loads the kernels of `kernels/kernels.cu` and prepares their launches. Each
//! method of [`Kernels`] takes device tensors and returns a [`Launch`].

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaFunction, CudaStream, result};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;

use super::error::CudaError;
use super::tensor::DeviceTensor;
use crate::dtype::Dtype;
use crate::graph::{NORM_EPSILON, Outside};

/// The kernels as PTX for compute capability 7.5, which the driver compiles for
/// the GPU. `make cuda-ptx` generates the file.
#[cfg(not(feature = "cubins"))]
const IMAGE: &[u8] = concat!(include_str!("../../kernels/kernels.ptx"), "\0").as_bytes();
/// A fat binary: the PTX, and machine code for some compute capabilities. The
/// driver loads the machine code that matches the GPU. If there is none, it compiles
/// the PTX.
#[cfg(feature = "cubins")]
const IMAGE: &[u8] = include_bytes!(env!(
    "RESNET_KERNELS",
    "the feature `cubins` needs the fat binary that toolkit/kernels.sh generates"
));

/// Kernel names without the dtype suffix.
const NAMES: [&str; 12] = [
    "pixels",
    "max_pool",
    "average_pool",
    "blur_pool",
    "global_average_pool",
    "scale_shift",
    "zero_pad",
    "excite",
    "highway",
    "channel_conv",
    "group_statistics",
    "group_norm",
];

/// Threads per block of the kernels with one-dimensional blocks.
const THREADS: u32 = 256;

/// The kernels for one dtype, loaded on one GPU.
pub(super) struct Kernels(HashMap<&'static str, CudaFunction>);

/// One argument of a kernel.
#[derive(Clone, Copy, Debug)]
enum KernelArgument {
    Address(u64),
    Int(i32),
    Float(f32),
}

/// A kernel with its grid size, block size and arguments.
pub(super) struct Launch {
    function: CudaFunction,
    grid: (u32, u32, u32),
    block: (u32, u32, u32),
    arguments: Vec<KernelArgument>,
}

impl Launch {
    /// Queues the kernel on `stream`.
    pub(super) fn run(&self, stream: &CudaStream) -> Result<(), CudaError> {
        let mut addresses: Vec<*mut c_void> = self
            .arguments
            .iter()
            .map(|argument| match argument {
                KernelArgument::Address(value) => std::ptr::from_ref(value).cast_mut().cast(),
                KernelArgument::Int(value) => std::ptr::from_ref(value).cast_mut().cast(),
                KernelArgument::Float(value) => std::ptr::from_ref(value).cast_mut().cast(),
            })
            .collect();
        // SAFETY: the arguments match the kernel's parameters in count and type;
        // the fake driver of the tests checks their sizes against the PTX. The
        // tensors' memory is allocated (see `DeviceTensor`), and the kernel does
        // not access memory outside them.
        unsafe {
            result::launch_kernel(
                self.function.cu_function(),
                self.grid,
                self.block,
                0,
                stream.cu_stream(),
                &mut addresses,
            )?;
        }
        Ok(())
    }
}

/// Device addresses of a norm's scale and shift: f32 `[channels]`, padded.
#[derive(Clone, Copy, Debug)]
pub(super) struct NormParameters {
    pub(super) scale: u64,
    pub(super) shift: u64,
}

impl Kernels {
    /// Loads the kernels for `dtype`.
    pub(super) fn load(context: &Arc<CudaContext>, dtype: Dtype) -> Result<Self, CudaError> {
        let module = context.load_module(Ptx::from_binary(IMAGE.to_vec()))?;
        let mut functions = HashMap::new();
        for name in NAMES {
            let function = module.load_function(&format!("{name}_{}", dtype.name()))?;
            functions.insert(name, function);
        }
        Ok(Self(functions))
    }

    /// A one-dimensional launch over `count` items, split between the threads.
    fn elementwise(
        &self,
        name: &str,
        count: usize,
        arguments: Vec<KernelArgument>,
    ) -> Result<Launch, CudaError> {
        let items = u32::try_from(count).ok().filter(|&c| c <= 1 << 30);
        let items = items.ok_or_else(|| {
            CudaError::Internal(format!("{name}: {count} items are too many for one launch"))
        })?;
        let mut arguments = arguments;
        arguments.push(KernelArgument::Int(items as i32));
        let blocks = items.div_ceil(THREADS).max(1);
        self.launch(name, (blocks, 1, 1), (THREADS, 1, 1), arguments)
    }

    fn launch(
        &self,
        name: &str,
        grid: (u32, u32, u32),
        block: (u32, u32, u32),
        arguments: Vec<KernelArgument>,
    ) -> Result<Launch, CudaError> {
        let function = self.0.get(name);
        let function = function.ok_or_else(|| CudaError::Internal(format!("no kernel {name}")))?;
        Ok(Launch {
            function: function.clone(),
            grid,
            block,
            arguments,
        })
    }

    /// Converts RGB bytes `[n, S, S, 3]` at address `x` to the network's input:
    /// `(x / 255 - mean) / std` per channel.
    pub(super) fn pixels(
        &self,
        x: u64,
        y: &DeviceTensor,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> Result<Launch, CudaError> {
        let scales = std.map(|std| KernelArgument::Float(1.0 / (255.0 * std)));
        let shifts = [0, 1, 2].map(|c| KernelArgument::Float(-mean[c] / std[c]));
        let mut arguments = vec![KernelArgument::Address(x), KernelArgument::Address(y.at)];
        arguments.extend(scales.into_iter().chain(shifts));
        self.elementwise("pixels", y.n * y.pixels(), arguments)
    }

    /// Max pooling. `outside`: whether the padding counts as zeros or is ignored.
    pub(super) fn max_pool(
        &self,
        x: &DeviceTensor,
        y: &DeviceTensor,
        (kernel, stride, padding): (usize, usize, usize),
        outside: Outside,
    ) -> Result<Launch, CudaError> {
        let zeros = usize::from(outside == Outside::Zeros);
        let mut arguments = pooling_arguments(x, y);
        arguments.extend(ints([kernel, stride, padding, zeros]));
        self.elementwise("max_pool", y.len() / 8, arguments)
    }

    /// Average pooling with kernel size and stride `size`.
    pub(super) fn average_pool(
        &self,
        x: &DeviceTensor,
        y: &DeviceTensor,
        size: usize,
    ) -> Result<Launch, CudaError> {
        let mut arguments = pooling_arguments(x, y);
        arguments.extend(ints([size]));
        self.elementwise("average_pool", y.len() / 8, arguments)
    }

    /// The 3x3 binomial filter with stride 2 (Zhang 2019).
    pub(super) fn blur_pool(
        &self,
        x: &DeviceTensor,
        y: &DeviceTensor,
    ) -> Result<Launch, CudaError> {
        self.elementwise("blur_pool", y.len() / 8, pooling_arguments(x, y))
    }

    /// Global average pooling.
    pub(super) fn global_average_pool(
        &self,
        x: &DeviceTensor,
        y: &DeviceTensor,
    ) -> Result<Launch, CudaError> {
        let mut arguments = addresses([x.at, y.at]);
        arguments.extend(ints([x.channels, x.pixels()]));
        let grid = ((x.channels as u32).div_ceil(256), x.n as u32, 1);
        self.launch("global_average_pool", grid, (32, 8, 1), arguments)
    }

    /// `x * scale + shift` per channel, then ReLU if `relu`.
    pub(super) fn scale_shift(
        &self,
        x: &DeviceTensor,
        norm: NormParameters,
        y: &DeviceTensor,
        relu: bool,
    ) -> Result<Launch, CudaError> {
        let mut arguments = addresses([x.at, norm.scale, norm.shift, y.at]);
        arguments.extend(ints([y.channels, usize::from(relu)]));
        self.elementwise("scale_shift", y.len() / 8, arguments)
    }

    /// The option A shortcut (He et al. 2015): every `stride`-th pixel of every
    /// `stride`-th row, with zero channels added before and after.
    pub(super) fn zero_pad(
        &self,
        x: &DeviceTensor,
        y: &DeviceTensor,
        stride: usize,
    ) -> Result<Launch, CudaError> {
        let before = (y.real_channels - x.real_channels) / 2;
        let sides = [x.height, x.width, y.height, y.width, stride];
        let mut arguments = addresses([x.at, y.at]);
        arguments.extend(ints([x.channels, y.channels, x.real_channels, before]));
        arguments.extend(ints(sides));
        self.elementwise("zero_pad", y.len() / 8, arguments)
    }

    /// `x * sigmoid(gate) + residual`, then ReLU if `relu`. `gate` is
    /// `[n, channels]`.
    pub(super) fn excite(
        &self,
        [x, gate, residual]: [&DeviceTensor; 3],
        y: &DeviceTensor,
        relu: bool,
    ) -> Result<Launch, CudaError> {
        let mut arguments = addresses([x.at, gate.at, residual.at, y.at]);
        arguments.extend(ints([y.channels, y.pixels(), usize::from(relu)]));
        self.elementwise("excite", y.len() / 8, arguments)
    }

    /// `h t + x (1 - t)` with `t = sigmoid(gate)`.
    pub(super) fn highway(
        &self,
        [h, gate, x]: [&DeviceTensor; 3],
        y: &DeviceTensor,
    ) -> Result<Launch, CudaError> {
        let arguments = addresses([h.at, gate.at, x.at, y.at]);
        self.elementwise("highway", y.len() / 8, arguments)
    }

    /// A 1-D convolution over the channels of `[n, channels]`. `weight` is the
    /// address of f32 `[kernel]`.
    pub(super) fn channel_conv(
        &self,
        x: &DeviceTensor,
        weight: u64,
        y: &DeviceTensor,
        kernel: usize,
    ) -> Result<Launch, CudaError> {
        let mut arguments = addresses([x.at, weight, y.at]);
        arguments.extend(ints([y.channels, y.real_channels, kernel]));
        self.elementwise("channel_conv", y.len(), arguments)
    }

    /// Group norm, plus a residual if there is a second input, then ReLU if `relu`:
    /// one launch for the statistics and one to normalize. `statistics` is the address of f32 `[n, groups, 2]`.
    pub(super) fn group_norm(
        &self,
        inputs: &[DeviceTensor],
        statistics: u64,
        norm: NormParameters,
        y: &DeviceTensor,
        (groups, relu): (usize, bool),
    ) -> Result<[Launch; 2], CudaError> {
        let (x, residual) = (&inputs[0], inputs.get(1));
        let (size, pixels) = (x.real_channels / groups, x.pixels());
        let mut arguments = addresses([x.at, statistics]);
        arguments.extend(ints([x.channels, size, pixels]));
        arguments.push(KernelArgument::Float(NORM_EPSILON as f32));
        let grid = (groups as u32, x.n as u32, 1);
        let statistics_launch =
            self.launch("group_statistics", grid, (THREADS, 1, 1), arguments)?;
        let added = residual.unwrap_or(x).at;
        let mut arguments = addresses([x.at, statistics, norm.scale, norm.shift, added, y.at]);
        arguments.extend(ints([x.channels, size, groups, pixels]));
        arguments.extend(ints([residual.is_some(), relu].map(usize::from)));
        Ok([
            statistics_launch,
            self.elementwise("group_norm", y.len() / 8, arguments)?,
        ])
    }
}

fn addresses<const N: usize>(all: [u64; N]) -> Vec<KernelArgument> {
    all.map(KernelArgument::Address).to_vec()
}

fn ints<const N: usize>(all: [usize; N]) -> [KernelArgument; N] {
    all.map(|value| KernelArgument::Int(value as i32))
}

/// The leading arguments of the pooling kernels.
fn pooling_arguments(x: &DeviceTensor, y: &DeviceTensor) -> Vec<KernelArgument> {
    let mut arguments = addresses([x.at, y.at]);
    arguments.extend(ints([x.channels, x.height, x.width, y.height, y.width]));
    arguments
}
