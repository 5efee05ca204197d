//! Which tensors of a file belong to the network, and what the others are.

use std::collections::{BTreeMap, HashMap};

use safetensors::Dtype;

use crate::naming::Naming;
use crate::quantized;
use crate::tensor::Tensor;

/// The tensors of a file by what they are for.
pub(crate) struct Parts {
    pub(crate) network: Vec<Tensor>,
    /// The scales of 8-bit weights, by the canonical name of the weights.
    pub(crate) scales: BTreeMap<String, Tensor>,
    /// The zero points of 8-bit weights.
    pub(crate) zero_points: Vec<Tensor>,
    /// The names of tensors that only the training uses.
    pub(crate) unused: Vec<String>,
}

impl Parts {
    /// Sorts the tensors. Which ones a network needs is not decided by the end of
    /// a name alone: `logit_scale` is no scale of 8-bit weights, because there are
    /// no such weights.
    pub(crate) fn of(tensors: Vec<Tensor>, naming: &Naming) -> Self {
        let by_name: HashMap<String, Dtype> = tensors
            .iter()
            .map(|tensor| (tensor.name.clone(), tensor.dtype))
            .collect();
        let mut parts = Self {
            network: Vec::new(),
            scales: BTreeMap::new(),
            zero_points: Vec::new(),
            unused: Vec::new(),
        };
        for tensor in tensors {
            let of_integers = |suffix| {
                let weights = tensor.name.strip_suffix(suffix);
                weights.filter(|name| by_name.get(*name) == Some(&Dtype::I8))
            };
            if let Some(weights) = of_integers(quantized::SCALE) {
                parts.scales.insert(naming.canonical(weights), tensor);
            } else if of_integers(quantized::ZERO_POINT).is_some() {
                parts.zero_points.push(tensor);
            } else if is_counter(&tensor, &by_name) {
                // every batch norm has one
            } else if naming.is_of_training(&tensor.name) {
                parts.unused.push(tensor.name);
            } else {
                parts.network.push(tensor);
            }
        }
        parts
    }
}

/// Whether a tensor counts training steps: an integer of a batch norm, or of
/// averaged weights.
fn is_counter(tensor: &Tensor, by_name: &HashMap<String, Dtype>) -> bool {
    let norm = tensor.name.strip_suffix("num_batches_tracked");
    let of_norm = norm.is_some_and(|norm| {
        ["running_mean", "weight"].map(|of| by_name.contains_key(&format!("{norm}{of}")))
            != [false; 2]
    });
    let is_integer = matches!(tensor.dtype, Dtype::I64 | Dtype::I32);
    let averaged = tensor.name == "n_averaged" || tensor.name.ends_with(".n_averaged");
    tensor.shape.iter().product::<usize>() == 1 && is_integer && (of_norm || averaged)
}
