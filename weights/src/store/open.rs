//! Opens a store by its address, with the settings of its kind. Retries end before the
//! time limit of a request, so that an error has the cause of the failure.

use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::{Position, Url};

use super::error::StoreError;

const RETRIES: usize = 3;

/// The store at `url`, and the path of `url` in it. Settings that the store does not know
/// are ignored.
pub(super) fn open(
    url: &Url,
    settings: &[(String, String)],
    silence: Duration,
) -> Result<(Box<dyn ObjectStore>, Path), StoreError> {
    let failed = |error: &dyn std::fmt::Display| StoreError::Content(error.to_string());
    let (scheme, folder) = ObjectStoreScheme::parse(url).map_err(|error| failed(&error))?;
    macro_rules! build {
        ($builder:ty, $address:expr) => {{
            let builder = <$builder>::new()
                .with_url($address)
                .with_retry(retries(silence));
            let builder = settings.iter().fold(builder, |builder, (name, value)| {
                match name.to_ascii_lowercase().parse() {
                    Ok(name) => builder.with_config(name, value),
                    Err(_) => builder,
                }
            });
            Box::new(builder.build().map_err(|error| failed(&error))?)
        }};
    }
    let store: Box<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => build!(AmazonS3Builder, url.as_str()),
        ObjectStoreScheme::GoogleCloudStorage => build!(GoogleCloudStorageBuilder, url.as_str()),
        ObjectStoreScheme::MicrosoftAzure => build!(MicrosoftAzureBuilder, url.as_str()),
        ObjectStoreScheme::Http => build!(HttpBuilder, &url[..Position::BeforePath]),
        _ => {
            let reason = "is the address of no object store; use s3://, gs://, az:// or https://";
            return Err(failed(&reason));
        }
    };
    Ok((store, folder))
}

/// All pauses together take half of `silence` at most.
fn retries(silence: Duration) -> RetryConfig {
    let most = silence / (2 * RETRIES as u32);
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: most / 4,
            max_backoff: most,
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: silence,
    }
}
