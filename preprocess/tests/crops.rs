//! Which part of a photo a network sees: a point of the input is found again at
//! the place of the upright photo that the crop says, for every orientation.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use image::{Rgb, RgbImage, imageops};
use resnet_preprocess::{
    Interpolation, Limits, Preprocessing, Resize, photo, read, read_with_crop,
};

/// Left, top, right and bottom of a white object on a black photo.
const OBJECT: [u32; 4] = [150, 90, 190, 130];

fn upright() -> RgbImage {
    let [left, top, right, bottom] = OBJECT;
    RgbImage::from_fn(300, 200, |x, y| {
        let inside = (left..right).contains(&x) && (top..bottom).contains(&y);
        Rgb([if inside { 255 } else { 0 }; 3])
    })
}

/// The pixels that a file with orientation `tag` stores for an upright image: the
/// inverse of what a viewer does with them (EXIF 2.32, 4.6.4).
fn stored(upright: &RgbImage, tag: u8) -> RgbImage {
    use imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    match tag {
        2 => flip_horizontal(upright),
        3 => rotate180(upright),
        4 => flip_vertical(upright),
        5 => flip_horizontal(&rotate90(upright)),
        6 => rotate270(upright),
        7 => flip_horizontal(&rotate270(upright)),
        8 => rotate90(upright),
        _ => upright.clone(),
    }
}

/// A PNG with an EXIF block that has only the orientation.
fn png(pixels: &RgbImage, tag: u8) -> Vec<u8> {
    let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([tag, 0, 0, 0, 0, 0, 0]);
    let (width, height) = pixels.dimensions();
    let mut info = png::Info::with_size(width, height);
    info.color_type = png::ColorType::Rgb;
    info.bit_depth = png::BitDepth::Eight;
    info.exif_metadata = Some(exif.into());
    let mut file = Vec::new();
    let encoder = png::Encoder::with_info(&mut file, info).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(pixels).unwrap();
    writer.finish().unwrap();
    file
}

/// Centre of the bright pixels of `[height, width, 3]`.
fn centre(rgb: &[u8], width: usize) -> [f64; 2] {
    let (mut sum, mut count) = ([0.0; 2], 0.0);
    for (at, pixel) in rgb.chunks_exact(3).enumerate() {
        if pixel[0] > 127 {
            sum[0] += (at % width) as f64 + 0.5;
            sum[1] += (at / width) as f64 + 0.5;
            count += 1.0;
        }
    }
    assert!(count > 0.0, "the object is not there");
    sum.map(|sum| sum / count)
}

fn recipes() -> Vec<Preprocessing> {
    let imagenet = Preprocessing::imagenet();
    [
        (Resize::ShortSide(256), 224, Interpolation::Bilinear),
        (Resize::ShortSide(72), 64, Interpolation::Bicubic),
        (Resize::ShortSide(200), 200, Interpolation::Lanczos),
        (Resize::Exact(128), 128, Interpolation::Bilinear),
        (Resize::Exact(128), 96, Interpolation::Nearest),
        // smaller than the crop: padded
        (Resize::ShortSide(50), 80, Interpolation::Bilinear),
    ]
    .map(|(resize, crop, interpolation)| Preprocessing {
        resize,
        crop,
        interpolation,
        ..imagenet.clone()
    })
    .into()
}

#[test]
fn the_crop_finds_an_object_of_the_input_on_the_upright_photo() {
    let [left, top, right, bottom] = OBJECT.map(f64::from);
    let expected = [(left + right) / 2.0, (top + bottom) / 2.0];
    for tag in 1..=8 {
        let file = png(&stored(&upright(), tag), tag);
        for recipe in recipes() {
            let (input, crop) =
                read_with_crop(&file, &recipe, &Limits::default(), &|| false).unwrap();
            assert_eq!(crop.photo, [300, 200]);
            let side = f64::from(recipe.crop);
            let [x, y] = centre(&input.0, recipe.crop as usize);
            let found = [
                crop.x + x * crop.width / side,
                crop.y + y * crop.height / side,
            ];
            // one pixel of the input
            let most = [crop.width / side, crop.height / side];
            for axis in 0..2 {
                let error = (found[axis] - expected[axis]).abs();
                assert!(
                    error < most[axis],
                    "tag {tag}, {recipe:?}: {found:?}, expected {expected:?}"
                );
            }
        }
    }
}

#[test]
fn a_whole_photo_is_upright() {
    for tag in 1..=8 {
        let file = png(&stored(&upright(), tag), tag);
        let whole = photo(&file, 300, &Limits::default()).unwrap();
        assert_eq!((whole.width, whole.height), (300, 200), "tag {tag}");
        assert_eq!(whole.rgb, upright().into_raw(), "tag {tag}");
        let half = photo(&file, 150, &Limits::default()).unwrap();
        assert_eq!((half.width, half.height), (150, 100));
        assert_eq!(centre(&half.rgb, 150), [85.0, 55.0], "tag {tag}");
    }
}

#[test]
fn every_test_image_has_the_size_of_its_photo() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    let imagenet = Preprocessing::imagenet();
    let limits = Limits::default();
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let Ok((pixels, crop)) = read_with_crop(&bytes, &imagenet, &limits, &|| false) else {
            continue;
        };
        assert_eq!(pixels, read(&bytes, &imagenet, &limits).unwrap());
        let whole = photo(&bytes, u32::MAX, &limits).unwrap();
        assert_eq!([whole.width, whole.height], crop.photo);
        assert_eq!(
            whole.rgb.len(),
            whole.width as usize * whole.height as usize * 3
        );
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}
