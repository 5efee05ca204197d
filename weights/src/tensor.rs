//! One tensor of a checkpoint: its name, dtype and shape in the file, and the
//! conversion of its values to f32.

use std::ops::Range;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::bytes::Bytes;
use crate::synthetic;

/// A tensor whose values are not read yet.
pub(crate) struct Tensor {
    /// Its name in the file.
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

/// The source of a tensor's values.
pub(crate) enum Values {
    /// Little-endian values in a file.
    Stored(Location),
    InMemory(Vec<f32>),
    /// Computed from the name and the shape.
    Synthetic,
}

/// The location of a tensor in a file. The range is checked against the
/// length of the file before it is stored here.
#[derive(Clone)]
pub(crate) struct Location {
    /// Index into the files of the checkpoint.
    pub(crate) file: usize,
    /// The tensor's bytes in the file.
    pub(crate) range: Range<usize>,
    /// The stride of each dimension in elements; `None` means row-major.
    pub(crate) strides: Option<Vec<usize>>,
}

impl Tensor {
    /// Drops the two trailing dimensions of a 1x1 convolution.
    pub(crate) fn flatten_classifier(&mut self) {
        self.shape.truncate(2);
        if let Values::Stored(Location {
            strides: Some(strides),
            ..
        }) = &mut self.values
        {
            strides.truncate(2);
        }
    }

    /// The values in row-major order; `None` for an unsupported dtype.
    pub(crate) fn widen(&self, files: &[Bytes]) -> Option<Vec<f32>> {
        let location = match &self.values {
            Values::InMemory(values) => return Some(values.clone()),
            Values::Synthetic => return Some(synthetic::tensor(&self.name, &self.shape)),
            Values::Stored(location) => location,
        };
        let file = &files[location.file];
        let values = widen(&file[location.range.clone()], self.dtype);
        file.release(&location.range);
        match &location.strides {
            Some(strides) => values.map(|values| gather(&values, &self.shape, strides)),
            None => values,
        }
    }

    /// The only value of a tensor of integers; `None` for another tensor.
    pub(crate) fn integer(&self, files: &[Bytes]) -> Option<i64> {
        if self.shape.iter().product::<usize>() != 1 {
            return None;
        }
        let Values::Stored(location) = &self.values else {
            return None;
        };
        let bytes = &files[location.file][location.range.clone()];
        match self.dtype {
            Dtype::I64 => bytes.try_into().ok().map(i64::from_le_bytes),
            Dtype::I32 => bytes.try_into().ok().map(i32::from_le_bytes).map(i64::from),
            _ => None,
        }
    }

    /// Whether all bits are 0.
    pub(crate) fn is_zero(&self, files: &[Bytes]) -> bool {
        match &self.values {
            Values::Stored(location) => {
                let bytes = &files[location.file][location.range.clone()];
                bytes.iter().all(|byte| *byte == 0)
            }
            Values::InMemory(values) => values.iter().all(|value| *value == 0.0),
            Values::Synthetic => false,
        }
    }
}

/// Converts little-endian bytes to f32; `None` for an unsupported dtype.
fn widen(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    let (words, _) = bytes.as_chunks::<4>();
    let (halves, _) = bytes.as_chunks::<2>();
    match dtype {
        Dtype::F32 => Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect()),
        Dtype::F16 => Some(
            halves
                .iter()
                .map(|half| f16::from_le_bytes(*half).to_f32())
                .collect(),
        ),
        Dtype::F64 => {
            let (doubles, _) = bytes.as_chunks::<8>();
            let values = doubles.iter().map(|double| f64::from_le_bytes(*double));
            Some(values.map(|double| double as f32).collect())
        }
        // The checkpoint multiplies these by the scales.
        Dtype::I8 => Some(bytes.iter().map(|byte| f32::from(*byte as i8)).collect()),
        Dtype::BF16 => Some(
            halves
                .iter()
                .map(|half| bf16::from_le_bytes(*half).to_f32())
                .collect(),
        ),
        _ => None,
    }
}

/// The elements of a strided tensor in row-major order.
fn gather(values: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut gathered = Vec::with_capacity(shape.iter().product());
    for _ in 0..shape.iter().product() {
        gathered.push(values[at]);
        // Advance the index; the last dimension changes fastest.
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_and_bf16_widen_exactly() {
        let halves = [0x00, 0x3c, 0x00, 0xc0]; // 1.0, -2.0
        assert_eq!(widen(&halves, Dtype::F16).unwrap(), [1.0, -2.0]);
        let brain_floats = [0x80, 0x3f, 0x00, 0xc0];
        assert_eq!(widen(&brain_floats, Dtype::BF16).unwrap(), [1.0, -2.0]);
        assert!(widen(&halves, Dtype::I16).is_none());
    }

    #[test]
    fn channels_last_tensors_are_read_in_row_major_order() {
        // [N=1, C=2, H=1, W=3] stored as [N, H, W, C]
        let stored = [0.0, 10.0, 1.0, 11.0, 2.0, 12.0];
        let rows = gather(&stored, &[1, 2, 1, 3], &[6, 1, 6, 2]);
        assert_eq!(rows, [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
    }
}
