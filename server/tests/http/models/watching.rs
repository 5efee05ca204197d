//! Watching files: scans at an interval, and after file events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use resnet_server::core::registry::watch::watch;
use tokio::task::JoinHandle;

use crate::support::client::grey;
use crate::support::loader::spec;
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

async fn server() -> Server {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.start(vec![spec("cats")]).await;
    server
}

/// Watches until the task is aborted. Counts the scans.
fn start_watching(server: &Server, interval: Duration) -> (JoinHandle<()>, Arc<AtomicUsize>) {
    let (registry, scans) = (
        server.serving.registry().clone(),
        Arc::<AtomicUsize>::default(),
    );
    let counter = Arc::clone(&scans);
    let count = move || _ = counter.fetch_add(1, Ordering::SeqCst);
    let task = tokio::spawn(async move { watch(registry, interval, count).await });
    (task, scans)
}

async fn new_files_are_served(server: &Server) {
    wait_until("the new files", async || {
        server.post(grey(7)).await.class() == 107
    })
    .await;
}

fn write_new_files(server: &Server) {
    server
        .files
        .write("cats", 1, || FakeNetwork::with_offset(100));
}

#[tokio::test]
async fn changed_files_are_found_by_scans_at_an_interval() {
    let server = server().await;
    let (watching, scans) = start_watching(&server, Duration::from_millis(5));
    wait_until("two scans", async || scans.load(Ordering::SeqCst) >= 2).await;
    write_new_files(&server);
    new_files_are_served(&server).await;
    watching.abort();
}

#[tokio::test]
async fn changed_files_are_found_by_file_events() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    server.files.watch_folder(folder.path());
    // Only the first scan is due to the interval.
    let (watching, scans) = start_watching(&server, Duration::from_secs(3600));
    wait_until("the first scan", async || scans.load(Ordering::SeqCst) == 1).await;
    write_new_files(&server);
    std::fs::write(folder.path().join("model.safetensors"), "new").unwrap();
    new_files_are_served(&server).await;
    watching.abort();
}
