//! Convolutions whose groups are narrower than a vector.

use super::conv::Case;
use super::*;

#[test]
fn narrow_groups_have_no_weights_of_other_groups() {
    let spec = ConvSpec {
        cin: 64,
        cout: 64,
        kernel: (3, 3),
        groups: 16,
        ..ConvSpec::linear(64, 64)
    };
    for isa in isas::<f32>() {
        let values = vec![1.0; 64 * 4 * 9];
        let weights = ConvWeights {
            values: &values,
            bias: &[0.0; 64],
            steps: None,
        };
        let identity = Affine::IDENTITY;
        let affines = ConvAffines {
            input: identity,
            residual: identity,
            output: identity,
        };
        let packed = PackedConv::new::<f32>(spec, weights, Activation::None, isa, affines);
        let expected = match isa.has_permutation() {
            true => 64 * 4 * 9,
            false => 64 * isa.lanes() * 9,
        };
        assert_eq!(packed.weights.len(), expected, "{isa:?}");
    }
}

/// Those of ResNeXt, of SENet-154 and depthwise ones; and numbers of groups and channels
/// that do not fill a vector.
#[test]
#[cfg_attr(miri, ignore = "hours")]
fn convolutions_with_narrow_groups_match_their_definition() {
    for (groups, cin, cout) in [
        (32, 4, 4),
        (32, 8, 8),
        (64, 2, 4),
        (64, 4, 8),
        (48, 1, 1),
        (12, 4, 4),
        (6, 8, 4),
        (10, 4, 3),
    ] {
        for (size, stride) in [(7, 1), (8, 2)] {
            let spec = ConvSpec {
                cin: groups * cin,
                cout: groups * cout,
                kernel: (3, 3),
                stride,
                padding: 1,
                groups,
            };
            let case = Case {
                spec,
                n: 2,
                height: size,
                width: size + 1,
                relu: cin == cout,
                residual: (cin + stride) % 3,
                threads: 2,
            };
            case.run_all();
        }
    }
}
