//! One tensor of a file: what the file calls it, its type and shape, and how
//! its numbers become f32.

use std::ops::Range;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::bytes::Bytes;
use crate::synthetic;

/// A tensor before it is read.
pub(crate) struct Tensor {
    /// Its name in the file.
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

/// Where a tensor's numbers come from.
pub(crate) enum Values {
    /// Little-endian in a file.
    Stored(Place),
    /// In memory.
    Made(Vec<f32>),
    /// Computed from the name and the shape.
    Synthetic,
}

/// Where a tensor lies. Every range is checked against the file's length
/// before a `Place` is made.
#[derive(Clone)]
pub(crate) struct Place {
    /// Which of the checkpoint's files.
    pub(crate) file: usize,
    /// Its bytes there.
    pub(crate) range: Range<usize>,
    /// Elements from one index to the next in each dimension, unless row-major.
    pub(crate) strides: Option<Vec<usize>>,
}

impl Tensor {
    /// Drops the two trailing dimensions of a 1x1 convolution.
    pub(crate) fn flatten_classifier(&mut self) {
        self.shape.truncate(2);
        if let Values::Stored(Place {
            strides: Some(strides),
            ..
        }) = &mut self.values
        {
            strides.truncate(2);
        }
    }

    /// The numbers in row-major order; `None` for a type that is not read.
    pub(crate) fn widen(&self, files: &[Bytes]) -> Option<Vec<f32>> {
        let place = match &self.values {
            Values::Made(values) => return Some(values.clone()),
            Values::Synthetic => return Some(synthetic::tensor(&self.name, &self.shape)),
            Values::Stored(place) => place,
        };
        let file = &files[place.file];
        let values = widen(&file[place.range.clone()], self.dtype);
        file.release(&place.range);
        match &place.strides {
            Some(strides) => values.map(|values| gather(&values, &self.shape, strides)),
            None => values,
        }
    }
}

/// Little-endian bytes to f32; `None` for a type that is not read.
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
        // what a unit is worth, the checkpoint knows
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
        // Step to the next index, the last dimension fastest.
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
    fn halves_widen_exactly() {
        let halves = [0x00, 0x3c, 0x00, 0xc0]; // 1.0, -2.0
        assert_eq!(widen(&halves, Dtype::F16).unwrap(), [1.0, -2.0]);
        let brains = [0x80, 0x3f, 0x00, 0xc0];
        assert_eq!(widen(&brains, Dtype::BF16).unwrap(), [1.0, -2.0]);
        assert!(widen(&halves, Dtype::I16).is_none());
    }

    #[test]
    fn channels_last_becomes_row_major() {
        // [N=1, C=2, H=1, W=3] stored as [N, H, W, C]
        let stored = [0.0, 10.0, 1.0, 11.0, 2.0, 12.0];
        let rows = gather(&stored, &[1, 2, 1, 3], &[6, 1, 6, 2]);
        assert_eq!(rows, [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
    }
}
