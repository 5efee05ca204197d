//! Repositories of the Hub, downloaded from a local test server.

use resnet_weights::{Checkpoint, Hub, Progress, Resize, Result, Source};
use serde_json::json;
use tempfile::TempDir;

use crate::common::File;
use crate::hub_server::{COMMIT, Server, Site};

pub(crate) const ID: &str = "timm/resnet50.a1_in1k";

/// A file of weights, large enough for an interrupted download.
pub(crate) fn weights() -> Vec<u8> {
    let values: Vec<f32> = (0..50_000_u16).map(f32::from).collect();
    File::default().f32("fc.bias", &[50_000], &values).bytes()
}

/// A repository like timm's.
pub(crate) fn site() -> Site {
    let config = json!({
        "architecture": "resnet50",
        "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic"},
    });
    Site::default()
        .publish(ID, "README.md", b"# A card")
        .publish(ID, "config.json", config.to_string().as_bytes())
        .publish(ID, "model.safetensors", &weights())
        .publish(ID, "pytorch_model.bin", b"not needed")
}

pub(crate) fn hub(endpoint: &str, cache: &TempDir) -> Hub {
    Hub {
        endpoint: endpoint.to_owned(),
        cache: cache.path().join("hub"),
        token: None,
        offline: false,
        timeout: std::time::Duration::from_secs(1),
    }
}

pub(crate) fn open(hub: &Hub, name: &str) -> Result<Checkpoint> {
    Source::parse(name).unwrap().open(hub, &mut |_| ())
}

pub(crate) fn assert_complete(checkpoint: &Checkpoint) {
    let values = checkpoint.read("fc.bias", &[50_000]).unwrap();
    assert!(
        values
            .iter()
            .zip(0_u16..)
            .all(|(value, i)| *value == f32::from(i))
    );
}

pub(crate) fn message(result: Result<Checkpoint>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn a_repository_is_downloaded_once_and_opened_from_the_cache() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&server.endpoint, &cache);
    let mut reported: Vec<(String, u64, u64)> = Vec::new();
    let mut progress = |p: Progress| reported.push((p.file.to_owned(), p.done, p.total));
    let checkpoint = Source::parse(ID)
        .unwrap()
        .open(&hub, &mut progress)
        .unwrap();

    assert_eq!(checkpoint.name(), ID);
    assert_eq!(
        checkpoint.metadata().architecture.as_deref(),
        Some("resnet50")
    );
    let preprocessing = checkpoint.metadata().preprocessing.as_ref().unwrap();
    assert_eq!(
        (preprocessing.resize, preprocessing.crop),
        (Resize::ShortSide(235), 224)
    );
    assert_complete(&checkpoint);
    let size = weights().len() as u64;
    assert_eq!(
        reported.last(),
        Some(&("model.safetensors".to_owned(), size, size))
    );
    assert!(
        reported.contains(&("model.safetensors".to_owned(), 0, size)),
        "progress must begin at 0"
    );

    // The layout that is shared with Hugging Face's libraries.
    let folder = hub.cache.join("models--timm--resnet50.a1_in1k");
    assert_eq!(
        std::fs::read_to_string(folder.join("refs/main")).unwrap(),
        COMMIT
    );
    assert!(
        folder
            .join("snapshots")
            .join(COMMIT)
            .join("model.safetensors")
            .exists()
    );

    let before = server.requests.lock().unwrap().len();
    hub.offline = true;
    assert_complete(&open(&hub, ID).unwrap());
    assert_complete(&open(&hub, &format!("{ID}@{COMMIT}")).unwrap());
    assert_eq!(
        server.requests.lock().unwrap().len(),
        before,
        "a request was sent for a cached repository"
    );
}

#[test]
fn a_revision_is_resolved_to_a_commit() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    open(&hub(&server.endpoint, &cache), &format!("{ID}@refs/pr/7")).unwrap();
    let requests = server.requests.lock().unwrap();
    assert_eq!(
        requests[0].path,
        format!("/api/models/{ID}/revision/refs%2Fpr%2F7")
    );
    assert!(
        requests[1..]
            .iter()
            .all(|r| r.path.contains(COMMIT) || r.path.starts_with("/cdn/"))
    );
}

