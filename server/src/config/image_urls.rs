//! Which images are fetched by URL.

use crate::config::settings::Settings;
use crate::config::units;
use crate::fetch::fetcher::FetchRules;
use crate::fetch::rules::{AllowList, PrivateHosts};

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct ImageUrlFlags {
    /// URLs of images that clients may send instead of the images, separated by commas:
    /// hosts such as example.com or *.example.com, URLs that end with a slash, or * for
    /// all hosts, or off. Only https, unless an entry begins with http:// [default: off]
    #[arg(long, env = "RESNET_IMAGE_URLS", value_name = "URLS")]
    image_urls: Option<String>,

    /// Hosts of --image-urls that may have private addresses, such as 10.0.0.1 or that of
    /// this machine, separated by commas, or off [default: off]
    #[arg(long, env = "RESNET_IMAGE_URL_PRIVATE", value_name = "HOSTS")]
    image_url_private: Option<String>,

    /// Longest time to fetch an image, with its redirects [default: 10s]
    #[arg(long, env = "RESNET_IMAGE_URL_TIMEOUT", value_name = "TIME")]
    image_url_timeout: Option<String>,
}

impl ImageUrlFlags {
    /// Reads the settings; invalid ones are added to the errors. `None` if no image is
    /// fetched.
    pub(super) fn read(&self, settings: &mut Settings) -> Option<FetchRules> {
        let allowed = settings.read("image-urls", self.image_urls.as_deref(), "off", |text| {
            units::or_off(text, AllowList::parse)
        });
        let private = self.image_url_private.as_deref();
        let private = settings.read("image-url-private", private, "off", |text| {
            units::or_off(text, PrivateHosts::parse)
        });
        let timeout = self.image_url_timeout.as_deref();
        let timeout = settings.read("image-url-timeout", timeout, "10s", units::time);
        if private.is_some() && allowed.is_none() {
            settings.contradiction(
                "image-url-private",
                self.image_url_private.as_deref(),
                "has no effect without --image-urls; set it too",
            );
        }
        Some(FetchRules {
            allowed: allowed?,
            private: private.unwrap_or_default(),
            timeout,
        })
    }
}
