//! Traces: the spans of requests and batches, as a collector of OpenTelemetry receives
//! them, over both protocols of OTLP.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tonic::{Request, Response, Status};

use crate::photo;
use crate::serving::{Serving, read};

/// Only the shutdown exports: the spans that arrive have been flushed.
const NEVER: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "3600000");

/// A collector in this process.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens on a free port, for gRPC if `is_grpc`, else for HTTP.
    fn start(&self, is_grpc: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let collector = self.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(collector.accept(listener, is_grpc));
        });
        address
    }

    async fn accept(self, listener: TcpListener, is_grpc: bool) {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let (stream, collector) = (TokioIo::new(stream), self.clone());
            if is_grpc {
                let service = TraceServiceServer::new(collector);
                let serve =
                    service_fn(move |request| tower::ServiceExt::oneshot(service.clone(), request));
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(stream, serve));
            } else {
                let serve = service_fn(move |request| collector.clone().receive(request));
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(stream, serve));
            }
        }
    }

    async fn receive(
        self,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<axum::body::Body>, axum::Error> {
        assert_eq!(request.uri().path(), "/v1/traces");
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let body = axum::body::Body::new(request.into_body());
        let body: Bytes = axum::body::to_bytes(body, 1 << 20).await?;
        let spans = ExportTraceServiceRequest::decode(body).unwrap();
        self.0.lock().unwrap().push(spans);
        Ok(hyper::Response::new(axum::body::Body::empty()))
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock().unwrap();
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn resource(&self) -> BTreeMap<String, String> {
        let received = self.0.lock().unwrap();
        let resource = received[0].resource_spans[0].resource.as_ref().unwrap();
        attributes(&resource.attributes)
    }
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => {
            assert!(text.parse::<i64>().is_err(), "{} is a number", pair.key);
            text
        }
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let pairs = pairs.iter().map(|pair| (pair.key.clone(), text(pair)));
    pairs.collect()
}

/// Sends a photo with these headers and returns the response.
fn classify(serving: &Serving, headers: &str) -> String {
    let photo = photo();
    let length = photo.len();
    let head = format!("POST /classify HTTP/1.1\r\n{headers}content-length: {length}\r\n");
    read(serving.send(&head, &photo))
}

fn traceparent(trace: u128, flags: &str) -> String {
    format!("traceparent: 00-{trace:032x}-00f067aa0ba902b7-{flags}\r\nbaggage: a=b\r\n")
}

/// The spans of a trace, by name.
fn of_trace(spans: &[Span], trace: u128) -> BTreeMap<&str, &Span> {
    let spans = spans
        .iter()
        .filter(|span| span.trace_id == trace.to_be_bytes());
    spans.map(|span| (span.name.as_str(), span)).collect()
}

#[test]
fn spans_of_requests_and_batches_reach_a_collector_over_http() {
    const SAMPLED: std::ops::RangeInclusive<u128> = 1..=6;
    const UNSAMPLED: u128 = 0xabc;
    let collector = Collector::default();
    let endpoint = format!("http://{}", collector.start(false));
    let mut serving = Serving::start_with(
        &["--threads", "1"],
        &[
            NEVER,
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_SERVICE_NAME", "photos"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=test",
            ),
        ],
    );
    let answer = classify(&serving, &traceparent(UNSAMPLED, "00"));
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let line = serving.line("request");
    assert_eq!(line["trace_id"], format!("{UNSAMPLED:032x}"), "{line}");
    let metrics = serving.get("/metrics");
    assert!(!metrics.contains("trace_id="), "{metrics}");
    std::thread::scope(|scope| {
        for trace in SAMPLED {
            let serving = &serving;
            scope.spawn(move || classify(serving, &traceparent(trace, "01")));
        }
    });
    let metrics = serving.get("/metrics");
    for start in [
        r#"resnet_request_seconds_bucket{le="#,
        r#"resnet_model_request_seconds_bucket{le="#,
    ] {
        let mut lines = metrics.lines().filter(|line| line.starts_with(start));
        let exemplar = "# {trace_id=\"0000000000000000000000000000000";
        assert!(lines.any(|line| line.contains(exemplar)), "{metrics}");
    }
    assert!(metrics.contains("resnet_spans_total{result=\"dropped\"} 0"));
    serving.signal("-TERM");
    assert_eq!(serving.exit_code(), Some(0));

    let spans = collector.spans();
    assert!(of_trace(&spans, UNSAMPLED).is_empty(), "{spans:?}");
    assert_eq!(collector.resource()["service.name"], "photos");
    assert_eq!(collector.resource()["deployment.environment.name"], "test");
    let mut images = Vec::new();
    for trace in SAMPLED {
        let spans = of_trace(&spans, trace);
        let names: Vec<&str> = spans.keys().copied().collect();
        let expected = [
            "POST /classify",
            "body",
            "decode",
            "image",
            "queue",
            "respond",
        ];
        assert_eq!(names, expected, "{trace}");
        let request = spans["POST /classify"];
        assert_eq!(
            request.parent_span_id,
            0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()
        );
        for (child, parent) in [
            ("body", request),
            ("image", request),
            ("respond", request),
            ("decode", spans["image"]),
            ("queue", spans["image"]),
        ] {
            let child = spans[child];
            assert_eq!(child.parent_span_id, parent.span_id, "{child:?}");
            assert!(
                child.end_time_unix_nano <= parent.end_time_unix_nano,
                "{child:?}"
            );
        }
        let found = attributes(&request.attributes);
        for (name, value) in [
            ("http.request.method", "POST"),
            ("http.route", "/classify"),
            ("http.response.status_code", "200"),
            ("resnet.model.name", "resnet50_thin"),
            ("resnet.images", "1"),
        ] {
            assert_eq!(found[name], value, "{found:?}");
        }
        let decode = attributes(&spans["decode"].attributes);
        assert_eq!(decode["resnet.image.format"], "jpeg");
        images.push(spans["image"].clone());
    }
    assert_linked(&spans, &images);
}

