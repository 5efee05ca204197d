//! Tests of the naming: each name maps to its canonical name and back.

use super::*;

fn naming(names: &[&str]) -> Naming {
    Naming::detect(names.iter().copied())
}

/// Detects the naming, and asserts that each name maps to its canonical name
/// and back.
fn assert_maps(pairs: &[(&str, &str)]) {
    let naming = Naming::detect(pairs.iter().map(|(name, _)| *name));
    for (name, canonical) in pairs {
        assert_eq!(naming.canonical(name), *canonical);
        assert_eq!(naming.in_file(canonical), *name);
    }
}

#[test]
fn torchvision_names_are_canonical() {
    assert_maps(&[
        ("conv1.weight", "conv1.weight"),
        ("layer4.2.bn3.running_var", "layer4.2.bn3.running_var"),
        (
            "layer1.0.downsample.0.weight",
            "layer1.0.downsample.0.weight",
        ),
        (
            "layer1.0.downsample.1.running_mean",
            "layer1.0.downsample.1.running_mean",
        ),
        ("fc.bias", "fc.bias"),
    ]);
}

#[test]
fn the_convolution_of_a_pooled_shortcut_has_another_index() {
    let pairs = [
        ("conv1.6.weight", "conv1.6.weight"),
        (
            "layer2.0.downsample.1.weight",
            "layer2.0.downsample.0.weight",
        ),
        ("layer2.0.downsample.2.bias", "layer2.0.downsample.1.bias"),
    ];
    assert_maps(&pairs);
    assert_eq!(naming(&[pairs[2].0]).pooled_shortcut(), Some(true));
    assert_eq!(
        naming(&["layer2.0.downsample.0.weight"]).pooled_shortcut(),
        Some(false)
    );
    assert_eq!(naming(&["layer2.0.conv1.weight"]).pooled_shortcut(), None);
}

#[test]
fn one_part_before_all_names_is_a_prefix() {
    assert_maps(&[
        ("student.conv1.weight", "conv1.weight"),
        (
            "student.layer1.0.shortcut.0.weight",
            "layer1.0.downsample.0.weight",
        ),
        ("student.fc.bias", "fc.bias"),
    ]);
    assert_maps(&[
        ("ddp.module.conv1.weight", "conv1.weight"),
        ("ddp.module.fc.bias", "fc.bias"),
    ]);
    // not of all, and the parts of a network
    assert_maps(&[
        ("student.conv1.weight", "student.conv1.weight"),
        ("teacher.conv1.weight", "teacher.conv1.weight"),
    ]);
    assert_maps(&[("layer1.0.conv1.weight", "layer1.0.conv1.weight")]);
    // the number of the classifier in a sequence is not known on the way back
    let sequence = naming(&["student.conv1.weight", "student.fc.0.bias"]);
    assert_eq!(sequence.canonical("student.fc.0.bias"), "fc.bias");
    assert_eq!(
        naming(&["fc.0.weight"]).canonical("fc.0.weight"),
        "fc.weight"
    );
}

#[test]
fn names_of_transformers_count_from_zero() {
    let stage = "resnet.encoder.stages.3.layers.0";
    assert_maps(&[
        (
            "resnet.embedder.embedder.convolution.weight",
            "conv1.weight",
        ),
        ("resnet.embedder.embedder.normalization.bias", "bn1.bias"),
        (
            &format!("{stage}.layer.0.convolution.weight"),
            "layer4.0.conv1.weight",
        ),
        (
            &format!("{stage}.layer.2.normalization.bias"),
            "layer4.0.bn3.bias",
        ),
        (
            &format!("{stage}.shortcut.convolution.weight"),
            "layer4.0.downsample.0.weight",
        ),
        (
            &format!("{stage}.shortcut.normalization.weight"),
            "layer4.0.downsample.1.weight",
        ),
        ("classifier.1.weight", "fc.weight"),
    ]);
}

