//! What images and requests may take.

use std::time::Duration;

use super::{Faults, units};
use crate::photo;

/// What requests may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Images between admission and answer.
    pub queue: usize,
    /// Images the device runs together.
    pub max_batch: usize,
    /// Images in one request.
    pub max_images: usize,
    /// Bytes of one request's body.
    pub max_body: usize,
    /// Bytes of all bodies held at once.
    pub body_memory: usize,
    /// What decoding one image may take.
    pub photo: photo::Limits,
    /// From a body's arrival to its answer.
    pub request_timeout: Duration,
    /// Longest silence inside a body.
    pub body_timeout: Duration,
}

/// The flags of every command that reads images, as text.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitFlags {
    /// Most images the device runs together
    #[arg(
        long,
        env = "RESNET_MAX_BATCH",
        value_name = "IMAGES",
        default_value = "16",
        help_heading = "Limits"
    )]
    max_batch: String,

    /// Most pixels of one image, width times height
    #[arg(
        long,
        env = "RESNET_MAX_PIXELS",
        value_name = "PIXELS",
        default_value = "50000000",
        help_heading = "Limits"
    )]
    max_pixels: String,
}

impl LimitFlags {
    /// Reads both flags; the rest is what suits files on the disk, which no
    /// client sends and nobody waits for.
    pub fn check(&self, faults: &mut Faults) -> Limits {
        let max_batch = faults.read("--max-batch", &self.max_batch, |text| {
            units::count(text, 1..=1024)
        });
        Limits {
            queue: 2 * max_batch,
            max_batch,
            max_images: 1,
            max_body: usize::MAX,
            body_memory: usize::MAX,
            photo: photo::Limits {
                max_pixels: faults.read("--max-pixels", &self.max_pixels, |text| {
                    units::count(text, 1..=10_000_000_000)
                }),
            },
            request_timeout: Duration::MAX,
            body_timeout: Duration::MAX,
        }
    }
}
