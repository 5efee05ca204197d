//! Compares the logits of whole small networks with AMX, and on Arm with each
//! instruction set, with those of the vector kernels.

use weights::{Checkpoint, Metadata, Preprocessing, synthetic};

use super::*;
use crate::backend::{Backend, Input};
use crate::dtype::Dtype;
use crate::options::Isa;
use crate::outputs::Outputs;
use crate::plan::{CpuConfig, CpuPlan};
use crate::threads::ThreadPool;
use crate::{build, family, fuse, ranges};

const SIZE: usize = 32;

/// With and without groups, strided 1x1 and 3x3, a 7x7 stem, feature maps of
/// 32x32 down to 1x1.
const NETWORKS: [&str; 3] = ["cifar_resnet20", "resnet18", "resnext50_32x4d"];

/// Logits of 3 images on each instruction set with fast `dtype` products, AMX
/// last, and on each of Arm's.
fn logits(name: &str, dtype: Dtype) -> Vec<(SupportedIsa, Vec<f32>)> {
    let row = family::find(name).unwrap();
    let graph = build::build(row, SIZE, 10);
    let keys = ranges::keys(&graph, &fuse::fuse(&graph).unwrap());
    let metadata = Metadata {
        ranges: Some(keys.into_iter().map(|key| (key, [-6.0, 6.0])).collect()),
        ..Metadata::default()
    };
    let checkpoint = Checkpoint::synthetic(name, metadata, graph.parameters()).unwrap();
    let images: Vec<f32> = synthetic::tensor("images", &[3, 3 * SIZE * SIZE])
        .iter()
        .map(|x| x * 50.0)
        .collect();
    let threads = ThreadPool::new(2).unwrap();
    let run = |isa| {
        let config = CpuConfig { dtype, isa };
        let plan = CpuPlan::new(
            &graph,
            &checkpoint,
            &Preprocessing::imagenet(),
            config,
            &threads,
        )
        .unwrap();
        let forward = || {
            plan.forward(Input::Planes(&images), Outputs::LOGITS)
                .unwrap()
        };
        // the second pass starts with the first one's values in its arena
        let first = forward();
        assert_eq!(forward(), first);
        (isa, first.logits)
    };
    let isas = isas::<bf16>().into_iter();
    let fast = isas.filter(|isa| match isa.get() {
        Isa::Neon | Isa::NeonDot | Isa::NeonI8mm | Isa::NeonBf16 => true,
        isa => isa >= Isa::Avx512Bf16,
    });
    fast.map(run).collect()
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
fn int8_networks_are_bit_identical_on_all_instruction_sets() {
    for name in NETWORKS {
        let all = logits(name, Dtype::Int8);
        for (isa, logits) in &all {
            assert_ne!(
                logits[..10],
                logits[10..20],
                "{name}: different images have equal logits; everything is saturated"
            );
            assert_eq!(*logits, all[0].1, "{name} on {isa:?}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
fn bf16_networks_agree_up_to_rounding() {
    for name in NETWORKS {
        let all = logits(name, Dtype::Bf16);
        for (isa, logits) in &all {
            let largest = all[0].1.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            for (x, y) in logits.iter().zip(&all[0].1) {
                assert!(
                    (x - y).abs() < 2e-2 * largest,
                    "{name} on {isa:?}: {x}, {y}"
                );
            }
        }
    }
}
