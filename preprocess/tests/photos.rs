//! Reads every image of `../shared/failures/photos` except the JPEGs: the rule that
//! each broke is in its manifest, with the expected picture or error.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use resnet_preprocess::{ImageError, Limits, Preprocessing, read};

fn photos() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("SHARED_DIR").map_or(here, PathBuf::from);
    let photos = shared.join("failures/photos");
    let found = photos.is_dir();
    if !found {
        println!("skipped: no folder ../shared");
    }
    found.then_some(photos)
}

#[test]
fn photos_that_failed_match_their_reference() {
    let Some(photos) = photos() else { return };
    let pixels = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        read(&bytes, &Preprocessing::imagenet(), &Limits::default())
    };
    let mut faults = Vec::new();
    for (file, reference) in [
        ("bmp_8_used_300.bmp", "bmp_rle8_no_end.png"),
        ("bmp_rle8_no_end.bmp", "bmp_rle8_no_end.png"),
        ("gif_unknown_extension.gif", "bmp_rle8_no_end.png"),
        ("png_exif_imagemagick.png", "png_exif_imagemagick.png"),
        ("png_no_iend.png", "png_no_iend.png"),
        ("tif_1_bit_fillorder2.tif", "tif_1_bit_fillorder2.png"),
        ("tif_epson_scan_tiny.tif", "tif_planar_tiles_tiny.png"),
        ("tif_grey_alpha_tiny.tif", "tif_grey_alpha_tiny.png"),
        ("tif_group3.tif", "tif_1_bit_fillorder2.png"),
        ("tif_jpeg_ycbcr.tif", "tif_jpeg_ycbcr.png"),
        ("tif_lzw_tiles_libtiff_0.tif", "tif_lzw_tiles_libtiff_0.png"),
        ("tif_palette.tif", "bmp_rle8_no_end.png"),
        ("tif_planar_tiles_tiny.tif", "tif_planar_tiles_tiny.png"),
        ("webp_exif_prefix.webp", "webp_exif_prefix.png"),
        ("webp_flag_exif_missing.webp", "webp_flag_exif_missing.png"),
    ] {
        let expected = pixels(photos.join("reference").join(reference)).unwrap();
        match pixels(photos.join(file)) {
            Ok(found) => {
                let differences = found.0.iter().zip(&expected.0);
                let sum: u64 = differences.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                let mean = sum as f64 / expected.0.len() as f64;
                println!("{file:32} mean {mean:.4}");
                if mean > 0.5 {
                    faults.push(format!("{file}: mean {mean:.3}"));
                }
            }
            Err(error) => faults.push(format!("{file}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_is_not_a_photo_is_named() {
    let Some(photos) = photos() else { return };
    for (file, name) in [
        ("png_cgbi_tiny.png", "an iPhone-optimised PNG (CgBI)"),
        ("x_apple_double.jpg", "AppleDouble"),
        ("x_tga_tiny.tga", "a TGA image"),
        ("x_base64.txt", "send base64 as JSON"),
    ] {
        let bytes = std::fs::read(photos.join(file)).unwrap();
        let error = read(&bytes, &Preprocessing::imagenet(), &Limits::default()).unwrap_err();
        let is_named = matches!(
            error,
            ImageError::Unsupported { .. } | ImageError::Text { .. }
        );
        assert!(is_named, "{file}: {error:?}");
        assert!(error.to_string().contains(name), "{file}: {error}");
    }
}
