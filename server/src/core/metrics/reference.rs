//! docs/metrics.md, from the metrics themselves: every metric is given a sample, and its
//! name, type, labels and help are read from the page that Prometheus scrapes.
//! `make metrics` writes the file; the test fails if it is not current.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use super::*;

const HEAD: &str = "\
# Metrics

This file is generated from the code by `make metrics`; do not edit it. `GET /metrics` returns these metrics in the OpenMetrics text
format. [observability.md](observability.md) says what to watch. A counter has the suffix `_total` on the page. A histogram has the
suffixes `_bucket`, `_sum` and `_count`. Times are in seconds. The buckets of a histogram with exemplars name a trace that was sampled.

The number of time series is bounded. `route` is a pattern of the router, or `other`. `model` and `version` are those that were loaded;
the samples of a version are removed when 100 others have been unloaded after it. `key` is a name in the file of API keys.

| metric | type | labels | meaning |
|---|---|---|---|
";

fn info() -> model::ModelInfo {
    model::ModelInfo {
        name: "model".into(),
        architecture: "resnet50".into(),
        parameters: 0,
        multiply_adds: 0,
        input_size: 0,
        classes: 0,
        embedding_size: 0,
        feature_map: [0; 3],
        engine: model::EngineChoice::Fused,
        device: model::Device::Cpu,
        dtype: model::Dtype::F32,
        isa: "portable".into(),
        digest: "none".into(),
        decisions: model::Decisions::default(),
    }
}

/// Metrics with a sample each.
fn sampled() -> Metrics {
    let metrics = Metrics::new();
    let labels = ModelLabels {
        model: "model".into(),
        version: 1,
    };
    metrics.loaded(&labels, &info(), 1);
    metrics.load_took("model", Duration::from_secs(1));
    metrics.decoded(
        &labels,
        Decoded {
            format: "jpeg",
            is_valid: true,
            took: Duration::from_millis(1),
        },
    );
    metrics.responded(&Responded {
        protocol: "native",
        route: "/classify",
        status: 200,
        took: Duration::from_millis(1),
        model: "model",
        version: 1,
        images: 1,
        key: "key",
        is_of_key: true,
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
    });
    metrics.connection_closed("unread");
    metrics.count_spans(SpanCounts::default);
    metrics.budgets(&[Budget {
        name: "bodies",
        used: 1,
        limit: Some(2),
    }]);
    metrics
}

/// A metric of a page.
struct Metric<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
    labels: BTreeSet<&'a str>,
    has_exemplars: bool,
}

fn metrics_of(page: &str) -> Vec<Metric<'_>> {
    let mut found: Vec<Metric<'_>> = Vec::new();
    for line in page.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            let (name, help) = text.split_once(' ').unwrap();
            found.push(Metric {
                name,
                kind: "",
                // prometheus-client ends each help with a full stop
                help: help.trim_end_matches('.'),
                labels: BTreeSet::new(),
                has_exemplars: false,
            });
        } else if let Some(text) = line.strip_prefix("# TYPE ") {
            found.last_mut().unwrap().kind = text.split_once(' ').unwrap().1;
        } else if !line.starts_with('#') {
            let metric = found.last_mut().unwrap();
            let (sample, exemplar) = match line.split_once(" # ") {
                Some((sample, exemplar)) => (sample, Some(exemplar)),
                None => (line, None),
            };
            metric.has_exemplars |= exemplar.is_some();
            let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
            let names = labels
                .split("\",")
                .filter_map(|label| label.split_once("=\""));
            let names = names.map(|(name, _)| name).filter(|name| *name != "le");
            metric.labels.extend(names);
            metric.kind = metric.kind.trim();
        }
    }
    found
}

fn reference(page: &str) -> String {
    let mut text = HEAD.to_owned();
    for metric in metrics_of(page) {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let kind = match metric.has_exemplars {
            true => format!("{} with exemplars", metric.kind),
            false => metric.kind.to_owned(),
        };
        let row = format!(
            "| `{}` | {kind} | {} | {} |",
            metric.name,
            labels.join(", "),
            metric.help
        );
        writeln!(text, "{}", row.replace("|  |", "| |")).unwrap();
    }
    text
}

#[test]
fn the_reference_of_the_metrics_is_current() {
    let metrics = sampled();
    let page = metrics.render().unwrap();
    // The labels of a metric are known only from a sample.
    for metric in metrics_of(&page) {
        let sample = page
            .lines()
            .any(|line| !line.starts_with('#') && line.starts_with(metric.name));
        assert!(
            sample,
            "{} has no sample: add one to `sampled`",
            metric.name
        );
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let expected = reference(&page);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/metrics.md is not current: run `make metrics`"
    );
}

#[test]
fn the_samples_of_versions_that_are_gone_are_removed() {
    let metrics = Metrics::new();
    let info = info();
    for version in 1..=150 {
        let labels = ModelLabels {
            model: "pets".into(),
            version,
        };
        metrics.loaded(&labels, &info, 1);
        metrics.responded(&Responded {
            protocol: "native",
            status: 200,
            model: "pets",
            version,
            ..Responded::default()
        });
        metrics.unloaded(&labels, &info);
    }
    let page = metrics.render().unwrap();
    let count = |start: &str| page.lines().filter(|line| line.starts_with(start)).count();
    for name in [
        "resnet_model_requests_total{",
        "resnet_model_request_seconds_count{",
        "resnet_decode_seconds_count{",
        "resnet_batch_images_count{",
    ] {
        assert_eq!(count(name), 100, "{name}");
    }
    assert!(!page.contains(r#"version="50""#) && page.contains(r#"version="51""#));
}
