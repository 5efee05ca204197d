//! Whether outputs of images are kept for equal requests.

use crate::config::settings::Settings;
use crate::config::units;

/// The flag as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct CacheFlags {
    /// Maximum memory of the outputs that are kept for equal images, or off; equal
    /// requests at the same time run once [default: off]
    #[arg(long, env = "RESNET_CACHE", value_name = "SIZE")]
    cache: Option<String>,
}

impl CacheFlags {
    /// Reads the size in bytes; an invalid one is added to the errors.
    pub(super) fn read(&self, settings: &mut Settings) -> Option<usize> {
        settings.read("cache", self.cache.as_deref(), "off", |text| {
            units::or_off(text, units::size)
        })
    }
}
