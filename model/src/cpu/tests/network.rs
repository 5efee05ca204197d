//! Whole small networks on tiles give what they give on vectors.

use weights::{Checkpoint, Facts, Recipe, synthetic};

use super::*;
use crate::cores::Cores;
use crate::options::{Dtype, Isa};
use crate::plan::{Input, Numbers, Plan};
use crate::{build, family, fuse, ranges};

const SIZE: usize = 32;

/// Grouped and not, strided 1x1 and 3x3, a stem of 7x7, maps of 32 to 1.
const ROWS: [&str; 3] = ["cifar_resnet20", "resnet18", "resnext50_32x4d"];

/// Logits of 3 images on each instruction set that multiplies `dtype` faster
/// than others, the tiles last.
fn logits(name: &str, dtype: Dtype) -> Vec<(Level, Vec<f32>)> {
    let row = family::find(name).unwrap();
    let graph = build::build(row, SIZE, 10);
    let keys = ranges::keys(&graph, &fuse::fuse(&graph).unwrap());
    let facts = Facts {
        ranges: Some(keys.into_iter().map(|key| (key, [-6.0, 6.0])).collect()),
        ..Facts::default()
    };
    let checkpoint = Checkpoint::synthetic(name, facts, graph.parameters()).unwrap();
    let images: Vec<f32> = synthetic::tensor("images", &[3, 3 * SIZE * SIZE])
        .iter()
        .map(|x| x * 50.0)
        .collect();
    let cores = Cores::new(2).unwrap();
    let run = |level| {
        let numbers = Numbers { dtype, level };
        let plan = Plan::new(&graph, &checkpoint, &Recipe::imagenet(), numbers, &cores).unwrap();
        // the second pass finds the first's numbers in its arena
        let first = plan.forward(Input::Planes(&images)).unwrap();
        assert_eq!(plan.forward(Input::Planes(&images)).unwrap(), first);
        (level, first)
    };
    let levels = levels::<bf16>().into_iter();
    let fast = levels.filter(|level| level.isa() >= Isa::Avx512Bf16);
    fast.map(run).collect()
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
fn networks_of_bytes_give_the_same_bits() {
    for name in ROWS {
        let all = logits(name, Dtype::Int8);
        for (level, logits) in &all {
            assert_ne!(
                logits[..10],
                logits[10..20],
                "{name}: nothing but saturation"
            );
            assert_eq!(*logits, all[0].1, "{name} on {level:?}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
fn networks_of_bf16_differ_by_roundings() {
    for name in ROWS {
        let all = logits(name, Dtype::Bf16);
        for (level, logits) in &all {
            let largest = all[0].1.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            for (x, y) in logits.iter().zip(&all[0].1) {
                assert!(
                    (x - y).abs() < 2e-2 * largest,
                    "{name} on {level:?}: {x}, {y}"
                );
            }
        }
    }
}