#[test]
fn names_of_timm_v2_with_a_plain_and_a_deep_stem() {
    assert_maps(&[
        ("stem.conv.weight", "conv1.weight"),
        ("stages.0.blocks.10.norm1.weight", "layer1.10.bn1.weight"),
        ("stages.3.blocks.0.conv3.weight", "layer4.0.conv3.weight"),
        (
            "stages.3.blocks.0.downsample.conv.weight",
            "layer4.0.downsample.0.weight",
        ),
        ("norm.bias", "bn.bias"),
        ("head.fc.weight", "fc.weight"),
    ]);
    assert_maps(&[
        ("stem.conv1.weight", "conv1.0.weight"),
        ("stem.norm1.weight", "conv1.1.weight"),
        ("stem.conv2.weight", "conv1.3.weight"),
        ("stem.norm2.running_mean", "conv1.4.running_mean"),
        ("stem.conv3.weight", "conv1.6.weight"),
        ("stages.0.blocks.0.conv1.weight", "layer1.0.conv1.weight"),
    ]);
}

#[test]
fn prefixes_and_the_cifar_classifier_are_mapped() {
    assert_maps(&[
        ("module.conv1.weight", "conv1.weight"),
        ("module.linear.weight", "fc.weight"),
    ]);
    assert_maps(&[(
        "state_dict.model.layer1.0.downsample.weight",
        "layer1.0.downsample.0.weight",
    )]);
}

#[test]
fn a_missing_tensor_has_a_name_in_the_naming_of_the_file() {
    let naming = naming(&["model.resnet.embedder.embedder.convolution.weight"]);
    assert_eq!(
        naming.in_file("layer2.1.bn2.weight"),
        "model.resnet.encoder.stages.1.layers.1.layer.1.normalization.weight"
    );
}

#[test]
fn names_with_invalid_numbers_do_not_change() {
    for name in [
        "stages.01.blocks.0.conv1.weight",
        "stages.4294967295.blocks.0.conv1.weight",
        "stages.99999999999.blocks.0.conv1.weight",
        "stages.0.blocks.0.conv0.weight",
        "stages..blocks.0.conv1.weight",
    ] {
        assert_eq!(
            naming(&["stages.0.blocks.0.conv1.weight", name]).canonical(name),
            name
        );
    }
}

#[test]
fn a_name_of_prefixes_only_terminates() {
    let name = "model.".repeat(10_000);
    assert!(naming(&[&name]).prefix.len() <= MAX_PREFIX_BYTES + 11);
}

#[test]
fn prefixes_of_frameworks_are_removed_in_any_order() {
    for prefix in [
        "_orig_mod.",
        "timm_model.",
        "net.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.net.",
        "backbone.",
        "model.backbone.",
        "resnet.",
    ] {
        let naming = naming(&[&format!("{prefix}conv1.weight")]);
        let name = format!("{prefix}layer1.0.bn1.bias");
        assert_eq!(naming.canonical(&name), "layer1.0.bn1.bias");
        assert_eq!(naming.in_file("layer1.0.bn1.bias"), name);
    }
}

#[test]
fn a_classifier_beside_a_backbone_or_in_a_sequence_is_found() {
    for head in [
        "head.",
        "head.fc.",
        "head.1.",
        "classifier.",
        "fc.0.",
        "fc.1.",
        "backbone.fc.1.",
    ] {
        let weight = format!("{head}weight");
        let naming = naming(&["backbone.conv1.weight", &weight]);
        assert_eq!(naming.canonical(&weight), "fc.weight", "{head}");
    }
}

#[test]
fn only_a_loss_beside_a_wrapped_network_is_of_the_training() {
    let wrapped = naming(&["model.conv1.weight", "criterion.weight"]);
    assert!(wrapped.is_of_training("criterion.weight"));
    assert!(!wrapped.is_of_training("model.conv1.weight"));
    assert!(!wrapped.is_of_training("logit_scale"));
    assert!(!naming(&["conv1.weight"]).is_of_training("criterion.weight"));
}

#[test]
fn names_of_kuangliu_and_of_senet_are_known() {
    assert_maps(&[
        ("layer2.0.shortcut.0.weight", "layer2.0.downsample.0.weight"),
        ("layer2.0.shortcut.1.bias", "layer2.0.downsample.1.bias"),
        ("linear.weight", "fc.weight"),
    ]);
    assert_maps(&[
        ("layer0.conv1.weight", "layer0.conv1.weight"),
        ("layer1.0.se_module.fc1.weight", "layer1.0.se.fc1.weight"),
        (
            "layer2.0.downsample.0.weight",
            "layer2.0.downsample.0.weight",
        ),
        ("last_linear.bias", "fc.bias"),
    ]);
}