/// Each image is linked by the one batch that ran it, and links it.
fn assert_linked(spans: &[Span], images: &[Span]) {
    let batches: Vec<&Span> = spans.iter().filter(|span| span.name == "batch").collect();
    let mut linked = 0;
    for batch in &batches {
        assert!(batch.parent_span_id.is_empty(), "{batch:?}");
        let size = attributes(&batch.attributes)["resnet.batch.size"].clone();
        assert_eq!(size, batch.links.len().to_string());
        linked += batch.links.len();
        let forward = spans
            .iter()
            .find(|span| span.parent_span_id == batch.span_id);
        assert_eq!(forward.unwrap().name, "forward");
    }
    assert_eq!(linked, images.len(), "{batches:?}");
    for image in images {
        let links = |batch: &&&Span| {
            let mut links = batch.links.iter();
            links.any(|link| link.span_id == image.span_id && link.trace_id == image.trace_id)
        };
        let batch = batches.iter().find(links).unwrap();
        assert_eq!(image.links[0].span_id, batch.span_id, "{image:?}");
    }
}

#[test]
fn a_batch_and_a_failed_request_reach_a_collector_over_grpc() {
    let collector = Collector::default();
    let endpoint = format!("http://{}", collector.start(true));
    let flags = ["--otlp-endpoint", &endpoint, "--otlp-protocol", "grpc"];
    let mut serving = Serving::start_with(&flags, &[NEVER]);
    let head = "POST /classify HTTP/1.1\r\ncontent-length: 4\r\n";
    let answer = read(serving.send(head, b"text"));
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    serving.get("/health/ready");
    serving.signal("-TERM");
    assert_eq!(serving.exit_code(), Some(0));
    let spans = collector.spans();
    let named = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let first = found.next();
        assert!(found.next().is_none(), "{spans:?}");
        first.map(|span| attributes(&span.attributes))
    };
    let decode = named("decode").unwrap();
    assert_eq!(decode["resnet.image.format"], "unknown");
    assert!(decode.contains_key("error.type"), "{decode:?}");
    // The client's error is none of the server.
    let ok = spans
        .iter()
        .all(|span| span.status.as_ref().unwrap().code == 0);
    assert!(ok, "{spans:?}");
    let request = named("POST /classify").unwrap();
    assert_eq!(request["http.response.status_code"], "415");
    assert!(named("batch").is_none() && named("queue").is_none());
    assert_eq!(collector.resource()["service.name"], "resnet");
    let probes = spans.iter().filter(|span| span.name.contains("health"));
    assert_eq!(probes.count(), 0);
}

#[test]
fn a_collector_that_is_gone_delays_neither_requests_nor_the_end() {
    // A port that refuses connections: its listener is dropped.
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let variables = [
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{gone}")),
    ];
    let mut serving = Serving::start_with(&[], &variables);
    for _ in 0..5 {
        let answer = classify(&serving, "");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    serving.line("spans cannot be exported");
    let page = serving.get("/metrics");
    let count = |result: &str| -> u64 {
        let name = format!("resnet_spans_total{{result=\"{result}\"}} ");
        let mut lines = page.lines().filter_map(|line| line.strip_prefix(&name));
        lines.next().unwrap().parse().unwrap()
    };
    assert!(count("failed") > 0 && count("dropped") > 0, "{page}");
    assert_eq!(count("exported"), 0);
    serving.signal("-TERM");
    assert_eq!(serving.exit_code(), Some(0));
}
