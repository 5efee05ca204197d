//! A checkpoint in several files, and the JSON index that says which file
//! holds which tensor.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::open::Opened;

/// Bytes of an index: far more than one name and one file for each tensor.
const LONGEST_INDEX: usize = 8 << 20;

/// The networks served here fit one file; a hundred is generous.
const MOST_SHARDS: usize = 100;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens every file that the index at `path` names, beside it.
pub(crate) fn open(path: &Path, index: &[u8]) -> Result<Opened> {
    let origin = path.display().to_string();
    let mut all = Opened {
        files: Vec::new(),
        tensors: Vec::new(),
        facts: Facts::default(),
    };
    for (file, tensors) in shards(&origin, index)? {
        let shard = path.with_file_name(&file);
        let shard = Opened::one_file(&shard.display().to_string(), Bytes::map(&shard)?)?;
        let names: HashSet<&str> = shard
            .tensors
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        if let Some(absent) = tensors.iter().find(|name| !names.contains(name.as_str())) {
            let fault =
                format!("it places tensor `{absent}` in {file}, which has none of that name");
            return Err(Error::malformed(&origin, fault));
        }
        all.add(shard);
    }
    Ok(all)
}

/// The files that the index at `path` names.
pub(crate) fn files(path: &Path) -> Result<Vec<String>> {
    let shards = shards(&path.display().to_string(), &Bytes::map(path)?)?;
    Ok(shards.into_keys().collect())
}

/// Each file of an index, with the tensors that it is to hold.
fn shards(origin: &str, index: &[u8]) -> Result<BTreeMap<String, Vec<String>>> {
    let malformed = |fault: String| Error::malformed(origin, fault);
    if index.len() > LONGEST_INDEX {
        return Err(malformed(format!("an index of {} bytes", index.len())));
    }
    let Index { weight_map } = serde_json::from_slice(index)
        .map_err(|e| malformed(format!("it is no index of shards: {e}")))?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, file) in weight_map {
        if !is_plain(&file) {
            return Err(malformed(format!(
                "it points to {file:?}, which is no file beside it"
            )));
        }
        shards.entry(file).or_default().push(tensor);
    }
    if shards.is_empty() || shards.len() > MOST_SHARDS {
        return Err(malformed(format!(
            "an index of {} files; 1 to {MOST_SHARDS} are read",
            shards.len()
        )));
    }
    Ok(shards)
}

/// Whether `name` can only be a file in the index's own folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}
