//! Listening, the limits of connections, and the routes.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::error::Refusal;
use crate::face::Face;
use crate::guard::{Guard, Peer, check};
use crate::metrics::Metrics;
use crate::routes::Served;
use crate::said::{Answer, Plain, Said, string};
use crate::token::Tokens;
use crate::{api, merge, routes};

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Connections at a time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 128;
/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Pause after an accept that failed for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often histograms are drained, so that they do not grow between scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Time for open requests when the server stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// How the HTTP face listens.
#[derive(Debug, Clone, Default)]
pub struct AdminConfig {
    /// `host:port`; port 0 is chosen by the system.
    pub listen: String,
    /// Names under which it may be addressed, beside its IP address and, on loopback, `localhost`.
    pub hosts: Vec<String>,
    /// Whether `/metrics` takes no token beyond loopback either.
    pub metrics_open: bool,
    /// Whether it may listen beyond loopback, where tokens and results travel in plain text.
    pub insecure_plaintext: bool,
}

/// Why the HTTP face did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The address cannot be bound.
    #[error("cannot listen on {listen} for the admin face")]
    Bind {
        /// What was asked for.
        listen: String,
        /// Why.
        source: io::Error,
    },
    /// It would send tokens in plain text.
    #[error(
        "the admin face would listen on {listen}, beyond loopback, without encryption: listen on 127.0.0.1, \
         or set security.insecure_plaintext = true if that network is trusted"
    )]
    Plaintext {
        /// What was asked for.
        listen: String,
    },
}

/// A running HTTP face. [`AdminServer::stop`] ends it; dropping it aborts it.
#[derive(Debug)]
pub struct AdminServer {
    local_addr: SocketAddr,
    tokens: Arc<RwLock<Option<Tokens>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Answers whether a worker is ready.
type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

impl AdminServer {
    /// Starts the master's face: the API, `/metrics` with the workers' series, `/livez` and `/readyz`.
    ///
    /// # Errors
    /// The address cannot be bound, or lies beyond loopback and `insecure_plaintext` is not set.
    pub async fn master<F: Face>(
        config: &AdminConfig,
        face: F,
        tokens: Option<Tokens>,
        metrics: Metrics,
    ) -> Result<Self, AdminError> {
        let listener = bind(config).await?;
        let routes = routes::master(face, metrics.clone());
        Self::serve(config, listener, routes, tokens, metrics)
    }

    /// Starts a worker's face: `/metrics`, `/livez`, and `/readyz`, which answers what `ready` says.
    ///
    /// # Errors
    /// As [`AdminServer::master`].
    pub async fn worker(
        config: &AdminConfig,
        ready: impl Fn() -> bool + Send + Sync + 'static,
        tokens: Option<Tokens>,
        metrics: Metrics,
    ) -> Result<Self, AdminError> {
        let listener = bind(config).await?;
        let routes = worker_routes(Arc::new(ready), metrics.clone());
        Self::serve(config, listener, routes, tokens, metrics)
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Puts other tokens into force, for requests that come from now on.
    pub fn set_tokens(&self, tokens: Option<Tokens>) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// Stops accepting, gives open requests half a second, and ends the rest.
    ///
    /// # Cancel safety
    /// Dropping the future aborts what is still open.
    pub async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.ok();
    }

    fn serve(
        config: &AdminConfig,
        listener: TcpListener,
        routes: Router,
        tokens: Option<Tokens>,
        metrics: Metrics,
    ) -> Result<Self, AdminError> {
        let bound = listener.local_addr();
        let local_addr = bound.map_err(|source| AdminError::Bind { listen: config.listen.clone(), source })?;
        let tokens = Arc::new(RwLock::new(tokens));
        let guard = Guard {
            local: local_addr,
            hosts: config.hosts.clone(),
            metrics_open: config.metrics_open,
            tokens: Arc::clone(&tokens),
        };
        let stop = CancellationToken::new();
        let router = guarded(routes, guard);
        #[expect(
            clippy::disallowed_methods,
            reason = "the server is the owner: it joins the task in stop and aborts it in drop"
        )]
        let task = tokio::spawn(run(listener, router, metrics, stop.clone()));
        Ok(Self { local_addr, tokens, stop, task })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The one place where the HTTP face binds.
async fn bind(config: &AdminConfig) -> Result<TcpListener, AdminError> {
    let failed = |source| AdminError::Bind { listen: config.listen.clone(), source };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&config.listen).await.map_err(failed)?.collect();
    if !config.insecure_plaintext && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(AdminError::Plaintext { listen: config.listen.clone() });
    }
    TcpListener::bind(addresses.as_slice()).await.map_err(failed)
}

