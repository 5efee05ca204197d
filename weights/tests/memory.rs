//! The memory that reading and writing a large file take. It is measured for
//! the whole process, so no other test may run in it.
#![cfg(target_os = "linux")]
// A test fails by panicking.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::ops::ControlFlow::Continue;
use std::path::Path;

use resnet_weights::{Checkpoint, Metadata, StoredDtype, Target, write};

const TENSORS: usize = 32;
const ELEMENTS: usize = 1 << 20;
const FILE: usize = TENSORS * ELEMENTS * 4;

/// The target of a new file.
fn new(path: &Path) -> Target<'_> {
    Target {
        path,
        replace: false,
    }
}

/// The peak of the resident memory during `run`, in bytes above the memory at
/// its start.
fn peak_of(run: impl FnOnce()) -> usize {
    let field = |name: &str| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 1024
    };
    // Resets the peak to the current size.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = field("VmRSS:");
    run();
    field("VmHWM:") - before
}

#[test]
fn a_large_file_is_not_in_memory_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.safetensors");
    let names: Vec<String> = (0..TENSORS)
        .map(|i| format!("layer1.{i}.conv1.weight"))
        .collect();
    let shape = [ELEMENTS, 1];
    let shapes = names.iter().map(|name| (name.clone(), shape.to_vec()));
    let synthetic = Checkpoint::synthetic("large", Metadata::default(), shapes).unwrap();

    let writing = peak_of(|| {
        write(
            &synthetic,
            &Metadata::default(),
            StoredDtype::Kept,
            &new(&path),
            &mut |_, _| Continue(()),
        )
        .unwrap()
    });
    assert!(
        writing < FILE / 8,
        "writing {FILE} bytes took {writing} bytes of memory"
    );

    let reading = peak_of(|| {
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.digest().len(), 64);
        let all: Vec<Vec<f32>> = names
            .iter()
            .map(|name| checkpoint.read(name, &shape).unwrap())
            .collect();
        assert_eq!(all.len(), TENSORS);
    });
    assert!(
        reading < FILE / 10 * 11,
        "reading {FILE} bytes took {reading} bytes of memory"
    );

    let converting = peak_of(|| {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let half = folder.path().join("half.safetensors");
        write(
            &checkpoint,
            &Metadata::default(),
            StoredDtype::Bf16,
            &new(&half),
            &mut |_, _| Continue(()),
        )
        .unwrap();
    });
    assert!(
        converting < FILE / 8,
        "converting {FILE} bytes took {converting} bytes of memory"
    );
    println!(
        "memory for a file of {FILE} bytes: writing {writing}, reading {reading}, converting {converting}"
    );
}
