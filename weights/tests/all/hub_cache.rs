//! The cache of the Hub: repositories that are there in part, damaged, shared by
//! several processes, or read-only.

use resnet_weights::Hub;

use crate::hub::{ID, assert_complete, hub, message, open, site, weights};
use crate::hub_server::{COMMIT, Server, Site};

/// The path of a file in the cached snapshot.
fn cached(hub: &Hub, file: &str) -> std::path::PathBuf {
    let folder = hub.cache.join("models--timm--resnet50.a1_in1k/snapshots");
    folder.join(COMMIT).join(file)
}

#[test]
fn a_repository_that_another_program_cached_in_part_is_completed() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&server.endpoint, &cache);
    open(&hub, ID).unwrap();
    std::fs::remove_file(cached(&hub, "config.json")).unwrap();
    hub.offline = true;
    assert_eq!(
        message(open(&hub, ID)),
        format!(
            "{ID}: config.json is not in the cache at {}, and HF_HUB_OFFLINE forbids to fetch it; download the repository first or unset HF_HUB_OFFLINE",
            hub.cache.display()
        )
    );
    hub.offline = false;
    let before = server.ranges("/cdn/").len();
    let completed = open(&hub, ID).unwrap();
    assert_eq!(
        completed.metadata().architecture.as_deref(),
        Some("resnet50")
    );
    assert_eq!(
        server.ranges("/cdn/").len(),
        before,
        "the weights were fetched again"
    );
}

#[test]
fn files_that_a_repository_does_not_have_are_remembered() {
    let id = "some/weights";
    let server = Server::start(Site::default().publish(id, "model.safetensors", &weights()));
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&server.endpoint, &cache);
    open(&hub, id).unwrap();
    let before = server.requests.lock().unwrap().len();
    hub.offline = true;
    assert_complete(&open(&hub, id).unwrap());
    assert_eq!(server.requests.lock().unwrap().len(), before);
    // as if another program had cached the weights
    let repository = hub.cache.join("models--some--weights");
    std::fs::remove_dir_all(repository.join(".no_exist")).unwrap();
    assert!(message(open(&hub, id)).contains("config.json is not in the cache"));
    hub.offline = false;
    assert_complete(&open(&hub, id).unwrap());
}

#[test]
fn a_truncated_blob_in_the_cache_is_fetched_again() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&server.endpoint, &cache);
    open(&hub, ID).unwrap();
    for file in ["model.safetensors", "config.json"] {
        let blob = cached(&hub, file).canonicalize().unwrap();
        let length = blob.metadata().unwrap().len();
        let truncated = std::fs::OpenOptions::new().write(true).open(&blob).unwrap();
        truncated.set_len(length / 2).unwrap();
        hub.offline = true;
        let error = message(open(&hub, ID));
        assert!(error.contains(&format!("{file} is damaged")), "{error}");
        hub.offline = false;
        assert_complete(&open(&hub, ID).unwrap());
        assert_eq!(blob.metadata().unwrap().len(), length);
    }
}

#[test]
fn processes_that_share_a_cache_all_succeed_and_download_once() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_complete(&open(&hub(&server.endpoint, &cache), ID).unwrap()));
        }
    });
    assert_eq!(server.ranges("/cdn/"), ["bytes=0-"]);
}

#[cfg(unix)]
#[test]
fn a_complete_cache_may_be_read_only() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server.endpoint, &cache);
    open(&hub, ID).unwrap();
    let set = |mode: &str| {
        let status = std::process::Command::new("chmod")
            .args(["-R", mode])
            .arg(&hub.cache)
            .status();
        assert!(status.unwrap().success());
    };
    set("a-w");
    let opened = open(&hub, ID);
    set("u+w");
    assert_complete(&opened.unwrap());
}
