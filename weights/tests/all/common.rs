//! Test data: builders of safetensors files, and the shared evidence.

use std::path::{Path, PathBuf};

use resnet_weights::Hub;
use serde_json::{Map, Value, json};

/// A folder of the shared evidence. If it is missing, prints that the test is
/// skipped and returns `None`.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SHARED_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if !path.is_dir() {
        println!("skipped: no ../shared");
        return None;
    }
    Some(path)
}

/// A Hub that may not be contacted, with its cache in `cache`.
pub(crate) fn offline_hub(cache: &Path) -> Hub {
    Hub {
        endpoint: "http://127.0.0.1:9".into(),
        cache: cache.to_owned(),
        token: None,
        offline: true,
        timeout: std::time::Duration::from_secs(1),
    }
}

/// Builds a safetensors file.
#[derive(Clone, Default)]
pub(crate) struct File {
    pub(crate) header: Map<String, Value>,
    pub(crate) data: Vec<u8>,
}

impl File {
    /// Adds a tensor of raw little-endian bytes.
    pub(crate) fn tensor(mut self, name: &str, dtype: &str, shape: &[usize], bytes: &[u8]) -> Self {
        let range = [self.data.len(), self.data.len() + bytes.len()];
        let info = json!({"dtype": dtype, "shape": shape, "data_offsets": range});
        self.header.insert(name.into(), info);
        self.data.extend(bytes);
        self
    }

    /// Adds an f32 tensor.
    pub(crate) fn f32(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name, "F32", shape, &bytes)
    }

    /// Sets an entry of the metadata.
    pub(crate) fn metadata(mut self, key: &str, value: &str) -> Self {
        let all = self
            .header
            .entry("__metadata__")
            .or_insert_with(|| json!({}));
        all[key] = value.into();
        self
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        framed(
            Value::from(self.header.clone()).to_string().as_bytes(),
            &self.data,
        )
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }
}

/// A safetensors file with this header and data, valid or not.
pub(crate) fn framed(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}
