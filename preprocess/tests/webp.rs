//! Lossy WebPs of every kind of coding, bit for bit as libwebp decodes them. The files
//! and the pixels are made by `webp/make.py`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use resnet_preprocess::{ImageError, Limits, Photo, photo};
use safetensors::SafeTensors;

fn read(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webp");
    std::fs::read(folder.join(name)).unwrap()
}

fn whole(bytes: &[u8]) -> Result<Photo, ImageError> {
    photo(bytes, u32::MAX, &Limits::default())
}

#[test]
fn the_pixels_are_those_of_libwebp() {
    let expected = read("expected.safetensors");
    let expected = SafeTensors::deserialize(&expected).unwrap();
    assert!(expected.len() > 10);
    for (name, pixels) in expected.iter() {
        let photo = whole(&read(&format!("{name}.webp"))).unwrap();
        let size = [photo.height as usize, photo.width as usize, 3];
        assert_eq!(size, pixels.shape(), "{name}");
        let differ = photo.rgb.iter().zip(pixels.data()).filter(|(a, b)| a != b);
        assert_eq!(differ.count(), 0, "samples of {name} differ");
    }
}

#[test]
fn a_file_that_ends_early_is_refused() {
    for name in ["even_q100", "partitions", "noise"] {
        let file = read(&format!("{name}.webp"));
        // The last bytes of a frame may be padding.
        for length in (30..file.len() - 8).step_by(7) {
            let result = whole(&file[..length]);
            assert!(
                matches!(result, Err(ImageError::Broken { .. })),
                "{name}, {length} of {} bytes",
                file.len()
            );
            // The container says that all is there.
            let mut cut = file[..length].to_vec();
            let rest = (length as u32 - 20).to_le_bytes();
            cut[16..20].copy_from_slice(&rest);
            let result = whole(&cut);
            let is_broken = matches!(result, Err(ImageError::Broken { .. }));
            assert!(is_broken, "{name}, {length} bytes");
        }
    }
}
