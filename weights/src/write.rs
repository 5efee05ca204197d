//! Writes a checkpoint as one safetensors file under canonical names, tensor
//! by tensor, with what is known about it in the metadata.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use ::safetensors::tensor::{Metadata, TensorInfo};
use half::{bf16, f16};
use safetensors::Dtype;
use tempfile::NamedTempFile;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::quantised::{SCALE, quantise};

/// Which numbers to write. All but [`Numbers::Kept`] are for the matrices and
/// the convolutions: vectors (norms and biases) are few and stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Those of the checkpoint.
    Kept,
    /// IEEE half precision: 11 bits of significand, up to 65504.
    F16,
    /// Brain floating point: 8 bits of significand, f32's range.
    Bf16,
    /// 8-bit integers, with a step for each output channel beside them.
    Int8,
}

/// Writes `checkpoint` to `path` with `facts` as its metadata. A file that is
/// there is replaced when the new one is complete. Number types are kept
/// unless `numbers` asks for others. `progress` hears how many bytes of how many
/// are written.
///
/// # Errors
/// When a tensor cannot be read or does not fit its type, or the file cannot
/// be written.
pub fn write(
    checkpoint: &Checkpoint,
    facts: &Facts,
    numbers: Numbers,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let tensors = layout(checkpoint, numbers);
    let total = tensors.last().map_or(0, |(_, info)| info.data_offsets.1);
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let header = header(checkpoint, facts, tensors.clone()).map_err(failed)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let file = temporary(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(&header).map_err(failed)?;
    // wide types come first, so every tensor of steps before its integers
    let mut integers = HashMap::new();
    for (name, info) in tensors {
        if let Some(weights) = name.strip_suffix(SCALE) {
            let shape = checkpoint.shape(weights).unwrap_or_default().to_vec();
            let values = checkpoint.read(weights, &shape)?;
            let (whole, steps) = quantise(&values, shape.first().copied().unwrap_or(1));
            integers.insert(weights.to_owned(), whole);
            narrow(&steps, info.dtype, &mut out).map_err(failed)?;
            continue;
        }
        if let Some(whole) = integers.remove(&name) {
            let bytes: Vec<u8> = whole.into_iter().map(|q| q as u8).collect();
            out.write_all(&bytes).map_err(failed)?;
            progress(info.data_offsets.1 as u64, total as u64);
            continue;
        }
        let values = checkpoint.read(&name, &info.shape)?;
        if let Some(value) = values.iter().find(|value| overflows(**value, info.dtype)) {
            return Err(Error::Overflow {
                tensor: checkpoint.own_name(&name),
                value: *value,
                dtype: info.dtype.to_string(),
            });
        }
        narrow(&values, info.dtype, &mut out).map_err(failed)?;
        progress(info.data_offsets.1 as u64, total as u64);
    }
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Every tensor's place: wide types first, so that each is aligned, then by
/// name.
fn layout(checkpoint: &Checkpoint, numbers: Numbers) -> Vec<(String, TensorInfo)> {
    let typed = checkpoint.typed().map(|(name, shape, dtype)| {
        let vector = shape.len() < 2;
        let dtype = match numbers {
            Numbers::F16 if !vector => Dtype::F16,
            Numbers::Bf16 if !vector => Dtype::BF16,
            Numbers::Int8 if !vector => Dtype::I8,
            // integers without their steps would mean nothing
            _ if dtype == Dtype::I8 => Dtype::F32,
            _ => dtype,
        };
        (name.to_owned(), shape.to_vec(), dtype)
    });
    let mut typed: Vec<_> = typed.collect();
    let integers = typed.iter().filter(|(_, _, dtype)| *dtype == Dtype::I8);
    let steps = integers.map(|(name, shape, _)| (name.clone() + SCALE, vec![shape[0]], Dtype::F32));
    typed.extend(steps.collect::<Vec<_>>());
    typed.sort_by_key(|(_, _, dtype)| std::cmp::Reverse(dtype.bitsize()));
    let mut end = 0;
    let place = |(name, shape, dtype): (String, Vec<usize>, Dtype)| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let data_offsets = (start, end);
        (
            name,
            TensorInfo {
                dtype,
                shape,
                data_offsets,
            },
        )
    };
    typed.into_iter().map(place).collect()
}

/// The length and the JSON, padded so that the tensors are aligned.
fn header(
    checkpoint: &Checkpoint,
    facts: &Facts,
    tensors: Vec<(String, TensorInfo)>,
) -> io::Result<Vec<u8>> {
    let mut metadata = facts.to_metadata()?;
    let origin = format!("{}, SHA-256 {}", checkpoint.name(), checkpoint.digest());
    metadata.insert("origin".into(), origin);
    // Without it, transformers refuses a file.
    metadata.insert("format".into(), "pt".into());
    let metadata = Metadata::new(Some(metadata), tensors).map_err(io::Error::other)?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

/// A file in `folder` that goes away unless it is given a name.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What any new file gets, less the umask; the default is 0600.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Whether a finite value would become infinite.
fn overflows(value: f32, dtype: Dtype) -> bool {
    match dtype {
        Dtype::F16 => f16::from_f32(value).is_infinite(),
        Dtype::BF16 => bf16::from_f32(value).is_infinite(),
        _ => false,
    }
}

/// Writes values as little-endian numbers of the type.
fn narrow(values: &[f32], dtype: Dtype, out: &mut impl Write) -> io::Result<()> {
    match dtype {
        Dtype::F16 => values
            .iter()
            .try_for_each(|value| out.write_all(&f16::from_f32(*value).to_le_bytes())),
        Dtype::BF16 => values
            .iter()
            .try_for_each(|value| out.write_all(&bf16::from_f32(*value).to_le_bytes())),
        _ => values
            .iter()
            .try_for_each(|value| out.write_all(&value.to_le_bytes())),
    }
}
