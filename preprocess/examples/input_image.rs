//! Writes the pixels that a network reads from an image file, as a PPM image.
//!
//! ```text
//! cargo run --package resnet-preprocess --example input_image -- cat.jpg input.ppm
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Write;

use resnet_preprocess::{Limits, Preprocessing, read};

fn main() -> Result<(), Box<dyn Error>> {
    let [input, output] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "usage: input_image IMAGE OUTPUT.ppm")?;
    let preprocessing = Preprocessing::imagenet();
    let pixels = read(&std::fs::read(input)?, &preprocessing, &Limits::default())?;
    let side = preprocessing.crop;
    let mut file = File::create(output)?;
    writeln!(file, "P6 {side} {side} 255")?;
    file.write_all(&pixels.0)?;
    Ok(())
}
