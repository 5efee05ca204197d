//! The end: nobody new comes in, everybody who is in gets an answer.

use std::sync::Arc;

use crate::support::{grey, server};

#[tokio::test]
async fn draining_answers_all_that_were_let_in() {
    let server = server();
    let (first, waiting) = server.fill_queue(2..=9).await;

    let service = Arc::clone(&server.service);
    let drained = tokio::spawn(async move { service.drain().await });
    while server.get("/health/ready").await.status == 200 {
        tokio::task::yield_now().await;
    }
    let answer = server.get("/health/ready").await;
    answer.assert_problem(503, "draining");
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(server.get("/health/live").await.status, 200);
    server.post(grey(10)).await.assert_problem(503, "draining");
    assert!(!drained.is_finished(), "nine images have no answer yet");

    server.fake.gate.open();
    for (task, class) in std::iter::once(first).chain(waiting).zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    drained.await.unwrap();
    server.post(grey(10)).await.assert_problem(503, "draining");
}
