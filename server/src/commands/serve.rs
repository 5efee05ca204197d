//! `resnet serve`: binds at once, loads the model meanwhile, answers until a
//! signal comes, and leaves no request behind.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::classifier::{Classifier, StartError};
use crate::config::{Config, Faults, ServeFlags};
use crate::http;
use crate::logs;
use crate::service::Service;
use crate::shutdown::Signals;

/// Threads for sockets. They only move bytes: decoding, parsing and computing
/// happen on the cores' own threads.
const SOCKET_THREADS: usize = 2;

/// Why the server ended, or never began.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags or variables are wrong.
    #[error(transparent)]
    Config(#[from] Faults),
    /// Address and port cannot be had.
    #[error("cannot listen on {host}:{port}: {source}; choose another with --host and --port")]
    Bind {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The model cannot be loaded.
    #[error("the model cannot be loaded: {0}")]
    Load(#[from] model::Error),
    /// The model cannot be run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The loading broke off.
    #[error("the loading of the model panicked; the log says where")]
    LoadPanicked,
    /// The log cannot be started.
    #[error("the log cannot be started: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// The system refused a thread or a signal handler.
    #[error("the system refused a thread or a signal handler: {0}")]
    System(#[from] io::Error),
}

/// Serves until a signal comes.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &ServeFlags) -> Result<ExitCode, Error> {
    let config = flags.check()?;
    logs::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SOCKET_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(config));
    // Whatever is still stuck has had its time.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn serve(config: Config) -> Result<(), Error> {
    let began = Instant::now();
    let signals = Signals::listen()?;
    let listener = bind(&config).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening; the model is being loaded");

    let service = Arc::new(Service::new(config.limits.clone()));
    let (stop, stopped) = oneshot::channel::<()>();
    let router = http::router(Arc::clone(&service));
    let sockets = tokio::spawn(http::listen::serve(
        listener,
        router,
        config.connections,
        async { drop(stopped.await) },
    ));

    let mut signal = std::pin::pin!(signals.first());
    tokio::select! {
        loaded = load(Arc::clone(&service), config.clone()) => loaded?,
        () = &mut signal => return Ok(()),
    }
    announce(&service, address.port(), began);
    signal.await;

    let finish = async {
        service.drain().await;
        drop(stop);
        // A panic there has been logged.
        let _ = sockets.await;
    };
    drain(finish, config.drain_timeout).await;
    Ok(())
}

async fn bind(config: &Config) -> Result<TcpListener, Error> {
    TcpListener::bind((config.host.as_str(), config.port))
        .await
        .map_err(|source| Error::Bind {
            host: config.host.clone(),
            port: config.port,
            source,
        })
}

/// Loads and warms the model on a thread of its own, then opens the service.
async fn load(service: Arc<Service>, config: Config) -> Result<(), Error> {
    let load = move || {
        let mut model = config.model.clone();
        model.options.cuda.largest_batch = config.limits.max_batch;
        let (model, cores) = model.load()?;
        let metrics = Arc::clone(service.metrics());
        let classifier = Classifier::start(Arc::new(model), cores, &config.limits, metrics)?;
        service.open(classifier);
        Ok(())
    };
    tokio::task::spawn_blocking(load)
        .await
        .unwrap_or(Err(Error::LoadPanicked))
}

fn announce(service: &Service, port: u16, began: Instant) {
    let Ok(classifier) = service.ready() else {
        return;
    };
    let card = classifier.network().card();
    tracing::info!(
        model = card.name,
        device = card.device,
        dtype = card.dtype,
        isa = card.isa,
        startup_ms = began.elapsed().as_millis() as u64,
        "ready; try: curl --data-binary @cat.jpg localhost:{port}/classify"
    );
}

async fn drain(finish: impl Future<Output = ()>, limit: Duration) {
    match timeout(limit, finish).await {
        Ok(()) => tracing::info!("every accepted request was answered"),
        Err(_) => tracing::warn!(
            seconds = limit.as_secs_f64(),
            "the drain timeout has passed: requests still in flight are cut off"
        ),
    }
}
