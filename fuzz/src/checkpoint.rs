//! Checkpoint files, and the text files beside them.

use std::fs;
use std::path::PathBuf;

use resnet_weights::{Checkpoint, Hierarchy, Labels};

use crate::measured::{Bounds, within};

/// What a file of this number of bytes may use.
fn bounds(bytes: usize) -> Bounds {
    Bounds {
        bytes: (4 << 20) + 16 * bytes,
        seconds: 5.0,
    }
}

/// Opens `bytes` as a checkpoint and reads every tensor.
pub fn open(extension: &str, bytes: &[u8]) {
    let path = folder().join(format!("model.{extension}"));
    fs::write(&path, bytes).expect("the temporary folder is writable");
    within(&bounds(bytes.len()), || {
        let Ok(checkpoint) = Checkpoint::open(&path) else {
            return;
        };
        for (name, shape) in checkpoint.tensors() {
            let _ = checkpoint.read(name, shape);
        }
    });
}

/// Opens a checkpoint with `bytes` as the configuration files beside it, then `bytes`
/// as class names and as categories. A zero byte separates the two configurations.
pub fn open_folder(bytes: &[u8]) {
    let folder = folder().join("model");
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let mut files = bytes.splitn(2, |&byte| byte == 0);
    for name in ["config.json", "preprocessor_config.json"] {
        let path = folder.join(name);
        match files.next() {
            Some(text) => fs::write(path, text).expect("the temporary folder is writable"),
            None => drop(fs::remove_file(path)),
        }
    }
    let labels = folder.join("labels.txt");
    fs::write(&labels, bytes).expect("the temporary folder is writable");
    // An empty safetensors file.
    let weights = [&2_u64.to_le_bytes()[..], b"{}"].concat();
    let path = folder.join("model.safetensors");
    fs::write(path, weights).expect("the temporary folder is writable");
    within(&bounds(bytes.len()), || {
        let source = resnet_weights::Source::parse(&folder.display().to_string());
        if let Ok(source) = source {
            let _ = source.open(&resnet_weights::Hub::from_env(), &mut |_| {});
        }
        let _ = Labels::from_file(&labels);
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = Hierarchy::parse(text);
        }
    });
}

/// A folder of this process.
fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("resnet-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder
}
