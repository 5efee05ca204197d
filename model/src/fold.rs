//! Computes the weights of a step from the checkpoint: standardises them if the
//! architecture does, and folds in the batch norm. The results are f32, whatever
//! the dtype of the file.

use weights::Checkpoint;

use crate::error::Result;
use crate::graph::{Conv, Graph, NORM_EPSILON};

/// The weights and the bias of a convolution or of the classifier.
pub(crate) struct Folded {
    /// `[Cout, Cin / groups, K, K]`, row-major.
    pub(crate) weight: Vec<f32>,
    /// `[Cout]`
    pub(crate) bias: Vec<f32>,
    /// Of 8-bit weights, the step between the values of each output channel. It is
    /// negative where the batch norm's scale is.
    pub(crate) steps: Option<Vec<f32>>,
}

/// A batch norm as `x * scale + shift`, `[C]` each.
pub(crate) struct ScaleShift {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

/// The values of all parameters of a node, in the order of
/// [`Graph::parameters_of`].
pub(crate) fn parameters(
    graph: &Graph,
    node: usize,
    checkpoint: &Checkpoint,
) -> Result<Vec<Vec<f32>>> {
    graph
        .parameters_of(&graph.nodes[node])
        .iter()
        .map(|(name, shape)| Ok(checkpoint.read(name, shape)?))
        .collect()
}

/// The batch norm of `node`: scale = weight / sqrt(var + epsilon),
/// shift = bias - mean * scale.
pub(crate) fn batch_norm(
    graph: &Graph,
    node: usize,
    checkpoint: &Checkpoint,
) -> Result<ScaleShift> {
    let p = parameters(graph, node, checkpoint)?;
    let scale: Vec<f32> = p[0]
        .iter()
        .zip(&p[3])
        .map(|(w, var)| (f64::from(*w) / (f64::from(*var) + NORM_EPSILON).sqrt()) as f32)
        .collect();
    let shift = (0..scale.len())
        .map(|c| p[1][c] - p[2][c] * scale[c])
        .collect();
    Ok(ScaleShift { scale, shift })
}

/// The weights of the convolution `node`. If batch norm `norm` follows it, the norm
/// is folded in: w' = w * scale, b' = b * scale + shift.
pub(crate) fn conv(
    graph: &Graph,
    node: usize,
    conv: Conv,
    norm: Option<usize>,
    checkpoint: &Checkpoint,
) -> Result<Folded> {
    let mut p = parameters(graph, node, checkpoint)?.into_iter();
    let mut weight = p.next().unwrap_or_default();
    let channels = graph.nodes[node].shape.channels;
    let mut bias = p.next().unwrap_or_else(|| vec![0.0; channels]);
    let mut steps = match conv.standardised {
        Some(_) => None,
        None => steps(graph, node, checkpoint)?,
    };
    if let Some(epsilon) = conv.standardised {
        weight
            .chunks_exact_mut(weight_len(graph, node))
            .for_each(|w| standardise(w, epsilon));
    }
    if let Some(norm) = norm {
        let ScaleShift { scale, shift } = batch_norm(graph, norm, checkpoint)?;
        let rows = weight.chunks_exact_mut(weight_len(graph, node));
        for (c, row) in rows.enumerate() {
            row.iter_mut().for_each(|w| *w *= scale[c]);
            bias[c] = bias[c] * scale[c] + shift[c];
        }
        let steps = steps.iter_mut().flatten();
        steps.zip(&scale).for_each(|(step, scale)| *step *= scale);
    }
    Ok(Folded {
        weight,
        bias,
        steps,
    })
}

/// The weights of the classifier, unchanged.
pub(crate) fn linear(graph: &Graph, node: usize, checkpoint: &Checkpoint) -> Result<Folded> {
    let mut p = parameters(graph, node, checkpoint)?.into_iter();
    let weight = p.next().unwrap_or_default();
    Ok(Folded {
        weight,
        bias: p.next().unwrap_or_default(),
        steps: steps(graph, node, checkpoint)?,
    })
}

/// The steps of the weights of a node, if the file has them in 8 bits.
fn steps(graph: &Graph, node: usize, checkpoint: &Checkpoint) -> Result<Option<Vec<f32>>> {
    let parameters = graph.parameters_of(&graph.nodes[node]);
    let weights = parameters.first().map(|(name, _)| checkpoint.steps(name));
    Ok(weights.transpose()?.flatten())
}

/// Number of weights of one output channel: Cin / groups * K * K.
fn weight_len(graph: &Graph, node: usize) -> usize {
    let parameters = graph.parameters_of(&graph.nodes[node]);
    parameters[0].1[1..].iter().product()
}

/// Standardises the weights of one output channel:
/// (w - mean) / sqrt(var + epsilon) (Qiao et al. 2019).
fn standardise(weight: &mut [f32], epsilon: f32) {
    let n = weight.len() as f64;
    let mean = weight.iter().map(|&w| f64::from(w)).sum::<f64>() / n;
    let var = weight
        .iter()
        .map(|&w| (f64::from(w) - mean).powi(2))
        .sum::<f64>()
        / n;
    let scale = 1.0 / (var + f64::from(epsilon)).sqrt();
    weight
        .iter_mut()
        .for_each(|w| *w = ((f64::from(*w) - mean) * scale) as f32);
}
