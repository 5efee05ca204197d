//! The pretended driver, from the tests' side: it is compiled and loaded in
//! place of NVIDIA's libraries, by a process of its own for each test.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Set in the process that has the driver.
const INSIDE: &str = "RESNET_FAKE_DRIVER";

/// What the fake driver stands for: `libcuda.so.1` and so on.
const LIBRARIES: [&str; 4] = [
    "libcuda.so.1",
    "libcudnn.so.9",
    "libcublas.so.13",
    "libcurand.so.10",
];

/// Runs `body` in a process where the fake driver stands for the real one.
/// `name` is the test's own. Skips, with a line that says so, where there is
/// no C++ compiler.
pub(crate) fn with_driver(name: &str, body: impl FnOnce()) {
    with_libraries(name, "fake-driver", &LIBRARIES, body);
}

/// As [`with_driver`], on a machine where `library` is not installed.
pub(crate) fn with_driver_but(library: &str, name: &str, body: impl FnOnce()) {
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

/// A folder where `libraries` are the driver, and the others cannot be loaded.
fn link(driver: &Path, folder: &str, libraries: &[&str]) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    for library in LIBRARIES {
        let link = folder.join(library);
        if !libraries.contains(&library) {
            // what cannot be loaded hides a real one elsewhere on this machine
            std::fs::write(link, "no library").unwrap();
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

/// The driver, compiled once.
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
    // under a name of this process until it is whole
    let made = folder.join(format!("made-{}.so", std::process::id()));
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
        .arg(&made)
        .args(["driver", "dnn", "image", "control"].map(|f| source.join(format!("driver/{f}.cpp"))))
        .status()
        .unwrap();
    assert!(status.success(), "the fake driver does not compile");
    let file = folder.join("libfake.so");
    std::fs::rename(made, &file).unwrap();
    Some(file)
}

/// What the driver counted; its own struct, `Counts`.
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
    /// What is alive, each under its name.
    pub(crate) fn alive(&self) -> Vec<(&'static str, u64)> {
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

/// A function of the driver for tests.
fn function(name: &CStr) -> *mut c_void {
    // SAFETY: looks among the libraries of this process; a null handle stands
    // for all of them.
    let found = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    assert!(!found.is_null(), "{name:?}: is this the fake driver?");
    found
}

/// What was counted since the last reset, and what is alive.
pub(crate) fn counts() -> Counts {
    let mut counts = Counts::default();
    // SAFETY: the driver's function of this type; it fills the struct.
    unsafe {
        let fill: extern "C" fn(*mut Counts) = std::mem::transmute(function(c"fake_counts"));
        fill(&raw mut counts);
    }
    counts
}

/// Counts from zero; call `fail_in` from now on fails, once or for good.
pub(crate) fn reset(fail_in: Option<u64>, stays: bool) {
    let fail_in = fail_in.map_or(-1, |k| k as i64);
    // SAFETY: the driver's function of this type.
    unsafe {
        let reset: extern "C" fn(i64, c_int) = std::mem::transmute(function(c"fake_reset"));
        reset(fail_in, c_int::from(stays));
    }
}

/// Another call fails, so many calls after the one that `reset` was given.
pub(crate) fn again_in(calls: u64) {
    // SAFETY: the driver's function of this type.
    unsafe {
        let again: extern "C" fn(i64) = std::mem::transmute(function(c"fake_again"));
        again(calls as i64);
    }
}

/// Whether work runs only once somebody waits for it.
pub(crate) fn defer(on: bool) {
    // SAFETY: the driver's function of this type.
    unsafe {
        let defer: extern "C" fn(c_int) = std::mem::transmute(function(c"fake_defer"));
        defer(c_int::from(on));
    }
}

/// What machine the driver pretends: cards, their compute capability times
/// ten, the driver's CUDA version times a thousand, bytes of memory a card.
pub(crate) fn machine(cards: i32, capability: i32, version: i32, memory: usize) {
    // SAFETY: the driver's function of this type.
    unsafe {
        let set: extern "C" fn(c_int, c_int, c_int, usize) =
            std::mem::transmute(function(c"fake_card"));
        set(cards, capability, version, memory);
    }
}

/// How much workspace an engine wants for each image, besides the little it
/// always wants.
pub(crate) fn workspace(bytes: usize) {
    // SAFETY: the driver's function of this type.
    unsafe {
        let set: extern "C" fn(usize) = std::mem::transmute(function(c"fake_workspace"));
        set(bytes);
    }
}

/// Whether no engine makes a plan of anything.
pub(crate) fn unplanned(on: bool) {
    // SAFETY: the driver's function of this type.
    unsafe {
        let set: extern "C" fn(c_int) = std::mem::transmute(function(c"fake_unplanned"));
        set(on.into());
    }
}

/// cuDNN's version, as it tells it.
pub(crate) fn dnn(version: usize) {
    // SAFETY: the driver's function of this type.
    unsafe {
        let set: extern "C" fn(usize) = std::mem::transmute(function(c"fake_dnn"));
        set(version);
    }
}

/// Which image of the kernels the last module was loaded from.
#[cfg(feature = "cubins")]
pub(crate) fn image() -> String {
    // SAFETY: the driver's function of this type, which gives a C string that
    // lives on.
    let name = unsafe {
        let image: extern "C" fn() -> *const c_char = std::mem::transmute(function(c"fake_image"));
        CStr::from_ptr(image())
    };
    name.to_str().unwrap().to_owned()
}
