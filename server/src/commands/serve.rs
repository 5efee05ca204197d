//! `resnet serve`: listens at once, loads the models, serves until a signal
//! arrives, and then finishes the requests in flight.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::ThreadPool;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weights::Hub;

use crate::config::errors::ConfigErrors;
use crate::config::serve::{Config, ServeFlags};
use crate::config::units::Address;
use crate::core::registry::checkpoints::Checkpoints;
use crate::core::registry::watch::watch as watch_files;
use crate::core::serving::Serving;
use crate::descriptors;
use crate::http::{listen, routes};
use crate::logs;
use crate::shutdown::{self, Hangup, Signals};

/// Threads for sockets. They only copy bytes: decoding, parsing and computing
/// happen on the thread pool.
const SOCKET_THREADS: usize = 2;

/// Why the server ended with an error, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags, environment variables or the configuration file.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The address cannot be listened on.
    #[error("cannot listen on {host}:{port}: {source}; choose another address with {flags}")]
    Bind {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// The operating system's error.
        source: io::Error,
        /// The flags that set the address.
        flags: &'static str,
    },
    /// No model can be served.
    #[error("no model can be loaded:{0}")]
    NoModel(String),
    /// The thread pool cannot start.
    #[error(transparent)]
    ThreadPool(#[from] model::Error),
    /// The log cannot be started.
    #[error("cannot start the log: {0}")]
    Log(#[from] logs::Error),
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
    logs::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SOCKET_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(config, flags.clone()));
    // Does not wait for tasks that are still running after the drain timeout.
    runtime.shutdown_background();
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
    let serving = Arc::new(serving.with_min_confidence(config.min_confidence));
    serving.metrics().count_dropped_lines(logs::dropped_lines);
    let (port, stop, listeners) = listen_on_all(&config, &serving).await?;

    let registry = serving.registry();
    registry.apply(config.models.clone(), &config.default_model);
    let mut signal = std::pin::pin!(signals.first());
    tokio::select! {
        () = registry.wait_until_loaded() => {}
        () = &mut signal => return Ok(()),
    }
    check_loaded(&serving, port, began)?;
    let reload = Arc::new(Reload::new(flags, config.repository.as_deref()));
    let following = tokio::spawn(follow(Arc::clone(&serving), hangup, config.watch, reload));
    signal.await;
    following.abort();

    // Requests are served meanwhile: load balancers need a moment to notice.
    serving.leave();
    if let Some(delay) = config.drain_delay {
        tokio::time::sleep(delay).await;
    }
    let finish = async {
        drop(stop);
        for listener in listeners {
            // A panic there has been logged.
            let _ = listener.await;
        }
        serving.drain().await;
    };
    drain(finish, config.drain_timeout).await;
    Ok(())
}

/// Serves the public listener and, where it is configured, the admin listener,
/// until the sender is dropped. Returns the port of the public one too.
async fn listen_on_all(
    config: &Config,
    serving: &Arc<Serving>,
) -> Result<(u16, watch::Sender<()>, Vec<JoinHandle<()>>), Error> {
    let (stop, stopped) = watch::channel(());
    let mut listeners = Vec::new();
    let mut start = |listener: TcpListener, router, connections| {
        let mut stopped = stopped.clone();
        let stop = async move { while stopped.changed().await.is_ok() {} };
        let serving = Arc::clone(serving);
        let serve = listen::serve(listener, router, connections, serving, stop);
        listeners.push(tokio::spawn(serve));
    };
    let public = bind(&config.host, config.port, "--host and --port").await?;
    let address = public.local_addr()?;
    tracing::info!(%address, "listening; the models are being loaded");
    let connections = descriptors::fitted(config.connections);
    start(
        public,
        routes::public(Arc::clone(serving), &config.protocols),
        connections,
    );
    if let Some(Address { host, port }) = &config.admin {
        let admin = bind(host, *port, "--admin").await?;
        let address = admin.local_addr()?;
        tracing::info!(%address, "listening for administration");
        let router = routes::admin(Arc::clone(serving), &config.protocols);
        start(admin, router, descriptors::of_admin(connections));
    }
    Ok((address.port(), stop, listeners))
}

async fn bind(host: &str, port: u16, flags: &'static str) -> Result<TcpListener, Error> {
    TcpListener::bind((host, port))
        .await
        .map_err(|source| Error::Bind {
            host: host.to_owned(),
            port,
            source,
            flags,
        })
}

/// Logs what is served; an error if it is nothing.
fn check_loaded(serving: &Serving, port: u16, began: Instant) -> Result<(), Error> {
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
        "ready; try: curl --data-binary @cat.jpg localhost:{port}/classify"
    );
    Ok(())
}

/// Follows changed files and SIGHUP until it is aborted.
async fn follow(
    serving: Arc<Serving>,
    mut hangup: Hangup,
    interval: Option<Duration>,
    reload: Arc<Reload>,
) {
    let files = async {
        let Some(interval) = interval else { return };
        let (reload, serving) = (Arc::clone(&reload), Arc::clone(&serving));
        let registry = serving.registry().clone();
        let rescan = move || {
            if reload.repository_changed() {
                reload.apply(&serving);
            }
        };
        watch_files(registry, interval, rescan).await;
    };
    let signals = async {
        loop {
            hangup.next().await;
            tracing::info!("SIGHUP: reloading the configuration and changed models");
            let (reload, serving) = (Arc::clone(&reload), Arc::clone(&serving));
            let reread = move || {
                reload.apply(&serving);
                let registry = serving.registry();
                registry.retry_failed();
                // Twice: the second scan finds the files unchanged and loads them.
                registry.scan();
                registry.scan();
            };
            // File systems may block. A panic has been logged.
            let _ = tokio::task::spawn_blocking(reread).await;
        }
    };
    tokio::join!(files, signals);
}

/// Reads the configuration again while the server runs. Only the models follow
/// it; other settings need a restart.
struct Reload {
    flags: ServeFlags,
    repository: Option<std::path::PathBuf>,
    listed: Mutex<Option<BTreeSet<OsString>>>,
}

impl Reload {
    fn new(flags: ServeFlags, repository: Option<&Path>) -> Self {
        Self {
            flags,
            repository: repository.map(Path::to_owned),
            listed: Mutex::new(repository.and_then(names)),
        }
    }

    fn apply(&self, serving: &Serving) {
        match self.flags.check() {
            Ok(config) => {
                let registry = serving.registry();
                registry.apply(config.models, &config.default_model);
            }
            Err(errors) => tracing::error!(%errors, "the configuration is not reloaded"),
        }
    }

    /// Whether models have been added to the repository's folder or removed
    /// since the last call.
    fn repository_changed(&self) -> bool {
        let Some(folder) = &self.repository else {
            return false;
        };
        let found = names(folder);
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        // A folder that cannot be listed for a moment removes no model.
        let changed = found.is_some() && *listed != found;
        if changed {
            *listed = found;
        }
        changed
    }
}

fn names(folder: &Path) -> Option<BTreeSet<OsString>> {
    let entries = std::fs::read_dir(folder).ok()?;
    Some(entries.flatten().map(|entry| entry.file_name()).collect())
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
