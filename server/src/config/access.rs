//! Who may send requests: API keys, and the web pages of other servers; and which images
//! they may name by URL.

use std::path::PathBuf;

use crate::config::image_urls::ImageUrlFlags;
use crate::config::keys::{self, KeysError};
use crate::config::settings::Settings;
use crate::core::keys::Key;
use crate::fetch::fetcher::FetchRules;
use crate::http::cors::Origins;

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct AccessFlags {
    /// File of API keys (TOML), which `resnet key NAME` makes; requests without one of
    /// them are refused. A changed file is read again
    #[arg(long, env = "RESNET_API_KEYS", value_name = "FILE")]
    api_keys: Option<PathBuf>,

    /// Web pages that may send requests from a browser: origins such as
    /// `https://example.org`, separated by commas, or * for all, or off [default: off]
    #[arg(long, env = "RESNET_CORS_ORIGIN", value_name = "ORIGINS")]
    cors_origin: Option<String>,

    #[command(flatten)]
    image_urls: ImageUrlFlags,
}

/// The flags, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The file of API keys.
    pub keys: Option<PathBuf>,
    /// Where web pages may come from.
    pub origins: Option<Origins>,
    /// Which images are fetched by URL, if any.
    pub image_urls: Option<FetchRules>,
}

impl AccessFlags {
    /// Reads the settings; invalid ones are added to the errors.
    pub(super) fn read(&self, settings: &mut Settings) -> Access {
        let keys = settings.path("api-keys", self.api_keys.as_deref());
        let keys = keys.map(|(origin, path)| {
            if let Err(error) = keys::read(&path) {
                let value = path.display().to_string();
                settings.errors.add(origin, &value, error.to_string());
            }
            path
        });
        let origins = settings.read("cors-origin", self.cors_origin.as_deref(), "off", |text| {
            crate::config::units::or_off(text, Origins::parse)
        });
        Access {
            keys,
            origins,
            image_urls: self.image_urls.read(settings),
        }
    }
}

impl Access {
    /// The keys of the file; none without a file.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn keys(&self) -> Result<Vec<Key>, KeysError> {
        self.keys.as_deref().map_or(Ok(Vec::new()), keys::read)
    }
}
