//! Compiles the fake driver (`driver/`) once, runs each test in a separate process
//! that loads it in place of NVIDIA's libraries, and controls it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Environment variable that is set in the process that loads the fake driver.
const INSIDE: &str = "RESNET_FAKE_DRIVER";

/// The libraries that the fake driver replaces.
const LIBRARIES: [&str; 4] = [
    "libcuda.so.1",
    "libcudnn.so.9",
    "libcublas.so.13",
    "libcurand.so.10",
];

/// Runs `body` in a process that loads the fake driver. `name` is the full name
/// of the calling test. Prints a line and skips the test if there is no C++
/// compiler.
pub(crate) fn with_driver(name: &str, body: impl FnOnce()) {
    with_libraries(name, "fake-driver", &LIBRARIES, body);
}

/// Like [`with_driver`], on a machine where `library` is not installed.
pub(crate) fn with_driver_except(library: &str, name: &str, body: impl FnOnce()) {
    let others = LIBRARIES.into_iter().filter(|l| *l != library);
    let folder = format!("fake-driver-without-{library}");
    with_libraries(name, &folder, &others.collect::<Vec<_>>(), body);
}

fn with_libraries(name: &str, folder: &str, libraries: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let Some(driver) = driver() else { return };
    let folder = link(driver, folder, libraries);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env("LD_LIBRARY_PATH", folder)
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    print!("{text}");
    assert!(output.status.success(), "{name} with the fake driver");
    assert!(text.contains("1 passed"), "{name} did not run");
}

/// A folder in which `libraries` are links to the fake driver, and the others
/// cannot be loaded.
fn link(driver: &Path, folder: &str, libraries: &[&str]) -> PathBuf {
    static LOCK: Mutex<()> = Mutex::new(());
    let _guard = LOCK.lock();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    for library in LIBRARIES {
        let link = folder.join(library);
        if !libraries.contains(&library) {
            // the loader finds this invalid file before a real library
            std::fs::write(link, "not a library").unwrap();
            continue;
        }
        if std::fs::read_link(&link).is_ok_and(|to| to == driver) {
            continue;
        }
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(driver, link).unwrap();
    }
    folder
}

/// The path of the fake driver, which is compiled once.
fn driver() -> Option<&'static Path> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    FILE.get_or_init(compile).as_deref()
}

fn compile() -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        println!("skipped: no C++ compiler (`{compiler}`)");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fake-driver");
    std::fs::create_dir_all(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda");
    // renamed when it is complete, because tests run in parallel
    let compiled = folder.join(format!("compiled-{}.so", std::process::id()));
    let status = Command::new(&compiler)
        .args(["-std=c++17", "-O3", "-march=native", "-fPIC", "-shared"])
        .args([
            "-fno-strict-aliasing",
            "-U_FORTIFY_SOURCE",
            "-Wall",
            "-Werror",
            "-Wno-unknown-pragmas",
        ])
        .arg("-I")
        .arg(source.join("host"))
        .arg("-o")
        .arg(&compiled)
        .args(["driver", "dnn", "image", "control"].map(|f| source.join(format!("driver/{f}.cpp"))))
        .status()
        .unwrap();
    assert!(status.success(), "the fake driver does not compile");
    let file = folder.join("libfake.so");
    std::fs::rename(compiled, &file).unwrap();
    Some(file)
}

/// The counters of the fake driver; the same struct as `Counts` in
/// `driver/state.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) allocations: u64,
    pub(crate) waits: u64,
    pub(crate) uploads: u64,
    pub(crate) downloads: u64,
    pub(crate) launches: u64,
    pub(crate) convolutions: u64,
    pub(crate) replays: u64,
    pub(crate) buffers: u64,
    pub(crate) bytes: u64,
    pub(crate) pinned: u64,
    pub(crate) streams: u64,
    pub(crate) events: u64,
    pub(crate) graphs: u64,
    pub(crate) modules: u64,
    pub(crate) descriptors: u64,
    pub(crate) handles: u64,
    pub(crate) contexts: u64,
    pub(crate) violations: u64,
}

