//! The whole plan as one candle operation: a tensor of images goes in, a
//! tensor of logits comes out, whatever fused steps lie between.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, bail};

use crate::graph::Graph;
use crate::plan::{Input, Plan};

/// Reads planes `[N, 3, S, S]` in f32, or pixels `[N, S, S, 3]` in u8, and gives
/// what `forward` makes of them as logits `[N, classes]`.
pub(crate) fn on_tensor(
    graph: &Graph,
    (storage, layout): (&CpuStorage, &Layout),
    forward: impl FnOnce(Input) -> crate::error::Result<Vec<f32>>,
) -> Result<(CpuStorage, Shape)> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the plan reads contiguous tensors, not {layout:?}");
    };
    let n = layout.dims().first().copied().unwrap_or(0);
    let logits = match storage {
        CpuStorage::F32(planes) => forward(Input::Planes(&planes[start..end])),
        CpuStorage::U8(pixels) => {
            let image = (end - start) / n.max(1);
            let images: Vec<&[u8]> = pixels[start..end].chunks_exact(image.max(1)).collect();
            forward(Input::Pixels(&images))
        }
        _ => bail!("the plan reads f32 planes or u8 pixels"),
    }
    .map_err(candle_core::Error::wrap)?;
    let classes = graph.shape(graph.output()).channels;
    Ok((CpuStorage::F32(logits), Shape::from((n, classes))))
}

impl CustomOp1 for Plan {
    fn name(&self) -> &'static str {
        "resnet-plan"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        on_tensor(self.graph(), (storage, layout), |input| self.forward(input))
    }
}
