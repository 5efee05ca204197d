//! Compiles the kernels as C++ for the CPU, and launches them.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use half::{bf16, f16};

type Run = unsafe extern "C" fn(
    *const c_char,
    *mut *mut c_void,
    u32,
    *const [u32; 3],
    *const [u32; 3],
) -> c_int;

unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The compiled library. A mutex serializes launches, because the library keeps
/// its thread and block indices in global variables.
pub(crate) struct Host(Mutex<Run>);

impl Host {
    /// Compiles the library once per process. Prints a line and returns `None` if
    /// there is no C++ compiler.
    pub(crate) fn get() -> Option<&'static Self> {
        static HOST: OnceLock<Option<Host>> = OnceLock::new();
        HOST.get_or_init(Self::build).as_ref()
    }

    fn build() -> Option<Self> {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        if Command::new(&compiler).arg("--version").output().is_err() {
            println!("skipped: no C++ compiler (`{compiler}`)");
            return None;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/host");
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("kernels-{}.so", std::process::id()));
        let status = Command::new(&compiler)
            .args(["-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Werror"])
            .args([
                "-fno-strict-aliasing",
                "-U_FORTIFY_SOURCE",
                "-Wno-unknown-pragmas",
                "-I",
            ])
            .arg(&source)
            .arg("-o")
            .args([&library, &source.join("kernels.cpp")])
            .status()
            .unwrap();
        assert!(status.success(), "the kernels do not compile");
        let path = CString::new(library.to_str().unwrap()).unwrap();
        let name = c"run_kernel";
        // SAFETY: the library was compiled above, and its function has this type.
        let run = unsafe {
            let library = dlopen(path.as_ptr(), 2);
            assert!(!library.is_null(), "{path:?} cannot be loaded");
            let run = dlsym(library, name.as_ptr());
            assert!(!run.is_null(), "{name:?} is missing");
            std::mem::transmute::<*mut c_void, Run>(run)
        };
        std::fs::remove_file(library).unwrap();
        Some(Self(Mutex::new(run)))
    }

    /// Runs a kernel.
    ///
    /// The arguments must match the kernel's parameters: their number is checked,
    /// but not their types and the lengths of the buffers.
    pub(crate) fn launch(
        &self,
        name: &str,
        grid: [u32; 3],
        block: [u32; 3],
        arguments: &[Argument],
    ) {
        let name = CString::new(name).unwrap();
        let mut addresses: Vec<*mut c_void> = arguments.iter().map(Argument::address).collect();
        let run = self.0.lock().unwrap();
        // SAFETY: the callers keep the buffers of all arguments alive.
        let status = unsafe {
            run(
                name.as_ptr(),
                addresses.as_mut_ptr(),
                addresses.len() as u32,
                &raw const grid,
                &raw const block,
            )
        };
        assert_eq!(
            status, 0,
            "{name:?}: the status codes are listed at run_kernel"
        );
    }

    /// Runs an elementwise kernel over `count` items in blocks of 64. There are
    /// fewer threads than items, so that the grid-stride loops iterate.
    pub(crate) fn launch_elementwise(&self, name: &str, count: usize, arguments: &[Argument]) {
        let blocks = (count as u32).div_ceil(64 * 3).max(1);
        self.launch(name, [blocks, 1, 1], [64, 1, 1], arguments);
    }
}

/// A kernel argument.
pub(crate) enum Argument {
    /// The address of a buffer.
    Buffer(*mut c_void),
    /// An integer.
    Int(i32),
    /// A float.
    Float(f32),
}

impl Argument {
    pub(crate) fn read<T>(values: &[T]) -> Self {
        Self::Buffer(values.as_ptr().cast_mut().cast())
    }

    pub(crate) fn write<T>(values: &mut [T]) -> Self {
        Self::Buffer(values.as_mut_ptr().cast())
    }

    pub(crate) fn int(value: usize) -> Self {
        Self::Int(value as i32)
    }

    fn address(&self) -> *mut c_void {
        match self {
            Self::Buffer(address) => std::ptr::from_ref(address).cast_mut().cast(),
            Self::Int(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Float(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

/// A data type of feature maps.
pub(crate) trait Value: Copy {
    /// Suffix of the kernel names.
    const SUFFIX: &'static str;
    /// Relative rounding error.
    const EPSILON: f32;
    fn of(x: f32) -> Self;
    fn float(self) -> f32;
}

macro_rules! value {
    ($type:ty, $suffix:literal, $epsilon:expr, $of:expr, $float:expr) => {
        impl Value for $type {
            const SUFFIX: &'static str = $suffix;
            const EPSILON: f32 = $epsilon;
            fn of(x: f32) -> Self {
                $of(x)
            }
            fn float(self) -> f32 {
                $float(self)
            }
        }
    };
}
value!(f16, "f16", 1.0 / 2048.0, f16::from_f32, f16::to_f32);
value!(bf16, "bf16", 1.0 / 256.0, bf16::from_f32, bf16::to_f32);
value!(
    f32,
    "f32",
    1e-6,
    std::convert::identity,
    std::convert::identity
);

/// Values aligned to 16 bytes, between two margins that must not be written.
pub(crate) struct Buffer<T> {
    storage: Vec<T>,
    start: usize,
    len: usize,
}

const MARGIN: usize = 32;
const MARGIN_VALUE: f32 = -77.0;

impl<T: Value> Buffer<T> {
    pub(crate) fn new(values: &[f32]) -> Self {
        let mut storage = vec![T::of(MARGIN_VALUE); values.len() + 2 * MARGIN];
        let start = MARGIN / 2 + storage[MARGIN / 2..].as_ptr().align_offset(16);
        for (to, from) in storage[start..].iter_mut().zip(values) {
            *to = T::of(*from);
        }
        Self {
            storage,
            start,
            len: values.len(),
        }
    }

    pub(crate) fn zeros(len: usize) -> Self {
        Self::new(&vec![0.0; len])
    }

    pub(crate) fn read(&self) -> Argument {
        Argument::read(&self.storage[self.start..])
    }

    pub(crate) fn write(&mut self) -> Argument {
        Argument::write(&mut self.storage[self.start..])
    }

    /// The values as floats. Fails if a margin was overwritten.
    pub(crate) fn floats(&self) -> Vec<f32> {
        let end = self.start + self.len;
        let margins = self.storage[..self.start]
            .iter()
            .chain(&self.storage[end..]);
        for value in margins {
            assert_eq!(
                value.float(),
                MARGIN_VALUE,
                "a margin of the buffer was overwritten"
            );
        }
        let values = &self.storage[self.start..end];
        values.iter().map(|v| v.float()).collect()
    }

    /// Compares with the expected values, with a tolerance of two roundings.
    pub(crate) fn check(&self, what: &str, expected: &[f32]) {
        let got = self.floats();
        assert_eq!(got.len(), expected.len());
        for (i, (a, b)) in got.iter().zip(expected).enumerate() {
            let tolerance = 2.0 * T::EPSILON * b.abs().max(0.25);
            assert!(
                (a - b).abs() <= tolerance,
                "{what} in {}: value {i} is {a}, expected {b}",
                T::SUFFIX
            );
        }
    }
}