impl Counts {
    /// Names and counts of the objects that have not been freed.
    pub(crate) fn live_objects(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("buffers", self.buffers),
            ("pinned", self.pinned),
            ("streams", self.streams),
            ("events", self.events),
            ("graphs", self.graphs),
            ("modules", self.modules),
            ("descriptors", self.descriptors),
            ("handles", self.handles),
            ("contexts", self.contexts),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// Looks up a control function of the fake driver.
fn function(name: &CStr) -> *mut c_void {
    // SAFETY: a null handle searches all libraries of this process.
    let found = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    assert!(
        !found.is_null(),
        "{name:?} was not found: the fake driver is not loaded"
    );
    found
}

/// The counters since the last reset, and the number of existing objects.
pub(crate) fn counts() -> Counts {
    let mut counts = Counts::default();
    // SAFETY: the function has this type and fills the struct.
    unsafe {
        let fill: extern "C" fn(*mut Counts) = std::mem::transmute(function(c"fake_counts"));
        fill(&raw mut counts);
    }
    counts
}

/// Resets the counters. Call number `fail_in` from now on fails (0 is the next
/// one); if `sticky`, all later calls fail as well.
pub(crate) fn reset(fail_in: Option<u64>, sticky: bool) {
    let fail_in = fail_in.map_or(-1, |k| k as i64);
    // SAFETY: the function has this type.
    unsafe {
        let reset: extern "C" fn(i64, c_int) = std::mem::transmute(function(c"fake_reset"));
        reset(fail_in, c_int::from(sticky));
    }
}

/// Makes a second call fail, `calls` calls after the one that [`reset`] set.
pub(crate) fn fail_again_in(calls: u64) {
    // SAFETY: the function has this type.
    unsafe {
        let again: extern "C" fn(i64) = std::mem::transmute(function(c"fake_fail_again"));
        again(calls as i64);
    }
}

/// If `on`, queued work runs only when the host waits for it.
pub(crate) fn defer(on: bool) {
    // SAFETY: the function has this type.
    unsafe {
        let defer: extern "C" fn(c_int) = std::mem::transmute(function(c"fake_defer"));
        defer(c_int::from(on));
    }
}

/// Sets the simulated machine: number of GPUs, compute capability times ten, CUDA
/// version of the driver (13000 is 13.0), and memory per GPU in bytes.
pub(crate) fn machine(gpus: i32, capability: i32, version: i32, memory: usize) {
    // SAFETY: the function has this type.
    unsafe {
        let set: extern "C" fn(c_int, c_int, c_int, usize) =
            std::mem::transmute(function(c"fake_machine"));
        set(gpus, capability, version, memory);
    }
}

/// Sets the workspace that an engine needs per image, in bytes, on top of a
/// small constant.
pub(crate) fn workspace(bytes: usize) {
    // SAFETY: the function has this type.
    unsafe {
        let set: extern "C" fn(usize) = std::mem::transmute(function(c"fake_workspace"));
        set(bytes);
    }
}

/// If `on`, cuDNN rejects every execution plan.
pub(crate) fn reject_plans(on: bool) {
    // SAFETY: the function has this type.
    unsafe {
        let set: extern "C" fn(c_int) = std::mem::transmute(function(c"fake_reject_plans"));
        set(on.into());
    }
}

/// If `on`, the results of every convolution are 5 % too large.
pub(crate) fn wrong_convolutions(on: bool) {
    // SAFETY: the function has this type.
    unsafe {
        let set: extern "C" fn(c_int) = std::mem::transmute(function(c"fake_wrong_convolutions"));
        set(on.into());
    }
}

/// Sets the version that cuDNN reports.
pub(crate) fn cudnn_version(version: usize) {
    // SAFETY: the function has this type.
    unsafe {
        let set: extern "C" fn(usize) = std::mem::transmute(function(c"fake_cudnn_version"));
        set(version);
    }
}

/// The kernel image that the last module was loaded from.
#[cfg(feature = "cubins")]
pub(crate) fn loaded_image() -> String {
    // SAFETY: the function has this type, and the C string outlives this call.
    let name = unsafe {
        let image: extern "C" fn() -> *const c_char =
            std::mem::transmute(function(c"fake_loaded_image"));
        CStr::from_ptr(image())
    };
    name.to_str().unwrap().to_owned()
}