#[test]
fn private_repositories_need_a_token() {
    let server = Server::start(Site {
        token: Some("hf_secret"),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&server.endpoint, &cache);
    let denied = format!(
        "{ID}: the Hub denies access: the repository is private, gated or does not exist; \
         set HF_TOKEN to a token that may read it"
    );
    assert_eq!(message(open(&hub, ID)), denied);
    hub.token = Some("hf_wrong".into());
    assert_eq!(message(open(&hub, ID)), denied);
    hub.token = Some("hf_secret".into());
    assert_complete(&open(&hub, ID).unwrap());
    let requests = server.requests.lock().unwrap();
    let content = requests
        .iter()
        .find(|r| r.path.starts_with("/cdn/") && r.range.as_deref() == Some("bytes=0-"));
    assert_eq!(
        content.unwrap().authorization,
        None,
        "the token was sent to the storage host"
    );
}

#[test]
fn the_token_file_beside_the_cache_is_used() {
    let server = Server::start(Site {
        token: Some("hf_secret"),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    std::fs::write(cache.path().join("token"), "hf_secret\n").unwrap();
    assert_complete(&open(&hub(&server.endpoint, &cache), ID).unwrap());
}

#[test]
fn missing_repositories_and_weights_are_errors() {
    let server = Server::start(
        site()
            .publish("a/card", "README.md", b"")
            .publish("a/pair", "x.pth", b"")
            .publish("a/pair", "y.bin", b""),
    );
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&server.endpoint, &cache);
    assert_eq!(
        message(open(&hub, "no/body")),
        "no/body: the Hub has no such repository or revision; check the name"
    );
    assert_eq!(
        message(open(&hub, "a/card")),
        "a/card: it contains no weights (*.safetensors, *.pth, *.pt or *.bin)"
    );
    assert_eq!(
        message(open(&hub, "a/pair")),
        "a/pair: it contains several checkpoints: x.pth, y.bin; pass the path of one of them"
    );
    hub.offline = true;
    assert_eq!(
        message(open(&hub, ID)),
        format!(
            "{ID}: it is not in the cache at {}, and HF_HUB_OFFLINE forbids downloads; download it first or unset HF_HUB_OFFLINE",
            hub.cache.display()
        )
    );
}

#[test]
fn an_interrupted_download_is_resumed() {
    let server = Server::start(Site {
        drops: Some((70_000, 2)),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    assert_complete(&open(&hub(&server.endpoint, &cache), ID).unwrap());
    let ranges = server.ranges("/cdn/");
    assert_eq!(ranges, ["bytes=0-", "bytes=70000-", "bytes=140000-"]);
}

#[test]
fn a_download_fails_after_attempts_without_a_byte_and_the_next_call_resumes_it() {
    let server = Server::start(Site {
        drops: Some((1000, 1)),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server.endpoint, &cache);
    let mut then = Some((0, usize::MAX));
    let mut progress = |progress: Progress| {
        if progress.done == 1000
            && let Some(drops) = then.take()
        {
            server.site.lock().unwrap().drops = Some(drops);
        }
    };
    let error = Source::parse(ID).unwrap().open(&hub, &mut progress);
    let error = message(error);
    let start = format!(
        "{ID}: cannot fetch model.safetensors from {}: the connection broke: ",
        server.endpoint
    );
    assert!(error.starts_with(&start), "{error}");
    server.site.lock().unwrap().drops = None;
    assert_complete(&open(&hub, ID).unwrap());
    assert_eq!(server.ranges("/cdn/").last().unwrap(), "bytes=1000-");
}

#[test]
fn a_server_that_is_silent_is_an_error_after_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&endpoint, &cache);
    hub.timeout = std::time::Duration::from_millis(200);
    let error = message(open(&hub, ID));
    assert!(error.contains("timeout"), "{error}");
}

#[test]
fn a_damaged_file_is_removed_and_downloaded_again() {
    let server = Server::start(Site {
        corrupts: true,
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server.endpoint, &cache);
    let error = message(open(&hub, ID));
    let start = format!("{ID}: model.safetensors was damaged in the download: its SHA-256 is ");
    assert!(
        error.starts_with(&start) && error.ends_with("; the file was removed, try again"),
        "{error}"
    );
    server.site.lock().unwrap().corrupts = false;
    assert_complete(&open(&hub, ID).unwrap());
}

#[test]
fn an_unreachable_hub_is_named_in_the_error() {
    let cache = tempfile::tempdir().unwrap();
    let error = message(open(&hub("http://127.0.0.1:9", &cache), ID));
    let start = format!("{ID}: cannot fetch the list of files from http://127.0.0.1:9: ");
    assert!(error.starts_with(&start), "{error}");
}

#[test]
fn a_cache_that_cannot_be_written_is_named_in_the_error() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server.endpoint, &cache);
    std::fs::write(&hub.cache, "a file where a folder should be").unwrap();
    let error = message(open(&hub, ID));
    let start = format!(
        "{ID}: cannot write to the cache at {}: Not a directory",
        hub.cache.display()
    );
    assert!(error.starts_with(&start), "{error}");
}

#[test]
fn a_cache_with_dangling_links_is_downloaded_again() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server.endpoint, &cache);
    assert_complete(&open(&hub, ID).unwrap());
    let blobs = hub.cache.join("models--timm--resnet50.a1_in1k/blobs");
    std::fs::remove_dir_all(blobs).unwrap();
    let before = server.requests.lock().unwrap().len();
    assert_complete(&open(&hub, ID).unwrap());
    assert!(
        server.requests.lock().unwrap().len() > before,
        "no request was sent"
    );
}

#[test]
fn a_commit_that_is_a_path_is_rejected() {
    let server = Server::start(Site {
        commit: Some("../../../escaped"),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    let error = message(open(&hub(&server.endpoint, &cache), ID));
    assert_eq!(
        error,
        format!(
            "{ID}: the Hub returned \"../../../escaped\" as the commit, which is not a commit hash; check HF_ENDPOINT"
        )
    );
}

#[test]
fn shards_are_downloaded_with_their_index() {
    let index = json!({"weight_map": {"fc.bias": "model-00002-of-00002.safetensors", "fc.weight": "model-00001-of-00002.safetensors"}});
    let one = File::default().f32("fc.weight", &[1, 1], &[1.0]).bytes();
    let id = "some/shards";
    let server = Server::start(
        Site::default()
            .publish(
                id,
                "model.safetensors.index.json",
                index.to_string().as_bytes(),
            )
            .publish(id, "model-00001-of-00002.safetensors", &one)
            .publish(id, "model-00002-of-00002.safetensors", &weights()),
    );
    let cache = tempfile::tempdir().unwrap();
    let checkpoint = open(&hub(&server.endpoint, &cache), id).unwrap();
    assert_complete(&checkpoint);
    assert_eq!(checkpoint.read("fc.weight", &[1, 1]).unwrap(), [1.0]);
}
