//! Networks of grey images. Images are decoded to RGB, so the first convolution of
//! such a network gets three input channels, whose weighted sum is the luminance.

use safetensors::Dtype;

use crate::bytes::Bytes;
use crate::tensor::{Tensor, Values};

/// The shares of red, green and blue in the luminance (ITU-R BT.601), as in Pillow
/// and torchvision.
const LUMINANCE: [f32; 3] = [0.299, 0.587, 0.114];

/// The canonical names of first convolutions.
const STEMS: [&str; 3] = ["conv1.weight", "conv1.0.weight", "layer0.conv1.weight"];

/// The weights of the first convolution of a network of grey images,
/// `[Cout, 1, K, K]`, as `[Cout, 3, K, K]`. `None` for another tensor. All channels
/// are normalised alike, so the result is that of the normalised luminance.
pub(crate) fn spread(canonical: &str, tensor: &Tensor, files: &[Bytes]) -> Option<Tensor> {
    let [outputs, 1, height, width] = tensor.shape[..] else {
        return None;
    };
    // The kernels of a stem are 3x3 or 7x7.
    let is_stem = STEMS.contains(&canonical) && height == width && height >= 3;
    if !is_stem || tensor.dtype == Dtype::I8 {
        return None;
    }
    let grey = tensor.widen(files)?;
    let kernels = grey.chunks(height * width);
    let shares = |kernel| LUMINANCE.map(|share| scaled(kernel, share)).into_iter();
    Some(Tensor {
        name: tensor.name.clone(),
        dtype: Dtype::F32,
        shape: vec![outputs, 3, height, width],
        values: Values::InMemory(kernels.flat_map(shares).flatten().collect()),
    })
}

fn scaled(kernel: &[f32], share: f32) -> Vec<f32> {
    kernel.iter().map(|weight| weight * share).collect()
}
