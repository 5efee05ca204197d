//! Networks of grey images get the luminance of RGB images.

use resnet_weights::{Checkpoint, Metadata};

#[test]
fn the_first_convolution_of_a_grey_network_reads_the_luminance() {
    let tensors = [
        (
            "conv1.weight".to_owned(),
            vec![2, 1, 1, 2],
            vec![1.0, -2.0, 10.0, 0.5],
        ),
        // not the first convolution
        (
            "layer1.0.conv1.weight".to_owned(),
            vec![1, 1, 1, 1],
            vec![3.0],
        ),
    ];
    let checkpoint = Checkpoint::from_tensors("grey", Metadata::default(), tensors).unwrap();
    let rgb = checkpoint.read("conv1.weight", &[2, 3, 1, 2]).unwrap();
    let shares = [0.299, 0.587, 0.114];
    let expected: Vec<f32> = [[1.0, -2.0], [10.0, 0.5]]
        .iter()
        .flat_map(|kernel| shares.iter().flat_map(|share| kernel.map(|w| w * share)))
        .collect();
    assert_eq!(rgb, expected);
    assert_eq!(
        checkpoint.shape("layer1.0.conv1.weight"),
        Some(&[1, 1, 1, 1][..])
    );
    assert!(
        checkpoint.notes()[0].contains("grey images"),
        "{:?}",
        checkpoint.notes()
    );
}
