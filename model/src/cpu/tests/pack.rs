//! Reads packed weights back and compares them with what was packed.

use super::*;

/// Packs `weights` and `bias`, and compares what is read back, within half a step
/// of the rounding to `E`.
fn check_unpacking<E: TestElement>(spec: ConvSpec, isa: SupportedIsa) {
    let per_channel = spec.cin / spec.groups * spec.kernel.0 * spec.kernel.1;
    let weights = floats(spec.cout * per_channel, 1);
    let bias = floats(spec.cout, 2);
    let affines = ConvAffines {
        input: Affine::covering(-1.0, 3.0),
        residual: Affine::IDENTITY,
        output: Affine::covering(-9.0, 5.0),
    };
    let tensors = ConvWeights {
        values: &weights,
        bias: &bias,
        steps: None,
    };
    let packed = PackedConv::new::<E>(spec, tensors, Activation::None, isa, affines);
    for (o, row) in weights.chunks_exact(per_channel).enumerate() {
        let (found, found_bias) = packed.unpacked(o);
        assert_eq!(found.len(), row.len());
        for (found, expected) in found.iter().zip(row) {
            let error = f64::from((found - expected).abs());
            let most = E::rounding(Affine::covering(-1.0, 1.0));
            assert!(
                error <= most,
                "{spec:?} on {isa:?}: {found}, not {expected}"
            );
        }
        let error = (found_bias - bias[o]).abs();
        assert!(error < 1e-4, "{spec:?} on {isa:?}: bias {error}");
    }
}

#[test]
fn unpacked_weights_are_those_that_were_packed() {
    let linear = ConvSpec::linear(75, 37);
    let grouped = ConvSpec {
        cin: 24,
        cout: 48,
        kernel: (3, 3),
        groups: 12,
        ..linear
    };
    let narrow = ConvSpec {
        cout: 24,
        groups: 6,
        ..grouped
    };
    for spec in [linear, grouped, narrow] {
        isas::<f32>()
            .into_iter()
            .for_each(|isa| check_unpacking::<f32>(spec, isa));
        isas::<bf16>()
            .into_iter()
            .for_each(|isa| check_unpacking::<bf16>(spec, isa));
        isas::<u8>()
            .into_iter()
            .for_each(|isa| check_unpacking::<u8>(spec, isa));
    }
}
