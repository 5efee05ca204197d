//! Computes each operation of the graph with candle's operations, without
//! folding or fusion.

use candle_core::Tensor;
use candle_nn::{GroupNorm, Module, ops};

use crate::error::Result;
use crate::graph::{Conv, NORM_EPSILON, Node, Op, Outside};

/// Computes `node` from its inputs `x` and its parameters `p`, in the order of
/// `Graph::parameters_of`.
pub(super) fn apply(node: &Node, x: &[Tensor], p: &[Tensor]) -> Result<Tensor> {
    let first = &x[0];
    Ok(match node.op {
        Op::Input => first.clone(),
        Op::Conv(conv) => convolve(first, conv, p)?,
        Op::BatchNorm => batch_norm(first, p)?,
        Op::GroupNorm { groups } => {
            let channels = node.shape.channels;
            GroupNorm::new(p[0].clone(), p[1].clone(), channels, groups, NORM_EPSILON)?
                .forward(first)?
        }
        Op::Relu => first.relu()?,
        Op::Sigmoid => ops::sigmoid(first)?,
        Op::MaxPool {
            kernel,
            stride,
            padding,
            outside,
            ..
        } => {
            let (_, _, h, w) = first.dims4()?;
            // what the last windows need on the right and at the bottom
            let after = |outputs: usize, side: usize| {
                let read = (outputs - 1) * stride + kernel;
                padding.max(read.saturating_sub(side + padding))
            };
            let (down, right) = (after(node.shape.height, h), after(node.shape.width, w));
            let padded = match outside {
                Outside::Zeros => first
                    .pad_with_zeros(2, padding, down)?
                    .pad_with_zeros(3, padding, right)?,
                // a window that contains repeated edge pixels also contains the edge
                // pixels themselves, so its maximum is unchanged
                Outside::Nothing => first
                    .pad_with_same(2, padding, down)?
                    .pad_with_same(3, padding, right)?,
            };
            padded.max_pool2d_with_stride(kernel, stride)?
        }
        Op::AvgPool { size, .. } => {
            let (_, _, h, w) = first.dims4()?;
            // in a window of 2, the repeated pixel equals the one inside, so the mean is
            // that of the pixels inside
            let after = |outputs: usize, side: usize| (outputs * size).saturating_sub(side);
            let (down, right) = (after(node.shape.height, h), after(node.shape.width, w));
            first
                .pad_with_same(2, 0, down)?
                .pad_with_same(3, 0, right)?
                .avg_pool2d(size)?
        }
        Op::BlurPool => blur_pool(first)?,
        Op::ZeroPad { stride, channels } => zero_pad(first, stride, channels)?,
        Op::GlobalAvgPool => first.mean_keepdim((2, 3))?,
        Op::ChannelConv { kernel } => {
            let (n, c, _, _) = first.dims4()?;
            let y = first
                .reshape((n, 1, c))?
                .conv1d(&p[0], kernel / 2, 1, 1, 1)?;
            y.reshape((n, c, 1, 1))?
        }
        Op::Add => first.add(&x[1])?,
        Op::Scale => first.broadcast_mul(&x[1])?,
        Op::Highway => {
            let (gate, shortcut) = (&x[1], &x[2]);
            (first.mul(gate)? + shortcut.mul(&gate.affine(-1.0, 1.0)?)?)?
        }
        Op::Linear => first
            .flatten_from(1)?
            .matmul(&p[0].t()?)?
            .broadcast_add(&p[1])?,
    })
}

fn convolve(x: &Tensor, conv: Conv, p: &[Tensor]) -> Result<Tensor> {
    let weight = match conv.standardised {
        Some(epsilon) => standardise(&p[0], f64::from(epsilon))?,
        None => p[0].clone(),
    };
    let y = x.conv2d(&weight, conv.padding, conv.stride, 1, conv.groups)?;
    Ok(match p.get(1) {
        Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?,
        None => y,
    })
}

/// (w - mean) / sqrt(var + epsilon) over each output channel (Qiao et al. 2019).
fn standardise(weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let flat = weight.flatten_from(1)?;
    let centred = flat.broadcast_sub(&flat.mean_keepdim(1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(1)? + epsilon)?.sqrt()?;
    Ok(centred.broadcast_div(&deviation)?.reshape(weight.shape())?)
}

/// (x - mean) / sqrt(var + epsilon) * weight + bias (Ioffe and Szegedy 2015).
fn batch_norm(x: &Tensor, p: &[Tensor]) -> Result<Tensor> {
    let channel = |t: &Tensor| t.reshape((1, (), 1, 1));
    let scale = p[0].div(&(&p[3] + NORM_EPSILON)?.sqrt()?)?;
    let centred = x.broadcast_sub(&channel(&p[2])?)?;
    Ok(centred
        .broadcast_mul(&channel(&scale)?)?
        .broadcast_add(&channel(&p[1])?)?)
}

/// [1 2 1] / 4 along the rows, then along the columns, at every second pixel. The
/// pixel before the first is the second, the one after the last is the last but
/// one (Zhang 2019).
fn blur_pool(x: &Tensor) -> Result<Tensor> {
    let blur = |x: &Tensor, dimension: usize| -> Result<Tensor> {
        let side = x.dim(dimension)?;
        let at = |offset: isize| -> Result<Tensor> {
            let reflected = |i: usize| {
                let i = (i as isize + offset).unsigned_abs();
                i.min((2 * side - 2).saturating_sub(i)) as u32
            };
            let pixels: Vec<u32> = (0..side).step_by(2).map(reflected).collect();
            Ok(x.index_select(&Tensor::new(pixels, x.device())?, dimension)?)
        };
        let (before, here, after) = (at(-1)?, at(0)?, at(1)?);
        Ok(((before + after)? * 0.25)?.add(&(here * 0.5)?)?)
    };
    blur(&blur(x, 2)?, 3)
}

fn zero_pad(x: &Tensor, stride: usize, channels: usize) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    let every = |side: usize| (0..side as u32).step_by(stride).collect::<Vec<_>>();
    let rows = Tensor::new(every(h), x.device())?;
    let columns = Tensor::new(every(w), x.device())?;
    let y = x.index_select(&rows, 2)?.index_select(&columns, 3)?;
    let before = (channels - c) / 2;
    Ok(y.pad_with_zeros(1, before, channels - c - before)?)
}
