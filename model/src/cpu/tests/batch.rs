//! An image has the same bits alone and in a batch, whatever kernel a convolution
//! runs on.

use super::*;
use crate::threads::ThreadPool;

const IMAGES: usize = 5;

/// The outputs of `n` of the images, from image `first` on: `[n, H, W, cout]`.
fn convolved<E: TestElement>(
    spec: ConvSpec,
    side: usize,
    isa: SupportedIsa,
    (first, n): (usize, usize),
    threads: &ThreadPool,
) -> Vec<f32> {
    let affine = Affine::covering(-1.0, 1.1);
    let affines = ConvAffines {
        input: affine,
        residual: Affine::IDENTITY,
        output: Affine::covering(-9.0, 9.0),
    };
    let row = spec.cin / spec.groups * spec.kernel.0 * spec.kernel.1;
    let (weights, bias) = (floats(spec.cout * row, 1), floats(spec.cout, 2));
    let tensors = ConvWeights {
        values: &weights,
        bias: &bias,
        steps: None,
    };
    let conv = PackedConv::new::<E>(spec, tensors, Activation::Relu, isa, affines);
    let input = FeatureMap {
        n,
        height: side,
        width: side,
        channels: spec.cin,
        border: spec.padding.max(1),
    };
    let outputs = (side + 2 * spec.padding - spec.kernel.0) / spec.stride + 1;
    let output = FeatureMap {
        n,
        height: outputs,
        width: outputs,
        channels: spec.cout,
        border: 1,
    };
    let image = side * side * spec.cin;
    let pixels = floats(IMAGES * image, 3);
    let pixels = &pixels[first * image..][..n * image];
    let input = Buffer::<E>::new(input, affine, Some(pixels));
    let mut to = Buffer::<E>::new(output, affines.output, None);
    let mut workspace = vec![f32::NAN; conv.workspace(&output, threads)];
    let target = (Output::Same(to.view_mut()), None);
    conv.run(
        threads,
        input.view(),
        Residual::None,
        target,
        &mut workspace,
    );
    to.values()
}

fn check<E: TestElement>(spec: ConvSpec, side: usize) {
    let threads = ThreadPool::new(2).unwrap();
    for isa in isas::<E>() {
        let together = convolved::<E>(spec, side, isa, (0, IMAGES), &threads);
        let alone = |image| convolved::<E>(spec, side, isa, (image, 1), &threads);
        let alone: Vec<f32> = (0..IMAGES).flat_map(alone).collect();
        assert_eq!(together, alone, "{isa:?} {spec:?} of {side}x{side}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
fn convolutions_are_the_same_alone_and_in_a_batch() {
    let spec = |channels, kernel, stride, groups| ConvSpec {
        cin: channels,
        cout: channels,
        kernel: (kernel, kernel),
        stride,
        padding: kernel / 2,
        groups,
    };
    // Above 128 channels, the weights of Winograd are transformed on each run. At
    // 7x7 and 8x8, that is faster for several images only.
    for (spec, sides) in [
        (spec(144, 3, 1, 1), &[3, 4, 5, 7, 8, 12][..]),
        (spec(64, 3, 1, 1), &[7, 8]),
        (spec(144, 1, 1, 1), &[1, 7]),
        (spec(64, 3, 2, 1), &[7]),
        (spec(64, 3, 1, 4), &[7]),
    ] {
        for &side in sides {
            check::<f32>(spec, side);
            check::<bf16>(spec, side);
            check::<u8>(spec, side);
        }
    }
}

/// The last images of a batch use the workspace of the whole batch.
#[test]
fn fewer_images_need_no_more_workspace() {
    fn check<E: TestElement>(channels: usize, side: usize, threads: &ThreadPool) {
        let spec = ConvSpec {
            cin: channels,
            cout: channels,
            kernel: (3, 3),
            stride: 1,
            padding: 1,
            groups: 1,
        };
        let weights = vec![0.0; channels * channels * 9];
        let tensors = ConvWeights {
            values: &weights,
            bias: &vec![0.0; channels],
            steps: None,
        };
        let affines = ConvAffines {
            input: Affine::IDENTITY,
            residual: Affine::IDENTITY,
            output: Affine::IDENTITY,
        };
        for isa in isas::<E>() {
            let conv = PackedConv::new::<E>(spec, tensors, Activation::None, isa, affines);
            let words = (1..40).map(|n| {
                let map = FeatureMap {
                    n,
                    height: side,
                    width: side,
                    channels,
                    border: 1,
                };
                conv.workspace(&map, threads)
            });
            let words: Vec<usize> = words.collect();
            assert!(words.is_sorted(), "{isa:?}, {side}x{side}: {words:?}");
        }
    }
    let threads = ThreadPool::new(3).unwrap();
    for (channels, side) in [(16, 32), (64, 8), (144, 7), (144, 14)] {
        check::<f32>(channels, side, &threads);
        check::<bf16>(channels, side, &threads);
    }
}