fn guarded(routes: Router, guard: Guard) -> Router {
    routes
        .fallback(api::no_such_path)
        .method_not_allowed_fallback(api::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(guard), check))
}

fn worker_routes(ready: Ready, metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(worker_metrics))
        .route("/livez", get(alive))
        .route("/readyz", get(worker_ready))
        .with_state((ready, metrics))
}

pub(crate) async fn alive() -> Plain {
    Plain("alive\n")
}

pub(crate) async fn master_ready<F: Face>(State(served): State<Served<F>>) -> Result<Plain, Refusal> {
    match served.face.cluster().await {
        // Whoever has no token does not learn how many there are.
        Ok(cluster) if !cluster.ready && cluster.min_workers > 0 => {
            Err(not_ready("this node is stopping, or fewer workers than admin.min_workers are there"))
        }
        cluster => readiness(cluster.is_ok_and(|cluster| cluster.ready)),
    }
}

async fn worker_ready(State((ready, _)): State<(Ready, Metrics)>) -> Result<Plain, Refusal> {
    readiness(ready())
}

fn readiness(ready: bool) -> Result<Plain, Refusal> {
    if ready { Ok(Plain("ready\n")) } else { Err(not_ready("this node is not ready")) }
}

fn not_ready(why: &str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why)
}

pub(crate) async fn master_metrics<F: Face>(State(served): State<Served<F>>) -> Result<Exposition, Refusal> {
    let own = own_metrics(&served.metrics)?;
    // The master's own series are worth having while the workers' cannot be had.
    let workers = served.face.worker_metrics().await.unwrap_or_default();
    Ok(Exposition(merge::merge(&own, &workers)))
}

async fn worker_metrics(State((_, metrics)): State<(Ready, Metrics)>) -> Result<Exposition, Refusal> {
    Ok(Exposition(merge::merge(&own_metrics(&metrics)?, &[])))
}

fn own_metrics(metrics: &Metrics) -> Result<String, Refusal> {
    metrics.render().ok_or_else(|| {
        let message =
            "this program installed a metrics recorder of its own: the series of this node go there, not here";
        Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
    })
}

/// Series in the text format of Prometheus.
#[derive(Debug)]
pub(crate) struct Exposition(String);

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.0).into_response()
    }
}

impl Answer for Exposition {
    fn describe(said: &mut Said<'_>) {
        said.succeeds(StatusCode::OK, "Series in the text format of Prometheus.", "text/plain", string());
    }
}

/// Accepts until it is stopped, and owns every connection.
async fn run(listener: TcpListener, router: Router, metrics: Metrics, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = upkeep.tick() => {
                metrics.upkeep();
                continue;
            }
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, Arc::clone(&room)) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                connections.spawn(connection(stream, peer, permit, router.clone(), stop.clone()));
            }
            Err(error) => {
                warn!(%error, "the admin face cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Cancel safe: a permit without a connection is given back, and a connection is taken last.
async fn accept(listener: &TcpListener, room: Arc<Semaphore>) -> io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let permit = room.acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, Peer(peer.ip().to_canonical()), permit))
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
    router: Router,
    stop: CancellationToken,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        ended = serving.as_mut() => ended,
    };
    if let Err(error) = ended {
        debug!(%error, "a connection to the admin face ended");
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
pub(crate) mod tests;
