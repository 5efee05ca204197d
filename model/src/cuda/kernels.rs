//! The kernels of `kernels/kernels.cu`, ready to launch: each function here
//! takes maps and gives the launch of one kernel over them.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaFunction, CudaStream, result};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;

use super::fault::Fault;
use super::map::Map;
use super::number::Number;
use crate::graph::Outside;
use crate::reference::NORM_EPSILON;

/// The kernels as PTX for compute capability 7.5, which the driver compiles for
/// the card; `make cuda-ptx` makes it.
#[cfg(not(feature = "cubins"))]
const IMAGE: &[u8] = concat!(include_str!("../../kernels/kernels.ptx"), "\0").as_bytes();
/// That PTX and what NVIDIA's compiler makes of it for some cards: the driver
/// takes the card's own, and compiles the PTX where there is none.
#[cfg(feature = "cubins")]
const IMAGE: &[u8] = include_bytes!(env!(
    "RESNET_KERNELS",
    "the feature `cubins` needs the file of kernels that toolkit/kernels.sh makes"
));

/// Kernels without the ending that names their number type.
const NAMES: [&str; 11] = [
    "pixels",
    "max_pool",
    "average_pool",
    "global_average_pool",
    "scale_shift",
    "zero_pad",
    "excite",
    "highway",
    "channel_conv",
    "group_statistics",
    "group_norm",
];

/// Threads of a block where each works alone.
const THREADS: u32 = 256;

/// The kernels for one number type, loaded on one card.
pub(super) struct Kernels(HashMap<&'static str, CudaFunction>);

/// One argument of a launch.
#[derive(Clone, Copy, Debug)]
enum Argument {
    Address(u64),
    Int(i32),
    Float(f32),
}

/// A kernel with its grid and arguments.
pub(super) struct Launch {
    function: CudaFunction,
    grid: (u32, u32, u32),
    block: (u32, u32, u32),
    arguments: Vec<Argument>,
}

impl Launch {
    /// Queues it on `stream`.
    pub(super) fn run(&self, stream: &CudaStream) -> Result<(), Fault> {
        let mut addresses: Vec<*mut c_void> = self
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Address(value) => std::ptr::from_ref(value).cast_mut().cast(),
                Argument::Int(value) => std::ptr::from_ref(value).cast_mut().cast(),
                Argument::Float(value) => std::ptr::from_ref(value).cast_mut().cast(),
            })
            .collect();
        // SAFETY: the arguments are the kernel's, in number and type (the
        // functions below stand beside its source, and a test's driver compares
        // their sizes with the PTX's); the maps are the lane's, as `Map` says,
        // and the kernel stays inside them.
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

/// Scale and shift of a norm: addresses of `[channels]` f32, padded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    pub(super) scale: u64,
    pub(super) shift: u64,
}

impl Kernels {
    /// Loads the kernels for `number`.
    pub(super) fn load(context: &Arc<CudaContext>, number: Number) -> Result<Self, Fault> {
        let module = context.load_module(Ptx::from_binary(IMAGE.to_vec()))?;
        let mut functions = HashMap::new();
        for name in NAMES {
            let function = module.load_function(&format!("{name}_{}", number.name()))?;
            functions.insert(name, function);
        }
        Ok(Self(functions))
    }

    /// A launch in which each thread works alone on some of `count` items.
    fn each(&self, name: &str, count: usize, arguments: Vec<Argument>) -> Result<Launch, Fault> {
        let count = u32::try_from(count).ok().filter(|&c| c <= 1 << 30);
        let count =
            count.ok_or_else(|| Fault::Internal(format!("{name}: the map is too large")))?;
        let mut arguments = arguments;
        arguments.push(Argument::Int(count as i32));
        let blocks = count.div_ceil(THREADS).max(1);
        self.launch(name, (blocks, 1, 1), (THREADS, 1, 1), arguments)
    }

    fn launch(
        &self,
        name: &str,
        grid: (u32, u32, u32),
        block: (u32, u32, u32),
        arguments: Vec<Argument>,
    ) -> Result<Launch, Fault> {
        let function = self.0.get(name);
        let function = function.ok_or_else(|| Fault::Internal(format!("no kernel {name}")))?;
        Ok(Launch {
            function: function.clone(),
            grid,
            block,
            arguments,
        })
    }

