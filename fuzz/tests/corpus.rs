//! Runs the seeds, and damaged copies of them, through the functions of the targets,
//! without a sanitizer and without cargo-fuzz. CI runs this. One test, because memory
//! and time are those of the process.

use std::fs;
use std::path::{Path, PathBuf};

use resnet_fuzz::{checkpoint, image, libjpeg};
use resnet_preprocess::Format;

/// Damaged copies of each seed.
const COPIES: usize = 12;

/// The images of the tests.
const IMAGES: [&str; 4] = ["images", "formats", "jpeg", "webp"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The content of the files in a folder, with one of these extensions if any is given.
fn files(folder: &str, extensions: &[&str]) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder exists");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let is_wanted = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extensions.is_empty() || extension.is_some_and(|found| extensions.contains(&found))
    };
    let wanted = paths.into_iter().filter(is_wanted);
    wanted.map(|path| fs::read(path).expect("a file")).collect()
}

fn images(extensions: &[&str]) -> Vec<Vec<u8>> {
    let folders = IMAGES.map(|folder| files(&format!("preprocess/tests/{folder}"), extensions));
    folders.concat()
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let near = if self.below(2) == 0 { 200 } else { bytes.len() };
            let at = self.below(bytes.len().min(near));
            let end = (at + self.below(12)).min(bytes.len());
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = [0, 1, 127, 128, 255][self.below(5)],
                2 => drop(bytes.drain(at..end)),
                _ => bytes.truncate(self.below(8).max(at)),
            }
        }
        bytes
    }
}

/// Runs a target on seeds and on damaged copies.
fn run(name: &str, seeds: &[Vec<u8>], target: impl Fn(&[u8])) {
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let mut numbers = Numbers(88_172_645_463_325_252);
    for seed in seeds {
        target(seed);
        for _ in 0..COPIES {
            target(&numbers.damaged(seed));
        }
    }
    println!("{name}: {} inputs", seeds.len() * (COPIES + 1));
}

#[test]
fn the_seeds_and_damaged_copies_keep_to_the_bounds() {
    let formats: [(Format, &[&str]); 12] = [
        (Format::Jpeg, &["jpg"]),
        (Format::Png, &["png"]),
        (Format::WebP, &["webp"]),
        (Format::Gif, &["gif"]),
        (Format::Bmp, &["bmp"]),
        (Format::Tiff, &["tif", "tiff"]),
        (Format::Heic, &["heic"]),
        (Format::JpegXl, &["jxl"]),
        (Format::Jpeg2000, &["jp2", "j2k"]),
        (Format::Ico, &["ico", "cur"]),
        (Format::Pnm, &["pbm", "pgm", "ppm", "pam"]),
        (Format::Qoi, &["qoi"]),
    ];
    for (format, extensions) in formats {
        let seeds = images(extensions);
        run(&format.to_string(), &seeds, |bytes| {
            image::decode(format, bytes)
        });
        run("any format", &seeds, image::read_any);
    }
    run("JPEG pixels", &images(&["jpg"]), libjpeg::compare);
    let pth = files("weights/tests/pth", &["pth", "pt", "bin"]);
    run("PyTorch", &pth, |bytes| checkpoint::open("pth", bytes));
    let safetensors = files("fuzz/seeds/safetensors", &[]);
    run("safetensors", &safetensors, |bytes| {
        checkpoint::open("safetensors", bytes)
    });
    run(
        "folders",
        &files("fuzz/seeds/model_folder", &[]),
        checkpoint::open_folder,
    );
}
