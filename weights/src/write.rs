//! Writes a checkpoint to one safetensors file, with canonical names and its
//! metadata. Tensors are converted one by one.

use std::collections::HashMap;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ::safetensors::tensor::{Metadata as Header, TensorInfo};
use half::{bf16, f16};
use safetensors::Dtype;
use tempfile::NamedTempFile;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::quantized::{SCALE, integers, quantize};

/// The dtype of the weights in a file. All but [`StoredDtype::Kept`] apply to
/// convolutions and linear layers only: norms and biases are small and keep
/// their dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredDtype {
    /// The dtypes of the checkpoint; 64-bit weights become f32.
    Kept,
    /// IEEE half precision: 11 bits of significand, at most 65504.
    F16,
    /// bfloat16: 8 bits of significand, the range of f32.
    Bf16,
    /// 8-bit integers, with a scale for each output channel. Integers of the
    /// checkpoint do not change.
    Int8,
}

/// The file to write.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its path. A symbolic link stands for the file that it leads to.
    pub path: &'a Path,
    /// Whether an existing file is replaced.
    pub replace: bool,
}

impl Target<'_> {
    /// Checks that the file may be written, before work is done for it. Returns
    /// its path without symbolic links.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotRegular`]; [`Error::Write`] for a link that
    /// leads nowhere.
    pub fn check(&self) -> Result<PathBuf> {
        let failed = |source| Error::Write {
            path: self.path.to_owned(),
            source,
        };
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(self.path.to_owned()),
            found => found.map_err(failed)?,
        };
        let path = self.path.canonicalize().map_err(failed)?;
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(Error::NotRegular {
                path: self.path.to_owned(),
            });
        }
        if !self.replace {
            return Err(Error::Exists {
                path: self.path.to_owned(),
            });
        }
        Ok(path)
    }
}

/// Writes `checkpoint` to `target` with the given metadata and dtype. The file
/// appears when it is complete; an existing one is replaced atomically.
/// `progress` is called with the bytes written so far and the total; it can stop
/// the writing, which leaves nothing behind.
///
/// # Errors
/// When a tensor cannot be read or overflows its dtype, the file cannot be
/// written or may not be replaced, or `progress` stops.
pub fn write(
    checkpoint: &Checkpoint,
    metadata: &Metadata,
    stored: StoredDtype,
    target: &Target,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<()> {
    let path = target.check()?;
    let tensors = layout(checkpoint, stored);
    let total = tensors.last().map_or(0, |(_, info)| info.data_offsets.1);
    let failed = |source| Error::Write {
        path: path.clone(),
        source,
    };
    let mut advance = |done: usize| match progress(done as u64, total as u64) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Interrupted { path: path.clone() }),
    };
    let header = header(checkpoint, metadata, tensors.clone()).map_err(failed)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let file = temporary(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(&header).map_err(failed)?;
    // Wide dtypes come first, so scales are written before their integers.
    let mut waiting = HashMap::new();
    for (name, info) in tensors {
        let scaled = name.strip_suffix(SCALE);
        if let Some(weights) = scaled.filter(|_| checkpoint.shape(&name).is_none()) {
            let shape = checkpoint.shape(weights).unwrap_or_default().to_vec();
            let values = checkpoint.read(weights, &shape)?;
            let (quantized, scales) = match checkpoint.steps(weights)? {
                Some(steps) => (integers(&values, &steps), steps),
                None => quantize(&values, channels(&shape)),
            };
            waiting.insert(weights.to_owned(), quantized);
            narrow(&scales, info.dtype, &mut out).map_err(failed)?;
            continue;
        }
        if let Some(quantized) = waiting.remove(&name) {
            let bytes: Vec<u8> = quantized.into_iter().map(|q| q as u8).collect();
            out.write_all(&bytes).map_err(failed)?;
            advance(info.data_offsets.1)?;
            continue;
        }
        let values = checkpoint.read(&name, &info.shape)?;
        if let Some(value) = values.iter().find(|value| overflows(**value, info.dtype)) {
            return Err(Error::Overflow {
                tensor: checkpoint.name_in_file(&name),
                value: *value,
                dtype: info.dtype.to_string(),
            });
        }
        narrow(&values, info.dtype, &mut out).map_err(failed)?;
        advance(info.data_offsets.1)?;
    }
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    advance(total)?;
    let persisted = if target.replace {
        file.persist(&path)
    } else {
        // a file that has appeared in the meantime is not replaced
        file.persist_noclobber(&path)
    };
    match persisted {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == ErrorKind::AlreadyExists => Err(Error::Exists { path }),
        Err(e) => Err(failed(e.error)),
    }
}

/// The header entry of every tensor. Wide dtypes come first, so that all
/// tensors are aligned; tensors of one width are sorted by name.
fn layout(checkpoint: &Checkpoint, stored: StoredDtype) -> Vec<(String, TensorInfo)> {
    let typed = checkpoint.typed().map(|(name, shape, dtype)| {
        let vector = shape.len() < 2;
        let dtype = match stored {
            StoredDtype::F16 if !vector => Dtype::F16,
            StoredDtype::Bf16 if !vector => Dtype::BF16,
            StoredDtype::Int8 if !vector => Dtype::I8,
            // The checkpoint returns all weights as f32.
            _ if dtype == Dtype::F64 => Dtype::F32,
            _ => dtype,
        };
        (name.to_owned(), shape.to_vec(), dtype)
    });
    let mut typed: Vec<_> = typed.collect();
    let integers = typed.iter().filter(|(_, _, dtype)| *dtype == Dtype::I8);
    let scales =
        integers.map(|(name, shape, _)| (name.clone() + SCALE, vec![channels(shape)], Dtype::F32));
    typed.extend(scales.collect::<Vec<_>>());
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

/// The output channels of a tensor of weights.
fn channels(shape: &[usize]) -> usize {
    shape.first().copied().unwrap_or(1)
}

/// The length and the JSON header, padded so that the tensors are aligned.
fn header(
    checkpoint: &Checkpoint,
    metadata: &Metadata,
    tensors: Vec<(String, TensorInfo)>,
) -> io::Result<Vec<u8>> {
    let mut strings = metadata.to_strings()?;
    let origin = format!("{}, SHA-256 {}", checkpoint.name(), checkpoint.digest());
    strings.insert("origin".into(), origin);
    // transformers rejects a file without it.
    strings.insert("format".into(), "pt".into());
    let header = Header::new(Some(strings), tensors).map_err(io::Error::other)?;
    let mut json = serde_json::to_vec(&header)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

/// A temporary file in `folder`; it is removed unless it is renamed.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The usual mode of a new file before the umask; the default is 0600.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Whether a finite value becomes infinite in `dtype`.
fn overflows(value: f32, dtype: Dtype) -> bool {
    match dtype {
        Dtype::F16 => f16::from_f32(value).is_infinite(),
        Dtype::BF16 => bf16::from_f32(value).is_infinite(),
        _ => false,
    }
}

/// Converts values to `dtype` and writes them in little-endian order.
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