    /// RGB bytes at `x`, `[n, S, S, 3]`, to the stem's input: `(x / 255 - mean)
    /// / std` per channel.
    pub(super) fn pixels(
        &self,
        x: u64,
        y: &Map,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> Result<Launch, Fault> {
        let scales = std.map(|std| Argument::Float(1.0 / (255.0 * std)));
        let shifts = [0, 1, 2].map(|c| Argument::Float(-mean[c] / std[c]));
        let mut arguments = vec![Argument::Address(x), Argument::Address(y.at)];
        arguments.extend(scales.into_iter().chain(shifts));
        self.each("pixels", y.n * y.pixels(), arguments)
    }

    /// Maximum over windows.
    pub(super) fn max_pool(
        &self,
        x: &Map,
        y: &Map,
        (kernel, stride, padding): (usize, usize, usize),
        outside: Outside,
    ) -> Result<Launch, Fault> {
        let zeros = usize::from(outside == Outside::Zeros);
        let mut arguments = windows(x, y);
        arguments.extend(ints([kernel, stride, padding, zeros]));
        self.each("max_pool", y.len() / 8, arguments)
    }

    /// Mean over windows of side and step `size`.
    pub(super) fn average_pool(&self, x: &Map, y: &Map, size: usize) -> Result<Launch, Fault> {
        let mut arguments = windows(x, y);
        arguments.extend(ints([size]));
        self.each("average_pool", y.len() / 8, arguments)
    }

    /// Mean over the map.
    pub(super) fn global_average_pool(&self, x: &Map, y: &Map) -> Result<Launch, Fault> {
        let mut arguments = addresses([x.at, y.at]);
        arguments.extend(ints([x.channels, x.pixels()]));
        let grid = ((x.channels as u32).div_ceil(256), x.n as u32, 1);
        self.launch("global_average_pool", grid, (32, 8, 1), arguments)
    }

    /// `relu?(x * scale + shift)`.
    pub(super) fn scale_shift(
        &self,
        x: &Map,
        affine: Affine,
        y: &Map,
        relu: bool,
    ) -> Result<Launch, Fault> {
        let mut arguments = addresses([x.at, affine.scale, affine.shift, y.at]);
        arguments.extend(ints([y.channels, usize::from(relu)]));
        self.each("scale_shift", y.len() / 8, arguments)
    }

    /// Every `stride`-th pixel between zero channels.
    pub(super) fn zero_pad(&self, x: &Map, y: &Map, stride: usize) -> Result<Launch, Fault> {
        let before = (y.real - x.real) / 2;
        let sides = [x.height, x.width, y.height, y.width, stride];
        let mut arguments = addresses([x.at, y.at]);
        arguments.extend(ints([x.channels, y.channels, x.real, before]));
        arguments.extend(ints(sides));
        self.each("zero_pad", y.len() / 8, arguments)
    }

    /// `relu?(x * sigmoid(gate) + residual)`, `gate` a vector an image.
    pub(super) fn excite(
        &self,
        [x, gate, residual]: [&Map; 3],
        y: &Map,
        relu: bool,
    ) -> Result<Launch, Fault> {
        let mut arguments = addresses([x.at, gate.at, residual.at, y.at]);
        arguments.extend(ints([y.channels, y.pixels(), usize::from(relu)]));
        self.each("excite", y.len() / 8, arguments)
    }

    /// `h t + x (1 - t)`, `t = sigmoid(gate)`.
    pub(super) fn highway(&self, [h, gate, x]: [&Map; 3], y: &Map) -> Result<Launch, Fault> {
        let arguments = addresses([h.at, gate.at, x.at, y.at]);
        self.each("highway", y.len() / 8, arguments)
    }

    /// A convolution along the channels of vectors; `weight` is `[kernel]` f32.
    pub(super) fn channel_conv(
        &self,
        x: &Map,
        weight: u64,
        y: &Map,
        kernel: usize,
    ) -> Result<Launch, Fault> {
        let mut arguments = addresses([x.at, weight, y.at]);
        arguments.extend(ints([y.channels, y.real, kernel]));
        self.each("channel_conv", y.len(), arguments)
    }

    /// `relu?(group norm of x)`: the statistics, then the norm. `statistics` is
    /// room for `[n, groups, 2]` f32.
    pub(super) fn group_norm(
        &self,
        x: &Map,
        statistics: u64,
        affine: Affine,
        y: &Map,
        (groups, relu): (usize, bool),
    ) -> Result<[Launch; 2], Fault> {
        let (size, pixels) = (x.real / groups, x.pixels());
        let mut arguments = addresses([x.at, statistics]);
        arguments.extend(ints([x.channels, size, pixels]));
        arguments.push(Argument::Float(NORM_EPSILON as f32));
        let grid = (groups as u32, x.n as u32, 1);
        let first = self.launch("group_statistics", grid, (THREADS, 1, 1), arguments)?;
        let mut arguments = addresses([x.at, statistics, affine.scale, affine.shift, y.at]);
        arguments.extend(ints([x.channels, size, groups, pixels, usize::from(relu)]));
        Ok([first, self.each("group_norm", y.len() / 8, arguments)?])
    }
}

fn addresses<const N: usize>(all: [u64; N]) -> Vec<Argument> {
    all.map(Argument::Address).to_vec()
}

fn ints<const N: usize>(all: [usize; N]) -> [Argument; N] {
    all.map(|value| Argument::Int(value as i32))
}

/// What kernels over windows begin with.
fn windows(x: &Map, y: &Map) -> Vec<Argument> {
    let mut arguments = addresses([x.at, y.at]);
    arguments.extend(ints([x.channels, x.height, x.width, y.height, y.width]));
    arguments
}
