//! Decodes whole image files without resizing, to compare the pixels with those of
//! other decoders. Beside each `FILE` it writes `FILE.ppm`, a square that is padded
//! with black, or `FILE.error`.
//!
//! ```text
//! cargo run --package resnet-preprocess --example whole_image -- WIDTH HEIGHT FILE ...
//! ```

use std::error::Error;
use std::fs;

use resnet_preprocess::{Interpolation, Limits, Preprocessing, Resize, read};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut side = || arguments.next().unwrap_or_default().parse::<u32>();
    let [width, height] = [side()?, side()?];
    let crop = width.max(height);
    let preprocessing = Preprocessing {
        resize: Resize::ShortSide(width.min(height)),
        crop,
        interpolation: Interpolation::Nearest,
        ..Preprocessing::imagenet()
    };
    for path in arguments {
        match read(&fs::read(&path)?, &preprocessing, &Limits::default()) {
            Ok(pixels) => {
                let header = format!("P6 {crop} {crop} 255\n");
                fs::write(
                    format!("{path}.ppm"),
                    [header.as_bytes(), &pixels.0].concat(),
                )?;
            }
            Err(error) => fs::write(format!("{path}.error"), error.to_string())?,
        }
    }
    Ok(())
}
