//! The memory that decoding takes at its peak, for each format, in bytes per pixel.
//! It is counted by the allocator, so this file has a single test.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use resnet_preprocess::{ImageError, Limits, Preprocessing, read};

/// Counts what is allocated, and the most that was allocated at once.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIDE: usize = 1200;

/// An uncompressed TIFF of `SIDE` x `SIDE` pixels that are all zero, with these
/// tags besides those of the size.
fn tiff(bytes_per_pixel: usize, tags: &[(u16, u32)]) -> Vec<u8> {
    let side = SIDE as u32;
    let mut tags = tags.to_vec();
    tags.extend([(256, side), (257, side), (278, side)]);
    let offset = 8 + 2 + 12 * (tags.len() + 1) + 4;
    tags.push((273, offset as u32));
    tags.sort_unstable();
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        file.extend(tag.to_le_bytes());
        file.extend([4, 0, 1, 0, 0, 0]);
        file.extend(value.to_le_bytes());
    }
    file.resize(offset + SIDE * SIDE * bytes_per_pixel, 0);
    file
}

fn png(color: png::ColorType, depth: png::BitDepth, bytes_per_pixel: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIDE as u32, SIDE as u32);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_image_data(&vec![0; SIDE * SIDE * bytes_per_pixel])
        .unwrap();
    drop(writer);
    file
}

fn webp() -> Vec<u8> {
    let mut file = Vec::new();
    let pixels = vec![0; SIDE * SIDE * 3];
    image_webp::WebPEncoder::new(&mut file)
        .encode(
            &pixels,
            SIDE as u32,
            SIDE as u32,
            image_webp::ColorType::Rgb8,
        )
        .unwrap();
    file
}

fn gif() -> Vec<u8> {
    let [low, high] = (SIDE as u16).to_le_bytes();
    let mut file = b"GIF89a".to_vec();
    file.extend([low, high, low, high, 0x80, 0, 0, 0, 0, 0, 9, 9, 9]);
    file.extend([b',', 0, 0, 0, 0, low, high, low, high, 0, 2]);
    let mut encoder = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 2);
    for block in encoder.encode(&vec![0; SIDE * SIDE]).unwrap().chunks(255) {
        file.push(block.len() as u8);
        file.extend(block);
    }
    file.extend(b"\0;");
    file
}

fn ppm() -> Vec<u8> {
    let mut file = format!("P6 {SIDE} {SIDE} 65535\n").into_bytes();
    file.resize(file.len() + SIDE * SIDE * 6, 0);
    file
}

/// A QOI of runs of 62 pixels.
fn qoi() -> Vec<u8> {
    let side = (SIDE as u32).to_be_bytes();
    let runs = vec![0xfd; (SIDE * SIDE).div_ceil(62)];
    [&b"qoif"[..], &side, &side, &[3, 0], &runs].concat()
}

/// A WebP whose metadata claims more bytes than there are.
fn webp_with_exif_of_4_gb(webp: &[u8]) -> Vec<u8> {
    let side = (SIDE as u32 - 1).to_le_bytes();
    let mut file = b"RIFF\xf0\xff\xff\xffWEBPVP8X\x0a\0\0\0\0\0\0\0".to_vec();
    file.extend([&side[..3], &side[..3], &webp[12..]].concat());
    file.extend(b"EXIF\xf8\xff\xff\xffabc");
    file
}

/// A PNG with a colour profile that expands to 64 MB.
fn png_with_profile(png: &[u8]) -> Vec<u8> {
    let mut profile = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut profile, &vec![0; 1 << 26]).unwrap();
    let chunk = [&b"iCCPx\0\0"[..], &profile.finish().unwrap()].concat();
    let length = (chunk.len() as u32 - 4).to_be_bytes();
    [&png[..33], &length, &chunk, &[0; 4], &png[33..]].concat()
}

