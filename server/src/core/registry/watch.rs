//! Watches the files of the models. The operating system's file events make
//! the server react at once; a scan at a fixed interval finds what events miss:
//! network file systems, and volumes that are mounted over the watched folder.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};

use super::registry::Registry;

/// Time between an event and the scans that follow it. The second one finds
/// the files unchanged since the first, and loads them.
const SETTLE: Duration = Duration::from_millis(200);

/// Scans at every `interval` and after file events, until the future is
/// dropped. `rescan` is called before each scan: it updates the list of models
/// where that depends on files too.
pub async fn watch(
    registry: Registry,
    interval: Duration,
    rescan: impl Fn() + Send + Sync + 'static,
) {
    let rescan = Arc::new(rescan);
    let mut events = Events::new();
    let mut folders = registry.folders();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        events.follow(&folders);
        let event = tokio::select! {
            _ = ticks.tick() => false,
            () = events.next() => true,
        };
        let scans = if event { 2 } else { 1 };
        for _ in 0..scans {
            if event {
                tokio::time::sleep(SETTLE).await;
                events.clear();
            }
            let (registry, rescan) = (registry.clone(), Arc::clone(&rescan));
            let scan = move || {
                rescan();
                registry.scan();
                registry.folders()
            };
            // File systems may block. A panic has been logged.
            if let Ok(found) = tokio::task::spawn_blocking(scan).await {
                folders = found;
            }
        }
    }
}

/// File events of the folders that are followed.
struct Events {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    received: Receiver<()>,
}

impl Events {
    fn new() -> Self {
        let (sender, received) = channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading files is an event too, and changes nothing.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // A full channel already holds the message.
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.inspect_err(
            |error| tracing::warn!(%error, "no file events: changed models are found by polling"),
        );
        Self {
            watcher: watcher.ok(),
            folders: BTreeSet::new(),
            received,
        }
    }

    /// Watches these folders and no others.
    fn follow(&mut self, folders: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for gone in self.folders.difference(folders) {
            // It may not exist any more.
            let _ = watcher.unwatch(gone);
        }
        let mut followed = BTreeSet::new();
        for folder in folders {
            let is_new = !self.folders.contains(folder);
            match is_new.then(|| watcher.watch(folder, RecursiveMode::NonRecursive)) {
                // Tried again before the next scan.
                Some(Err(error)) => {
                    tracing::debug!(folder = %folder.display(), %error, "no file events");
                }
                _ => _ = followed.insert(folder.clone()),
            }
        }
        self.folders = followed;
    }

    async fn next(&mut self) {
        if self.received.recv().await.is_none() {
            // Without a watcher no event comes.
            std::future::pending::<()>().await;
        }
    }

    fn clear(&mut self) {
        while self.received.try_recv().is_ok() {}
    }
}
