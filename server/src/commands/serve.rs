//! `resnet serve`: listens at once, loads the models, serves until a signal
//! arrives, and then finishes the requests in flight.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::{Extension, Router};
use model::ThreadPool;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::rustls;
use weights::Hub;

use super::bind::{self, BindError};
use super::reload::{Reload, follow};
use super::state;
use crate::config::errors::ConfigErrors;
use crate::config::keys::KeysError;
use crate::config::serve::{Config, ServeFlags};
use crate::core::registry::checkpoints::Checkpoints;
use crate::core::serving::Serving;
use crate::descriptors;
use crate::fetch::fetcher::{FetchRules, Fetcher};
use crate::http::listener::Listener;
use crate::http::tls::{Tls, TlsError};
use crate::http::{cors, listen, routes};
use crate::logs;
use crate::shutdown::{self, Hangup, Signals};
use crate::telemetry::{self, Telemetry, TelemetryError};

/// Threads for sockets. They only copy bytes: decoding, parsing and computing
/// happen on the thread pool.
const SOCKET_THREADS: usize = 2;

/// Why the server ended with an error, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags, environment variables or the configuration file.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Tls(#[from] TlsError),
    /// The API keys cannot be used.
    #[error("the API keys cannot be used: {0}")]
    Keys(#[from] KeysError),
    /// Images cannot be fetched by URL.
    #[error("--image-urls: TLS cannot start: {0}")]
    Fetch(#[from] rustls::Error),
    /// No model can be served.
    #[error("no model can be loaded:{0}")]
    NoModel(String),
    /// The thread pool cannot start.
    #[error(transparent)]
    ThreadPool(#[from] model::Error),
    /// The log cannot be started.
    #[error("cannot start the log: {0}")]
    Log(#[from] logs::Error),
    /// Traces cannot be exported.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The operating system rejected a thread or a signal handler.
    #[error("cannot start a thread or install a signal handler: {0}")]
    System(#[from] io::Error),
}

/// Serves until a signal arrives.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &ServeFlags) -> Result<ExitCode, Error> {
    let config = flags.check()?;
    let telemetry = config
        .telemetry
        .as_ref()
        .map(Telemetry::start)
        .transpose()?;
    logs::start(&config.log, telemetry.as_ref().map(Telemetry::layer))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SOCKET_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(config, flags.clone()));
    // Does not wait for tasks that are still running after the drain timeout.
    runtime.shutdown_background();
    if let Some(telemetry) = telemetry {
        telemetry.finish();
    }
    logs::finish();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn serve(config: Config, flags: ServeFlags) -> Result<(), Error> {
    let began = Instant::now();
    let (signals, hangup) = (Signals::install()?, Hangup::install()?);
    shutdown::ignore_others()?;
    let pool = ThreadPool::new(config.threads)?;
    let loader = Box::new(Checkpoints::new(Hub::from_env()));
    let serving = Serving::new(config.limits.clone(), config.model_memory, pool, loader);
    let serving = serving.with_min_confidence(config.min_confidence);
    let serving = Arc::new(serving.with_cache(config.cache));
    let reported = Arc::clone(&serving);
    shutdown::on_report(move || state::log(&reported))?;
    serving.metrics().count_dropped_lines(logs::dropped_lines);
    if config.telemetry.is_some() {
        serving.metrics().count_spans(telemetry::counts);
    }
    let tls = config.transport.tls.clone().map(Tls::load).transpose()?;
    let tls = tls.map(Arc::new);
    serving.keys().replace(config.access.keys()?);
    let listening = listen_on_all(&config, &serving, tls.as_ref()).await?;

    let registry = serving.registry();
    registry.apply(config.models.clone(), &config.default_model);
    let mut signal = std::pin::pin!(signals.first());
    tokio::select! {
        () = registry.wait_until_loaded() => {}
        () = &mut signal => return Ok(()),
    }
    check_loaded(&serving, &listening.example, began)?;
    let reload = Arc::new(Reload::new(flags, &config, tls));
    let following = tokio::spawn(follow(Arc::clone(&serving), hangup, config.watch, reload));
    signal.await;
    following.abort();

    // Requests are served meanwhile: load balancers need a moment to notice.
    serving.leave();
    if let Some(delay) = config.drain_delay {
        tokio::time::sleep(delay).await;
    }
    let finish = async {
        drop(listening.stop);
        for listener in listening.tasks {
            // A panic there has been logged.
            let _ = listener.await;
        }
        serving.drain().await;
    };
    drain(finish, config.drain_timeout).await;
    Ok(())
}

/// Serves the public listeners and, where it is configured, the admin listener,
/// until the sender is dropped.
async fn listen_on_all(
    config: &Config,
    serving: &Arc<Serving>,
    tls: Option<&Arc<Tls>>,
) -> Result<Listening, Error> {
    let (stop, stopped) = watch::channel(());
    let mut tasks = Vec::new();
    let mut start = |listeners, router, connections| {
        let mut stopped = stopped.clone();
        let stop = async move { while stopped.changed().await.is_ok() {} };
        let serving = Arc::clone(serving);
        let serve = listen::serve(listeners, router, connections, serving, stop);
        tasks.push(tokio::spawn(serve));
    };
    let public = bind::public(&config.transport, tls).await?;
    for listener in &public {
        let (address, tls) = (listener.address()?, listener.has_tls());
        tracing::info!(address, tls, "listening; the models are being loaded");
    }
    let example = public.first().map(Listener::example).transpose()?;
    let connections = descriptors::fitted(config.connections);
    let router = routes::public(Arc::clone(serving), &config.protocols);
    let router = match &config.access.origins {
        Some(origins) => cors::allow(router, origins),
        None => router,
    };
    let router = match &config.access.image_urls {
        Some(rules) => fetching(router, rules, config.limits.max_body)?,
        None => router,
    };
    start(public, router, connections);
    if let Some(address) = &config.admin {
        let admin: Listener = bind::tcp(address, "--admin").await?.into();
        tracing::info!(address = admin.address()?, "listening for administration");
        let router = routes::admin(Arc::clone(serving), &config.protocols);
        start(vec![admin], router, descriptors::of_admin(connections));
    }
    Ok(Listening {
        example: example.unwrap_or_default(),
        stop,
        tasks,
    })
}

/// The routes, whose clients may send URLs of images of at most `max_bytes`.
fn fetching(router: Router, rules: &FetchRules, max_bytes: usize) -> Result<Router, Error> {
    let fetcher = Fetcher::new(rules.clone(), max_bytes)?;
    Ok(router.layer(Extension(Arc::new(fetcher))))
}

/// The listeners, while they accept connections.
struct Listening {
    /// A command that sends an image to the first public address.
    example: String,
    /// Stops them when it is dropped.
    stop: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// Logs what is served; an error if it is nothing.
fn check_loaded(serving: &Serving, example: &str, began: Instant) -> Result<(), Error> {
    let failed = serving.registry().readiness().failed;
    let all = serving.registry().list();
    if !all.is_empty() && failed.len() == all.len() {
        let reason = |(name, reason): &(String, String)| format!("\n  {name}: {reason}");
        return Err(Error::NoModel(failed.iter().map(reason).collect()));
    }
    let names: Vec<&str> = all.iter().map(|model| model.name.as_str()).collect();
    tracing::info!(
        models = ?names,
        failed = failed.len(),
        startup_ms = began.elapsed().as_millis() as u64,
        "ready; try: {example}"
    );
    Ok(())
}

async fn drain(finish: impl Future<Output = ()>, limit: Duration) {
    match timeout(limit, finish).await {
        Ok(()) => tracing::info!("all requests in flight were answered"),
        Err(_) => tracing::warn!(
            seconds = limit.as_secs_f64(),
            "the drain timeout has passed; requests still in flight are aborted"
        ),
    }
}
