//! Embeddings: the pooled features of an image, which similar images share.

use model::Outputs;

use super::error::Error;

/// What a forward pass has to return for [`embedding`].
pub const OUTPUTS: Outputs = Outputs {
    embedding: true,
    feature_map: false,
};

/// The embedding `[C]` of an image, whose forward pass returned [`OUTPUTS`], checked.
///
/// # Errors
/// [`Error::Embedding`] if values are missing or not finite.
pub fn embedding(
    returned: Option<Vec<f32>>,
    size: usize,
    normalize: bool,
) -> Result<Vec<f32>, Error> {
    let mut values = returned.unwrap_or_default();
    let finite = values.iter().all(|value| value.is_finite());
    if values.len() != size || !finite {
        return Err(Error::Embedding {
            found: values.len(),
            expected: size,
        });
    }
    if normalize {
        normalize_l2(&mut values);
    }
    Ok(values)
}

/// Divides a vector by its L2 norm; zeros stay zeros.
pub fn normalize_l2(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let norm = squares.sqrt();
    if norm > 0.0 {
        vector
            .iter_mut()
            .for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_divided_by_their_norm() {
        let mut vector = [3.0, 0.0, -4.0];
        normalize_l2(&mut vector);
        assert_eq!(vector, [0.6, 0.0, -0.8]);
        let mut huge = [1e30, 1e30];
        normalize_l2(&mut huge);
        assert_eq!(huge, [0.5_f32.sqrt(); 2]);
        let mut zeros = [0.0; 3];
        normalize_l2(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }
}
