//! What is kept and shared, without a model.

use futures_util::FutureExt;
use model::Outputs;
use preprocess::Crop;
use tokio::sync::oneshot;

use super::*;

fn cache() -> Arc<Cache> {
    Arc::new(Cache::new(1 << 20, Arc::new(Metrics::new())))
}

fn asked(image: u8) -> Asked {
    let image = [image; 32];
    Asked {
        key: Key::new("", 1, Outputs::default(), &image),
        image,
        class: Class::Normal,
    }
}

fn output(value: f32) -> ImageOutput {
    ImageOutput {
        logits: vec![value],
        embedding: None,
        feature_map: None,
        crop: Crop {
            photo: [1; 2],
            x: 0.0,
            y: 0.0,
            width: 1.0,
            height: 1.0,
        },
        timings: Timings::default(),
        source: None,
    }
}

fn found(outcome: &Result<ImageOutput, Error>) -> (f32, Lookup) {
    let output = outcome.as_ref().unwrap();
    (output.logits[0], output.source.unwrap().lookup)
}

async fn never() -> Result<ImageOutput, Error> {
    std::future::pending().await
}

#[tokio::test]
async fn an_output_is_computed_once_and_an_error_is_not_kept() {
    let cache = cache();
    let failing = async { Err(Error::Panicked("decoding")) };
    assert!(cache.output(&asked(1), failing).await.is_err());
    let computed = cache.output(&asked(1), async { Ok(output(1.0)) }).await;
    assert_eq!(found(&computed), (1.0, Lookup::Miss));
    let kept = cache.output(&asked(1), never()).await;
    assert_eq!(found(&kept), (1.0, Lookup::Hit));
    let other = cache.output(&asked(2), async { Ok(output(2.0)) }).await;
    assert_eq!(found(&other), (2.0, Lookup::Miss));
    assert!(cache.lock().running.is_empty());
}

/// Starts a request that waits for the outcome it is sent.
async fn lead(cache: &Arc<Cache>) -> (oneshot::Sender<Result<ImageOutput, Error>>, Task) {
    let (sender, outcome) = oneshot::channel();
    let cache = Arc::clone(cache);
    let (started, start) = oneshot::channel();
    let task = tokio::spawn(async move {
        let run = async {
            started.send(()).unwrap();
            outcome.await.unwrap()
        };
        cache.output(&asked(1), run).await
    });
    start.await.unwrap();
    (sender, task)
}

type Task = tokio::task::JoinHandle<Result<ImageOutput, Error>>;

/// Starts requests that compute nothing unless they have to.
async fn follow(cache: &Arc<Cache>, count: usize) -> Vec<Task> {
    let follow = |n: usize| {
        let cache = Arc::clone(cache);
        tokio::spawn(async move {
            cache
                .output(&asked(1), async { Ok(output(n as f32)) })
                .await
        })
    };
    let tasks = (0..count).map(follow).collect();
    // one thread: each has run up to its wait
    tokio::task::yield_now().await;
    tasks
}

#[tokio::test]
async fn equal_requests_wait_for_the_one_that_computes() {
    let cache = cache();
    let (outcome, first) = lead(&cache).await;
    let others = follow(&cache, 3).await;
    outcome.send(Ok(output(9.0))).unwrap();
    assert_eq!(found(&first.await.unwrap()), (9.0, Lookup::Miss));
    for other in others {
        assert_eq!(found(&other.await.unwrap()), (9.0, Lookup::Coalesced));
    }
}

#[tokio::test]
async fn a_request_that_leaves_fails_none_that_waits_for_it() {
    let cache = cache();
    let (_outcome, first) = lead(&cache).await;
    let others = follow(&cache, 3).await;
    first.abort();
    let mut computed = Vec::new();
    for other in others {
        computed.push(found(&other.await.unwrap()));
    }
    let misses = computed.iter().filter(|(_, found)| *found == Lookup::Miss);
    assert_eq!(misses.count(), 1, "{computed:?}");
    assert!(computed.iter().all(|(value, _)| *value == computed[0].0));
}

#[tokio::test]
async fn an_error_of_the_image_is_shared_and_one_of_the_moment_is_not() {
    let cache = cache();
    let (outcome, first) = lead(&cache).await;
    let others = follow(&cache, 2).await;
    let broken = Error::InputValues("some are NaN or infinite");
    outcome.send(Err(broken)).unwrap();
    assert!(first.await.unwrap().is_err());
    for other in others {
        assert!(matches!(other.await.unwrap(), Err(Error::InputValues(_))));
    }
    let (outcome, first) = lead(&cache).await;
    let others = follow(&cache, 2).await;
    outcome.send(Err(Error::QueueFull)).unwrap();
    assert!(first.await.unwrap().is_err());
    for other in others {
        assert!(other.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_normal_image_does_not_wait_for_one_of_the_low_class() {
    let cache = cache();
    let low = Asked {
        class: Class::Low,
        ..asked(1)
    };
    let mut waiting = std::pin::pin!(cache.output(&low, never()));
    assert!((&mut waiting).now_or_never().is_none());
    let normal = cache.output(&asked(1), async { Ok(output(1.0)) }).await;
    assert_eq!(found(&normal), (1.0, Lookup::Miss));
}
