//! The limits of commands that read images: batch size and pixels.

use crate::config::settings::Settings;
use crate::config::units;
use crate::core::limits::Limits;

/// The largest batch that can be configured.
pub(super) const LARGEST_BATCH: usize = 1024;

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct ImageFlags {
    /// Maximum number of images in a forward pass [default: 16]
    #[arg(long, env = "RESNET_MAX_BATCH", value_name = "IMAGES")]
    pub(super) max_batch: Option<String>,

    /// Maximum number of pixels in an image, width times height
    /// [default: 64000000]
    #[arg(long, env = "RESNET_MAX_PIXELS", value_name = "PIXELS")]
    max_pixels: Option<String>,
}

/// The limits for images, wherever they come from.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// Images in a forward pass.
    pub max_batch: usize,
    /// Limits for decoding an image.
    pub decode: preprocess::Limits,
}

impl ImageFlags {
    /// Reads both settings; invalid ones are added to the errors.
    pub fn read(&self, settings: &mut Settings) -> ImageLimits {
        ImageLimits {
            max_batch: settings.read("max-batch", self.max_batch.as_deref(), "16", |text| {
                units::count(text, 1..=LARGEST_BATCH)
            }),
            decode: preprocess::Limits {
                max_pixels: settings.read(
                    "max-pixels",
                    self.max_pixels.as_deref(),
                    "64000000",
                    |text| units::count(text, 1..=10_000_000_000),
                ),
            },
        }
    }
}

impl ImageLimits {
    /// Limits for images read from local files: two batches in flight, one
    /// image for each request, and no practical limit on bytes and time.
    #[must_use]
    pub fn for_files(&self) -> Limits {
        Limits {
            max_in_flight: 2 * self.max_batch,
            max_batch: self.max_batch,
            max_images: 1,
            max_body: units::LARGEST_SIZE,
            body_memory: units::LARGEST_SIZE,
            decode: self.decode,
            request_timeout: units::LONGEST_TIME,
            body_timeout: units::LONGEST_TIME,
            stream_timeout: units::LONGEST_TIME,
        }
    }
}