#[test]
fn the_peak_is_within_the_bytes_per_pixel_of_each_format() {
    use png::{BitDepth, ColorType};

    let plain_png = png(ColorType::Rgb, BitDepth::Eight, 3);
    let webp = webp();
    let rgb = [(258, 8), (277, 3), (262, 2)];
    let files = [
        ("PNG RGB", plain_png.clone(), 3),
        (
            "PNG RGBA of 16 bits",
            png(ColorType::Rgba, BitDepth::Sixteen, 8),
            4,
        ),
        ("PNG with a profile", png_with_profile(&plain_png), 3),
        ("WebP", webp.clone(), 4),
        ("WebP with EXIF", webp_with_exif_of_4_gb(&webp), 4),
        ("GIF", gif(), 4),
        ("PPM of 16 bits", ppm(), 3),
        ("QOI", qoi(), 3),
        ("TIFF RGB", tiff(3, &rgb), 3),
        (
            "TIFF RGB of 16 bits",
            tiff(6, &[(258, 16), rgb[1], rgb[2]]),
            3,
        ),
        (
            "TIFF CMYK of 16 bits",
            tiff(8, &[(258, 16), (277, 4), (262, 5)]),
            3,
        ),
        (
            "TIFF of 64-bit floats",
            tiff(8, &[(258, 64), (339, 3), (262, 1)]),
            1,
        ),
    ];
    let pixels = SIDE * SIDE;
    // Rows, tables of decoders, and the buffers of resizing.
    let others = 2_000_000;
    let mut faults = Vec::new();
    for (name, file, bytes_per_pixel) in files {
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let result = read(&file, &Preprocessing::imagenet(), &Limits::default());
        let peak = PEAK.load(Ordering::Relaxed) - before;
        println!("{name:24} {:.2}", peak as f64 / pixels as f64);
        assert!(result.is_ok(), "{name}: {result:?}");
        if peak > bytes_per_pixel * pixels + others {
            faults.push(format!("{name}: {peak} bytes for {pixels} pixels"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    refuses_large_rows();
    bounds_hostile_files();
}

/// Files that once took gigabytes stay within the largest bytes per pixel.
fn bounds_hostile_files() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("SHARED_DIR").map_or(here, PathBuf::from);
    let Ok(files) = std::fs::read_dir(shared.join("failures/hostile")) else {
        println!("skipped: no folder ../shared");
        return;
    };
    let limits = Limits {
        max_pixels: 1_000_000,
    };
    for file in files {
        let path = file.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let _ = read(&bytes, &Preprocessing::imagenet(), &limits);
        let peak = PEAK.load(Ordering::Relaxed) - before;
        assert!(peak < 13_000_000, "{}: {peak} bytes", path.display());
    }
}

/// Tiles and rows that are larger than the pixels justify are refused.
fn refuses_large_rows() {
    let limits = Limits {
        max_pixels: 1_000_000,
    };
    let base = [(256, 1), (257, 1), (258, 8), (262, 1), (277, 1)];
    let cases: [(&str, &[(u16, u32)]); 3] = [
        ("a tile of 4 GB", &[(322, 65_536), (323, 65_536), (324, 8)]),
        (
            "rows of 4 GB",
            &[(277, 65_535), (258, 64), (273, 8), (278, 1)],
        ),
        ("a wide tile", &[(322, 4_000_000), (323, 16), (324, 8)]),
    ];
    for (name, extra) in cases {
        let mut tags: std::collections::BTreeMap<u16, u32> = base.into();
        tags.extend(extra.iter().copied());
        let mut file = b"II*\0\x08\0\0\0".to_vec();
        file.extend((tags.len() as u16).to_le_bytes());
        for (tag, value) in tags {
            file.extend(tag.to_le_bytes());
            file.extend([4, 0, 1, 0, 0, 0]);
            file.extend(value.to_le_bytes());
        }
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let result = read(&file, &Preprocessing::imagenet(), &limits);
        let peak = PEAK.load(Ordering::Relaxed) - before;
        assert!(peak < 5_000_000, "{name}: {peak} bytes");
        let is_refused = matches!(result, Err(ImageError::Broken { .. }));
        assert!(is_refused, "{name}: {result:?}");
    }
}
