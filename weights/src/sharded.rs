//! The JSON index of a checkpoint in several files: which file holds which
//! tensors.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::bytes::{Access, Bytes};
use crate::error::{Error, Result};

/// Largest index in bytes; real ones are far smaller.
const MAX_INDEX_BYTES: u64 = 8 << 20;

/// The supported networks fit in one file; a hundred is generous.
const MAX_SHARDS: usize = 100;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The names of the files that the index at `path` lists.
pub(crate) fn files(path: &Path) -> Result<Vec<String>> {
    let origin = path.display().to_string();
    let length = path.metadata().map_or(0, |metadata| metadata.len());
    check_length(&origin, length)?;
    // Copied, because the index may be replaced at any time.
    let shards = shards(&origin, &Bytes::open(path, Access::Copied)?)?;
    Ok(shards.into_keys().collect())
}

/// The names of the tensors in each file of an index.
pub(crate) fn shards(origin: &str, index: &[u8]) -> Result<BTreeMap<String, Vec<String>>> {
    let malformed = |reason: String| Error::malformed(origin, reason);
    check_length(origin, index.len() as u64)?;
    let Index { weight_map } = serde_json::from_slice(index)
        .map_err(|e| malformed(format!("its content is not an index of shards: {e}")))?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, file) in weight_map {
        if !is_plain(&file) {
            return Err(malformed(format!(
                "its index names {file:?}, which is not a plain file name; shards must be in the folder of the index"
            )));
        }
        shards.entry(file).or_default().push(tensor);
    }
    if shards.is_empty() || shards.len() > MAX_SHARDS {
        return Err(malformed(format!(
            "its index names {} files; 1 to {MAX_SHARDS} are supported",
            shards.len()
        )));
    }
    Ok(shards)
}

fn check_length(origin: &str, length: u64) -> Result<()> {
    if length > MAX_INDEX_BYTES {
        return Err(Error::malformed(
            origin,
            format!("its index has {length} bytes; at most {MAX_INDEX_BYTES} are supported"),
        ));
    }
    Ok(())
}

/// Whether `name` can only be a file in the folder of the index.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}
