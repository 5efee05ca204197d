//! What every protocol does with a request between its body and its response:
//! find the model, run the images, keep the deadline.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use model::Outputs;
use tokio::time::{Instant, timeout_at};

use super::batch::ImageOutput;
use super::cache::cache::Asked;
use super::cache::digest::{Digest, Key};
use super::error::Error;
use super::image::ImageInput;
use super::instance::{Instance, Rank};
use super::keys::Caller;
use super::round_robin::Class;
use super::serving::Serving;
use super::statistics::Timings;

/// The outputs of an image, or why there are none.
pub type Outcome = Result<ImageOutput, Error>;

/// The deadline of a request.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    /// The deadline of a request that begins, or whose body has arrived, now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self {
            limit,
            at: Instant::now() + limit,
        }
    }

    /// This deadline, or the one after `limit` if that is earlier.
    #[must_use]
    pub fn or_after(self, limit: Duration) -> Self {
        match Instant::now() + limit {
            at if at < self.at => Self { limit, at },
            _ => self,
        }
    }

    /// The result of `future`, if it is there in time.
    ///
    /// # Errors
    /// [`Error::DeadlineExceeded`].
    pub async fn wait_for<T>(self, future: impl Future<Output = T>) -> Result<T, Error> {
        let exceeded = |_| Error::DeadlineExceeded {
            seconds: self.limit.as_secs_f64(),
        };
        timeout_at(self.at, future).await.map_err(exceeded)
    }
}

/// When the images of a request run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When the response must be there.
    pub deadline: Deadline,
    /// A class lower than the caller's lowers it; a higher one has no effect.
    pub class: Class,
}

impl From<Deadline> for Schedule {
    fn from(deadline: Deadline) -> Self {
        Self {
            deadline,
            class: Class::default(),
        }
    }
}

/// The instance for a request, see [`super::registry::registry::Registry::find`].
///
/// # Errors
/// As there; the deadline.
pub async fn find(
    serving: &Serving,
    name: Option<&str>,
    version: Option<u64>,
    deadline: Deadline,
) -> Result<Arc<Instance>, Error> {
    let found = serving.registry().find(name, version);
    deadline.wait_for(found).await?
}

/// Runs the images of a caller's request, all or none of which are admitted. An
/// error of one image does not affect the others.
///
/// # Errors
/// Too many images, for a request or at the moment.
pub async fn run(
    (serving, caller): (&Serving, &Caller),
    instance: &Instance,
    images: Vec<ImageInput>,
    outputs: Outputs,
    schedule: Schedule,
) -> Result<Vec<Outcome>, Error> {
    let (of, most) = (images.len(), serving.limits().max_images);
    let began = Instant::now();
    let admitted = async {
        if of > most {
            return Err(Error::TooManyImages { most });
        }
        let counted = caller.images(of)?;
        let permits = serving.admission().admit(of).await?;
        let images = digested(serving, images, outputs, schedule.deadline).await?;
        Ok((permits, counted, images))
    };
    let (permits, counted, images) = admitted.await.inspect_err(|_| {
        instance.statistics().failed(began.elapsed());
    })?;
    let infer = async |(index, ((image, digest), permit))| {
        let rank = Rank {
            before: counted.before() + index,
            of,
            class: caller.class().max(schedule.class),
        };
        let output = instance.infer(image, outputs, permit, rank);
        let Some((cache, image)) = serving.cache().zip(digest) else {
            return schedule.deadline.wait_for(output).await?;
        };
        let asked = Asked {
            key: Key::new(caller.name(), instance.id(), outputs, &image),
            image,
            class: rank.class,
        };
        schedule
            .deadline
            .wait_for(cache.output(&asked, output))
            .await?
    };
    let images = images.into_iter().zip(permits).enumerate();
    let outcomes = join_all(images.map(infer)).await;
    let took = began.elapsed();
    match outcomes.iter().all(Result::is_ok) {
        true => {
            let timings = slowest(&outcomes);
            instance.statistics().succeeded(of, timings, took);
        }
        false => instance.statistics().failed(took),
    }
    Ok(outcomes)
}

/// An image, and the digest of its content where the cache is to be asked.
type Digested = (ImageInput, Option<Digest>);

/// Hashes the images in one job, if there is a cache. Feature maps are large, so outputs
/// with them are not kept.
async fn digested(
    serving: &Serving,
    images: Vec<ImageInput>,
    outputs: Outputs,
    deadline: Deadline,
) -> Result<Vec<Digested>, Error> {
    if serving.cache().is_none() || outputs.feature_map {
        return Ok(images.into_iter().map(|image| (image, None)).collect());
    }
    let digested = |image: ImageInput| {
        let digest = image.digest();
        (image, digest)
    };
    let hash = move || images.into_iter().map(digested).collect();
    run_job(serving, hash, deadline).await
}

/// Runs a short job on the thread pool: megabytes are not parsed between two
/// sockets.
///
/// # Errors
/// A job that panics; the deadline.
pub async fn run_job<T: Send + 'static>(
    serving: &Serving,
    job: impl FnOnce() -> T + Send + 'static,
    deadline: Deadline,
) -> Result<T, Error> {
    deadline.wait_for(serving.run_job(job)).await?
}

/// The longest time of each step over all images.
#[must_use]
pub fn slowest(outcomes: &[Outcome]) -> Timings {
    let timings = outcomes.iter().flatten().map(|output| output.timings);
    timings.fold(Timings::default(), |a, b| Timings {
        decode: a.decode.max(b.decode),
        queue: a.queue.max(b.queue),
        forward: a.forward.max(b.forward),
    })
}
