//! Measures decoding, resizing and cropping of each test image, and of the golden
//! images in `../shared` if they are present. Prints the shortest time of several
//! runs on one thread, and a hash of the pixels to compare two builds.
//!
//! ```text
//! cargo bench --package resnet-preprocess
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use resnet_preprocess::{EXTENSIONS, Limits, Preprocessing, read};

/// Time spent on each image.
const TIME_PER_IMAGE: Duration = Duration::from_millis(200);

fn main() {
    println!("{:24} {:>9} {:>10}  pixels", "file", "bytes", "us");
    for folder in ["tests/images", "../photos", "../../shared/golden/images"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let extension = path.extension().and_then(|e| e.to_str());
            if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
                measure(&path);
            }
        }
    }
}

fn measure(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return println!("{name:24} {error}"),
    };
    let (preprocessing, limits) = (Preprocessing::imagenet(), Limits::default());
    let pixels = match read(&bytes, &preprocessing, &limits) {
        Ok(pixels) => pixels,
        Err(error) => return println!("{name:24} {error}"),
    };
    let mut hasher = DefaultHasher::new();
    pixels.0.hash(&mut hasher);
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < TIME_PER_IMAGE {
        let run = Instant::now();
        let _ = black_box(read(black_box(&bytes), &preprocessing, &limits));
        best = best.min(run.elapsed());
    }
    println!(
        "{name:24} {:9} {:10.1}  {:016x}",
        bytes.len(),
        best.as_secs_f64() * 1e6,
        hasher.finish()
    );
}
