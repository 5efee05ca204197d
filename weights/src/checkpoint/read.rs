//! Reads the values of tensors, as floats.

use safetensors::Dtype;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::quantized;
use crate::tensor::{Tensor, Values};

impl Checkpoint {
    /// The values of tensor `name` in row-major order, converted to f32.
    ///
    /// # Errors
    /// When the tensor is missing, its shape is not `shape`, its dtype is not
    /// supported, or a value is not finite.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let origin = self.origin.clone();
        let tensor = self.name_in_file(name);
        let Some(entry) = self.tensors.get(name) else {
            let expected = shape.to_vec();
            return Err(Error::Missing {
                origin,
                tensor,
                expected,
            });
        };
        if entry.shape != shape {
            let (found, expected) = (entry.shape.clone(), shape.to_vec());
            return Err(Error::Shape {
                origin,
                tensor,
                found,
                expected,
            });
        }
        let Some(mut values) = entry.widen(&self.files) else {
            let dtype = entry.dtype.to_string();
            return Err(Error::Dtype {
                origin,
                tensor,
                dtype,
            });
        };
        if is_integer(entry) {
            quantized::dequantize(&mut values, &self.scales(name, shape)?);
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => {
                let value = values[index];
                Err(Error::NotFinite {
                    origin,
                    tensor,
                    index,
                    value,
                })
            }
            None => Ok(values),
        }
    }

    /// The scales of 8-bit weights, one for each output channel: the steps between
    /// their values. `None` if tensor `name` holds floats.
    ///
    /// # Errors
    /// When the scales are missing or have the wrong shape.
    pub fn steps(&self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.tensors.get(name) {
            Some(tensor) if is_integer(tensor) => self.scales(name, &tensor.shape).map(Some),
            _ => Ok(None),
        }
    }

    /// The scale of each output channel of 8-bit weights `name`.
    fn scales(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.name_in_file(name) + quantized::SCALE;
        let expected = vec![shape.first().copied().unwrap_or(0)];
        let missing = || Error::Missing {
            origin: self.origin.clone(),
            tensor: tensor.clone(),
            expected: expected.clone(),
        };
        let scales = self.scales.get(name).ok_or_else(missing)?;
        if scales.shape != expected {
            return Err(Error::Shape {
                origin: self.origin.clone(),
                tensor,
                found: scales.shape.clone(),
                expected,
            });
        }
        scales.widen(&self.files).ok_or_else(missing)
    }
}

/// Whether a tensor holds 8-bit weights.
fn is_integer(tensor: &Tensor) -> bool {
    matches!(tensor.values, Values::Stored(_)) && tensor.dtype == Dtype::I8
}
