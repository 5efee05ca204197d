//! What the connections of a listener share, and how each of their requests gets
//! its response, whatever the version of HTTP.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

use super::observe::{Rejected, is_probe};
use super::problem::Problem;
use super::room::{Room, Stream};
use crate::core::serving::Serving;

/// At a shutdown, a connection is closed once it has been idle for so long: a
/// request may be on its way.
pub(super) const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) router: Router,
    pub(super) serving: Arc<Serving>,
    pub(super) room: Arc<Room>,
    /// Connections above the limit of their address, which are read for a moment.
    pub(super) turned_away: Arc<Semaphore>,
    pub(super) header_timeout: Duration,
    pub(super) write_timeout: Duration,
    /// Closed when the listener stops.
    pub(super) stopped: watch::Receiver<()>,
}

/// The extension of an HTTP/2 request by which its handler learns that the server
/// stops: a response that would not end has to.
#[derive(Clone, Default)]
pub(crate) struct Stopping(Option<watch::Receiver<()>>);

impl Stopping {
    /// Whether the listener has stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        let stopped = self.0.as_ref();
        stopped.is_some_and(|stopped| stopped.has_changed().is_err())
    }

    /// Completes when the listener stops.
    pub(crate) async fn stopped(self) {
        match self.0 {
            Some(mut stopped) => while stopped.changed().await.is_ok() {},
            None => std::future::pending().await,
        }
    }
}

/// The response to a request of either protocol, as a future.
pub(super) type Served<B> = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

impl Shared {
    pub(super) fn stopping(&self) -> Stopping {
        Stopping(Some(self.stopped.clone()))
    }

    /// The response to a request, and its place among the requests in progress.
    /// `checked` is the problem of its head.
    pub(super) async fn respond(
        &self,
        checked: Result<(), Problem>,
        mut head: Parts,
        body: Incoming,
    ) -> (Response<Body>, Option<OwnedSemaphorePermit>) {
        let path = head.uri.path();
        let place = match (checked, stream(path)) {
            (Err(problem), _) => Err(problem),
            (Ok(()), Some(stream)) => self.room.stream(stream).map(Some),
            (Ok(()), None) if is_probe(path) => Ok(None),
            (Ok(()), None) => self.room.place().await.map(Some),
        };
        if let Err(problem) = &place {
            head.extensions.insert(Rejected(problem.clone()));
        }
        let request = Request::from_parts(head, Body::new(body));
        let Ok(response) = self.router.clone().oneshot(request).await;
        (response, place.ok().flatten())
    }
}

/// Whether a request is a stream of gRPC, by its path.
fn stream(path: &str) -> Option<Stream> {
    const STREAMS: [(&str, Stream); 3] = [
        ("/ModelStreamInfer", Stream::Requests),
        ("/ServerReflectionInfo", Stream::Requests),
        (".Health/Watch", Stream::Watch),
    ];
    let mut streams = STREAMS.into_iter();
    let found = streams.find(|(method, _)| path.ends_with(method));
    found.map(|(_, stream)| stream)
}
