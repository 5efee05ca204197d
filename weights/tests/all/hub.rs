//! Repositories of the Hub, from a server on loopback.

use serde_json::json;
use tempfile::TempDir;
use weights::{Checkpoint, Hub, Progress, Resize, Result, Source};

use crate::common::File;
use crate::hub_server::{COMMIT, Server, Site};

const ID: &str = "timm/resnet50.a1_in1k";

/// A file of weights large enough to break off in.
fn weights() -> Vec<u8> {
    let values: Vec<f32> = (0..50_000_u16).map(f32::from).collect();
    File::default().f32("fc.bias", &[50_000], &values).bytes()
}

/// A repository as timm publishes it.
fn site() -> Site {
    let config = json!({
        "architecture": "resnet50",
        "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic"},
    });
    Site::default()
        .publish(ID, "README.md", b"# A card")
        .publish(ID, "config.json", config.to_string().as_bytes())
        .publish(ID, "model.safetensors", &weights())
        .publish(ID, "pytorch_model.bin", b"not asked for")
}

fn hub(endpoint: &str, cache: &TempDir) -> Hub {
    Hub {
        endpoint: endpoint.to_owned(),
        cache: cache.path().join("hub"),
        token: None,
        offline: false,
    }
}

fn open(hub: &Hub, name: &str) -> Result<Checkpoint> {
    Source::parse(name).unwrap().open(hub, &mut |_| ())
}

fn assert_complete(checkpoint: &Checkpoint) {
    let values = checkpoint.read("fc.bias", &[50_000]).unwrap();
    assert!(
        values
            .iter()
            .zip(0_u16..)
            .all(|(value, i)| *value == f32::from(i))
    );
}

fn message(result: Result<Checkpoint>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn a_repository_opens_and_stays_in_the_cache() {
    let server = Server::start(site());
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(&server.endpoint, &cache);
    let mut heard: Vec<(String, u64, u64)> = Vec::new();
    let mut progress = |p: Progress| heard.push((p.file.to_owned(), p.done, p.total));
    let checkpoint = Source::parse(ID)
        .unwrap()
        .open(&hub, &mut progress)
        .unwrap();

    assert_eq!(checkpoint.name(), ID);
    assert_eq!(checkpoint.facts().architecture.as_deref(), Some("resnet50"));
    let recipe = checkpoint.facts().recipe.as_ref().unwrap();
    assert_eq!((recipe.resize, recipe.crop), (Resize::ShortSide(235), 224));
    assert_complete(&checkpoint);
    let size = weights().len() as u64;
    assert_eq!(
        heard.last(),
        Some(&("model.safetensors".to_owned(), size, size))
    );
    assert!(
        heard.contains(&("model.safetensors".to_owned(), 0, size)),
        "a bar can start at nothing"
    );

    // As the other libraries lay it out.
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
        "the cache asks nobody"
    );
}

#[test]
fn a_revision_is_asked_for_and_pinned_to_its_commit() {
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
        "{ID}: the Hub denies access: it is private or gated, or there is none of that name; \
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
        "the token stays with the Hub"
    );
}

#[test]
fn the_token_in_the_cache_s_home_is_used() {
    let server = Server::start(Site {
        token: Some("hf_secret"),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    std::fs::write(cache.path().join("token"), "hf_secret\n").unwrap();
    assert_complete(&open(&hub(&server.endpoint, &cache), ID).unwrap());
}

#[test]
fn what_the_hub_does_not_have() {
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
        "no/body: the Hub has no such repository or revision"
    );
    assert_eq!(
        message(open(&hub, "a/card")),
        "a/card: it holds no weights (*.safetensors, *.pth, *.pt or *.bin)"
    );
    assert_eq!(
        message(open(&hub, "a/pair")),
        "a/pair: it holds several weights: x.pth, y.bin; name one of them"
    );
    hub.offline = true;
    assert_eq!(
        message(open(&hub, ID)),
        format!(
            "{ID}: it is not in the cache at {}, and HF_HUB_OFFLINE forbids to fetch it",
            hub.cache.display()
        )
    );
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let server = Server::start(Site {
        drops: Some((70_000, 2)),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    assert_complete(&open(&hub(&server.endpoint, &cache), ID).unwrap());
    let ranges = server.ranges("/cdn/");
    assert_eq!(
        ranges,
        ["bytes=0-0", "bytes=0-", "bytes=70000-", "bytes=140000-"]
    );
}

#[test]
fn a_connection_that_never_holds_is_an_error_and_the_next_try_goes_on() {
    let server = Server::start(Site {
        drops: Some((1000, usize::MAX)),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server.endpoint, &cache);
    let error = message(open(&hub, ID));
    let start = format!(
        "{ID}: cannot fetch model.safetensors from {}: Too many retries: ",
        server.endpoint
    );
    assert!(error.starts_with(&start), "{error}");
    server.site.lock().unwrap().drops = None;
    assert_complete(&open(&hub, ID).unwrap());
    assert_eq!(server.ranges("/cdn/").last().unwrap(), "bytes=5000-");
}

#[test]
fn a_damaged_file_is_removed_and_fetched_again() {
    let server = Server::start(Site {
        corrupts: true,
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server.endpoint, &cache);
    let error = message(open(&hub, ID));
    let start = format!("{ID}: model.safetensors arrived damaged: its SHA-256 is ");
    assert!(
        error.starts_with(&start) && error.ends_with("; it was removed, try again"),
        "{error}"
    );
    server.site.lock().unwrap().corrupts = false;
    assert_complete(&open(&hub, ID).unwrap());
}

#[test]
fn nobody_at_the_endpoint() {
    let cache = tempfile::tempdir().unwrap();
    let error = message(open(&hub("http://127.0.0.1:9", &cache), ID));
    let start = format!("{ID}: cannot fetch the list of files from http://127.0.0.1:9: ");
    assert!(error.starts_with(&start), "{error}");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
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
fn a_cache_with_a_link_to_nothing_is_not_believed() {
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
        "the Hub is asked again"
    );
}

#[test]
fn a_commit_that_is_a_path_is_refused() {
    let server = Server::start(Site {
        commit: Some("../../../escaped"),
        ..site()
    });
    let cache = tempfile::tempdir().unwrap();
    let error = message(open(&hub(&server.endpoint, &cache), ID));
    assert_eq!(
        error,
        format!("{ID}: the Hub names an odd commit, \"../../../escaped\"")
    );
}

#[test]
fn shards_come_with_their_index() {
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
