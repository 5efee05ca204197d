//! A model with a long backlog does not delay the images of another one.

use std::time::{Duration, Instant};

use crate::support::client::grey;
use crate::support::loader::spec;
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

/// Images in the backlog.
const BACKLOG: u8 = 40;

/// A quiet model must be served within this many jobs of the busy one.
const MAX_JOBS: usize = 10;

/// How long a job of the busy model is held while the quiet model may go on.
const PAUSE: Duration = Duration::from_millis(50);

/// One thread runs all jobs. It is held in each job of the busy model until the
/// test lets it go on, so the order of the jobs does not depend on their speed.
#[tokio::test]
async fn a_quiet_model_is_served_before_the_backlog_of_a_busy_one() {
    let server = Server::new(limits(), None, 1);
    for name in ["busy", "quiet"] {
        server.files.write(name, 1, FakeNetwork::new);
    }
    server.start(vec![spec("busy"), spec("quiet")]).await;
    let busy = server.files.network("busy", 1);
    busy.decode_gate.close();
    let backlog: Vec<_> = (0..BACKLOG)
        .map(|value| server.spawn_classify("busy", grey(value)))
        .collect();
    server
        .wait_for_metric("resnet_images_in_flight", f64::from(BACKLOG))
        .await;
    wait_until("the first job", async || busy.decode_gate.waiting() == 1).await;

    let quiet = server.spawn_classify("quiet", grey(77));
    server
        .wait_for_metric("resnet_images_in_flight", f64::from(BACKLOG) + 1.0)
        .await;
    let mut jobs = 0;
    while !quiet.is_finished() {
        assert!(jobs < MAX_JOBS, "the quiet model waits for the backlog");
        busy.decode_gate.admit_one();
        jobs += 1;
        let admitted = Instant::now();
        while !quiet.is_finished() && admitted.elapsed() < PAUSE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(quiet.await.unwrap().class(), 77);

    busy.decode_gate.open();
    for (task, class) in backlog.into_iter().zip(0..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
}
