//! `resnet explain`: draws class activation maps on image files, as one picture
//! for each, or all of them on a contact sheet.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use image::{RgbImage, imageops};
use preprocess::Photo;

use crate::commands::images;
use crate::commands::output;
use crate::commands::pipeline::{self, LocalPipeline, PipelineFlags};
use crate::config::errors::ConfigErrors;
use crate::core::batch::ImageOutput;
use crate::core::colormap::Colormap;
use crate::core::error::Error as InferenceError;
use crate::core::explain::{Classes, OUTPUTS, explain, find_classes};
use crate::core::overlay::{Style, overlay, png};

/// Width and height of an image on a contact sheet, in pixels.
const CELL: u32 = 320;

/// Pixels between the images of a contact sheet.
const GAP: u32 = 8;

/// Most images on a contact sheet.
const MAX_CELLS: usize = 400;

/// The flags of `explain`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Image files, or folders that are searched for images
    #[arg(required = true, value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,

    /// What to write: for one image a PNG file; for several a folder with a PNG file
    /// for each, or a contact sheet if the name ends with .png
    #[arg(short, long, value_name = "FILE_OR_FOLDER")]
    output: PathBuf,

    /// The class to explain: its index, WordNet id or label [default: the most
    /// probable class of each image]
    #[arg(long)]
    class: Option<String>,

    /// Share of the map in the colours, 0 to 1
    #[arg(long, default_value = "0.5", value_parser = opacity)]
    opacity: f64,

    /// Colours of the map: viridis, inferno or turbo
    #[arg(long, default_value = "inferno", value_parser = str::parse::<Colormap>)]
    colormap: Colormap,

    #[command(flatten)]
    pipeline: PipelineFlags,
}

fn opacity(text: &str) -> Result<f64, String> {
    let opacity = text.parse().ok();
    let valid = opacity.filter(|opacity| (0.0..=1.0).contains(opacity));
    valid.ok_or_else(|| "it must be a number of 0 to 1".into())
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags or environment variables are invalid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// There are no images.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The model cannot be loaded or run.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// The model has no class activation maps.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A class that the model does not have.
    #[error(
        "`{class}` is not a class of this model; use an index of 0 to {last}, a WordNet id or an \
         exact label"
    )]
    UnknownClass {
        /// As given.
        class: String,
        /// The last index.
        last: usize,
    },
    /// Too many images for a contact sheet.
    #[error(
        "a contact sheet shows at most {MAX_CELLS} images and there are {0}; give a folder to -o"
    )]
    ManyImages(usize),
    /// A picture cannot be encoded.
    #[error(transparent)]
    Encode(#[from] InferenceError),
    /// A file or folder cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Draws every image. The exit status is 1 if an image could not be drawn or a
/// folder could not be read.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let (model, limits) = flags.pipeline.check()?;
    let found = images::find(&flags.paths)?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    pipeline.instance().network().has_class_maps()?;
    let mut target = Target::new(&flags.output, found.files.len())?;
    let drawing = Drawing {
        pipeline: &pipeline,
        classes: flags.classes(&pipeline)?,
        style: Style {
            opacity: flags.opacity,
            colormap: flags.colormap,
        },
        limits: limits.decode,
    };
    let mut failed = 0;
    let mut written = Ok(());
    pipeline.run(&found.files, OUTPUTS, |path, result, bar| {
        let drawn = result
            .map_err(|error| error.to_string())
            .and_then(|output| drawing.draw(path, &output));
        let line = match drawn {
            Ok((photo, line)) if written.is_ok() => {
                written = target.add(path, &photo);
                line
            }
            Ok((_, line)) => line,
            Err(error) => {
                failed += 1;
                bar.suspend(|| output::warn(format_args!("{}: {error}", path.display())));
                return;
            }
        };
        let wrote = bar.suspend(|| output::write(&line));
        if let (Err(error), Ok(())) = (wrote, &written) {
            written = Err(error.into());
        }
    })?;
    written?;
    target.finish()?;
    Ok(output::exit_status(failed + found.unreadable == 0))
}

impl Flags {
    fn classes(&self, pipeline: &LocalPipeline) -> Result<Classes, Error> {
        let labels = pipeline.instance().network().labels();
        match &self.class {
            None => Ok(Classes::MostProbable(1)),
            Some(class) => match find_classes(labels, class) {
                Ok(classes) => Ok(Classes::These(classes.into_iter().take(1).collect())),
                Err(class) => Err(Error::UnknownClass {
                    class,
                    last: labels.len().saturating_sub(1),
                }),
            },
        }
    }
}

/// How images are drawn.
struct Drawing<'a> {
    pipeline: &'a LocalPipeline,
    classes: Classes,
    style: Style,
    limits: preprocess::Limits,
}

impl Drawing<'_> {
    /// The photo with the map of one class, and the line to print.
    fn draw(&self, path: &Path, output: &ImageOutput) -> Result<(Photo, String), String> {
        let network = self.pipeline.instance().network();
        let maps = explain(network, output, &self.classes).map_err(|error| error.to_string())?;
        let map = maps.first().ok_or("the model has no classes")?;
        let file = std::fs::read(path).map_err(|error| error.to_string())?;
        let photo = overlay(&file, &self.limits, &output.crop, &map.grid, self.style);
        let interpretation = self.pipeline.instance().interpretation();
        let values = interpretation.scale.values(&output.logits);
        let class = interpretation.prediction(map.class, &values);
        let described = match class.probability {
            Some(probability) => format!("{} ({:.2} %)", class.label, 100.0 * probability),
            None => class.label.to_owned(),
        };
        let line = format!("{}: {described}\n", path.display());
        Ok((photo.map_err(|error| error.to_string())?, line))
    }
}

