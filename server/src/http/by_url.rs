//! Images that a request names by URL. They are fetched if the operator allows it.
//! Problems do not describe the content that was fetched.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::call::Call;
use super::forms::File;
use super::problem::{Problem, ProblemType};
use crate::core::admission::ByteShare;
use crate::core::image::{EncodedImage, Encoding};
use crate::core::request::Deadline;
use crate::fetch::error::FetchError;
use crate::fetch::fetcher::Fetcher;

/// Images of one request that are fetched at the same time.
const AT_ONCE: usize = 8;

/// An image of a request, or why there is none.
pub(super) struct Collected {
    pub(super) image: Result<EncodedImage, Problem>,
    /// Whether it is from a URL.
    pub(super) is_fetched: bool,
}

impl Call {
    /// The images of a request whose body is counted in `share`, in order.
    ///
    /// # Errors
    /// 400 for a URL where none is allowed; 504 at the deadline.
    pub(super) async fn collect(
        &self,
        files: Vec<File>,
        share: &Arc<ByteShare>,
        deadline: Deadline,
    ) -> Result<Vec<Collected>, Problem> {
        let fetcher = self.fetcher.as_deref();
        let collect = |file| async move {
            match file {
                File::Sent(bytes, encoding) => Ok(Collected {
                    image: Ok(EncodedImage::new(bytes, encoding, Arc::clone(share))),
                    is_fetched: false,
                }),
                File::Url(url) => Ok(Collected {
                    image: fetch(fetcher.ok_or_else(off)?, &url, share).await,
                    is_fetched: true,
                }),
            }
        };
        let collected = stream::iter(files).map(collect).buffered(AT_ONCE);
        deadline.wait_for(collected.try_collect()).await?
    }
}

fn off() -> Problem {
    Problem::new(
        ProblemType::UrlRefused,
        "this server fetches no images by URL: its operator has not set --image-urls; send the \
         image itself",
    )
}

/// The problem of a fetched image that was found when it was decoded. It does not
/// describe the content.
pub(super) fn of_fetched(problem: Problem) -> Problem {
    match problem.problem_type {
        ProblemType::EmptyImage | ProblemType::UnsupportedFormat | ProblemType::BrokenImage => {
            problem.with_detail(
                "what is at the URL is no image that can be read; use another URL, or send the \
                 image",
            )
        }
        _ => problem,
    }
}

async fn fetch(
    fetcher: &Fetcher,
    url: &[u8],
    share: &Arc<ByteShare>,
) -> Result<EncodedImage, Problem> {
    let mut own = share.sibling();
    // The body is JSON, so this is text.
    let url = String::from_utf8_lossy(url);
    let bytes = fetcher.fetch(&url, &mut own).await;
    let bytes = bytes.map_err(|error| problem(&error))?;
    Ok(EncodedImage::new(bytes, Encoding::Raw, Arc::new(own)))
}

fn problem(error: &FetchError) -> Problem {
    let problem_type = match error {
        FetchError::Refused(_) => ProblemType::UrlRefused,
        FetchError::TooLarge(_) => ProblemType::BodyTooLarge,
        FetchError::Memory(error) => return Problem::from(error),
        FetchError::RedirectRefused
        | FetchError::Redirects(_)
        | FetchError::Unreachable
        | FetchError::Timeout(_)
        | FetchError::Status(_)
        | FetchError::ContentType
        | FetchError::ContentEncoding => ProblemType::UrlNotFetched,
    };
    Problem::new(problem_type, error.to_string())
}