/// Where the pictures go.
enum Target {
    File(PathBuf),
    Folder {
        folder: PathBuf,
        /// The files that were written.
        used: HashSet<PathBuf>,
    },
    Sheet {
        file: PathBuf,
        cells: Vec<RgbImage>,
    },
}

impl Target {
    fn new(output: &Path, images: usize) -> Result<Self, Error> {
        let is_png = output
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
        match (images, is_png) {
            (1, true) => Ok(Self::File(output.to_owned())),
            (2..=MAX_CELLS, true) => Ok(Self::Sheet {
                file: output.to_owned(),
                cells: Vec::new(),
            }),
            (images, true) => Err(Error::ManyImages(images)),
            (_, false) => {
                std::fs::create_dir_all(output).map_err(|source| Error::Write {
                    path: output.to_owned(),
                    source,
                })?;
                Ok(Self::Folder {
                    folder: output.to_owned(),
                    used: HashSet::new(),
                })
            }
        }
    }

    fn add(&mut self, image: &Path, photo: &Photo) -> Result<(), Error> {
        match self {
            Self::File(file) => write(file, photo),
            Self::Folder { folder, used } => {
                let stem = image.file_stem().unwrap_or_default().to_string_lossy();
                let mut file = folder.join(format!("{stem}.png"));
                // images of the same name from several folders
                for number in 2.. {
                    if used.insert(file.clone()) {
                        break;
                    }
                    file = folder.join(format!("{stem}-{number}.png"));
                }
                write(&file, photo)
            }
            Self::Sheet { cells, .. } => {
                cells.push(thumbnail(photo));
                Ok(())
            }
        }
    }

    /// Writes the contact sheet.
    fn finish(self) -> Result<(), Error> {
        match self {
            Self::Sheet { file, cells } if !cells.is_empty() => write(&file, &sheet(&cells)),
            _ => Ok(()),
        }
    }
}

fn write(file: &Path, photo: &Photo) -> Result<(), Error> {
    std::fs::write(file, png(photo)?).map_err(|source| Error::Write {
        path: file.to_owned(),
        source,
    })
}

/// A photo that fits into a cell of a contact sheet.
fn thumbnail(photo: &Photo) -> RgbImage {
    let scale = f64::from(CELL) / f64::from(photo.width.max(photo.height));
    let side = |length: u32| (f64::from(length) * scale).round().max(1.0) as u32;
    let pixels = RgbImage::from_raw(photo.width, photo.height, photo.rgb.clone());
    let pixels = pixels.unwrap_or_default();
    imageops::thumbnail(&pixels, side(photo.width), side(photo.height))
}

/// Cells in rows on white, as many in a row as there are rows.
fn sheet(cells: &[RgbImage]) -> Photo {
    let columns = (cells.len() as f64).sqrt().ceil() as u32;
    let rows = (cells.len() as u32).div_ceil(columns);
    let length = |cells: u32| cells * (CELL + GAP) + GAP;
    let mut sheet = RgbImage::from_pixel(length(columns), length(rows), image::Rgb([255; 3]));
    for (at, cell) in (0..).zip(cells) {
        let x = length(at % columns) + (CELL - cell.width()) / 2;
        let y = length(at / columns) + (CELL - cell.height()) / 2;
        imageops::replace(&mut sheet, cell, i64::from(x), i64::from(y));
    }
    Photo {
        width: sheet.width(),
        height: sheet.height(),
        rgb: sheet.into_raw(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(width: u32, height: u32, value: u8) -> Photo {
        Photo {
            width,
            height,
            rgb: vec![value; (width * height * 3) as usize],
        }
    }

    #[test]
    fn a_contact_sheet_has_each_image_in_its_cell() {
        let cells: Vec<RgbImage> = (1..=5)
            .map(|value| thumbnail(&photo(640, 320, value)))
            .collect();
        let sheet = sheet(&cells);
        assert_eq!((sheet.width, sheet.height), (992, 664));
        for (at, value) in (0..5).zip(1..) {
            let (x, y) = (8 + at % 3 * 328 + 160, 8 + at / 3 * 328 + 160);
            assert_eq!(sheet.rgb[(y * 992 + x) * 3], value);
            // above the wide image
            assert_eq!(sheet.rgb[((y - 120) * 992 + x) * 3], 255);
        }
    }

    #[test]
    fn images_of_the_same_name_get_different_files() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("maps");
        let mut target = Target::new(&output, 3).unwrap();
        for image in ["a/cat.jpg", "b/cat.png", "dog.jpg"] {
            target.add(Path::new(image), &photo(2, 2, 0)).unwrap();
        }
        target.finish().unwrap();
        for file in ["cat.png", "cat-2.png", "dog.png"] {
            assert!(output.join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn the_output_depends_on_its_name_and_the_number_of_images() {
        let file = Path::new("maps.PNG");
        assert!(matches!(Target::new(file, 1), Ok(Target::File(_))));
        assert!(matches!(Target::new(file, 2), Ok(Target::Sheet { .. })));
        let error = Target::new(file, 401).err().unwrap().to_string();
        assert!(error.contains("at most 400"), "{error}");
    }
}
