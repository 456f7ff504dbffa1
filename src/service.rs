//! The whole service, assembled: store, engine, edges, in one process.
//!
//! Nothing is decided here. What serves which channel comes in as [`Components`], so that another
//! binary can bring adapters of its own.

mod acceptor;
mod accounts;
mod ballast;
mod check;
mod clock;
pub mod configured;
mod content_keys;
mod contents;
mod files;
mod grpc_edge;
mod http_edge;
mod key_check;
mod lost_keys;
mod options;
mod providers;
mod reload;
mod rooms;
mod security;
mod sockets;
mod start_error;
mod stores;
mod upkeep;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use check::problems;
pub use clock::ServiceClock;
use dispatch_contract::Registry;
pub use files::raise_limit as raise_file_limit;
pub use grpc_edge::grpc_edge;
pub use key_check::{CheckedKeys, check_keys};
use rooms::Rooms;
pub use security::InsecureListen;
use sockets::Sockets;
pub use start_error::StartError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use upkeep::Upkeep;

use crate::{
    access::{Access, BootstrapIn},
    callbacks::Callbacks,
    config::{Config, ConfigError, TlsListener},
    contents::KeyRing,
    engine::{Engine, RouteTable},
    fair::ConnectionPool,
    grpc::{DispatchService, Sandbox},
    http,
    pb::v1::dispatch_service_server::DispatchServiceServer,
    store::StoreError,
    tls::Tls,
};

/// What serves which channel.
pub struct Components {
    /// The adapters.
    pub registry: Registry,
    /// The accounts, by provider and name. One that was renamed stands under its former names too.
    pub accounts: http::AccountsByName,
    /// Which sender goes by which adapter.
    pub routes: RouteTable,
    /// The simulated provider's remote control, where one serves.
    pub sandbox: Option<Arc<dyn Sandbox>>,
    /// Whether there is nothing real: no message can reach anybody by these routes, and no account is
    /// worth keeping from anybody. Only then may callers on this machine go without a key.
    pub is_simulated: bool,
}

/// A running service.
pub struct Service {
    /// Where gRPC listens.
    pub grpc: SocketAddr,
    /// Where providers' webhooks arrive.
    pub http: SocketAddr,
    /// Where health and metrics are.
    pub internal_http: SocketAddr,
    /// The engine.
    pub engine: Engine,
    /// Who may do what.
    pub access: Access,
    /// The folder whose file makes the first key, where there is none and nobody is let in without.
    pub first_key: Option<PathBuf>,
    callbacks: Callbacks,
    health: tonic_health::server::HealthReporter,
    /// The files that hold the keys of contents, if they are in files.
    content_keys: Option<Arc<KeyRing>>,
    stop_edges: CancellationToken,
    stop_providers: CancellationToken,
    edges: JoinSet<()>,
    drain: Mutex<Duration>,
    reload_handles: reload::ReloadHandles,
}

impl Service {
    /// Opens the store, starts the engine, and listens.
    ///
    /// `components` is called with the clock once that is known, and with the address of public HTTP.
    ///
    /// # Errors
    /// If the configuration is not right, the store does not open, or an address is taken. Nothing
    /// is left running then.
    pub async fn start(
        config: &Config,
        components: impl FnOnce(&ServiceClock, SocketAddr) -> Result<Components, ConfigError>,
    ) -> Result<Service, StartError> {
        Service::start_unless(&CancellationToken::new(), config, components).await
    }

    /// The same; while it waits for another process's store, it may be given up.
    ///
    /// # Errors
    /// As [`start`](Self::start), and if it was given up.
    pub async fn start_unless(
        given_up: &CancellationToken,
        config: &Config,
        components: impl FnOnce(&ServiceClock, SocketAddr) -> Result<Components, ConfigError>,
    ) -> Result<Service, StartError> {
        config.check().map_err(StartError::Config)?;
        let tls =
            |listener| security::tls(&config.listen.tls, listener).map_err(StartError::Config);
        let (grpc_tls, http_tls) = (tls(TlsListener::Grpc)?, tls(TlsListener::Http)?);
        let options = security::access_options(&config.access).map_err(StartError::Config)?;
        let sockets = Sockets::bind(&config.listen)?;
        let (grpc, http) = (sockets.grpc.address, sockets.http.address);
        if let Some(insecure_listen) = security::insecure_listen(config, grpc, http) {
            return Err(StartError::InsecureListen(insecure_listen));
        }
        let opened = stores::open(config, given_up).await?;
        let rooms = Rooms::start(config, opened, &sockets, options, components).await?;
        let stop_providers = CancellationToken::new();
        rooms.run_providers(&stop_providers);
        rooms.go_on_rotating();
        rooms.go_on_erasing();
        let internal_http = sockets.internal_http.address;
        let stop_edges = CancellationToken::new();
        let tls = [(TlsListener::Grpc, grpc_tls), (TlsListener::Http, http_tls)];
        let (edges, health) = edges(config, &rooms, sockets, &tls, &stop_edges).await;
        let tls = tls.into_iter().filter_map(|(listener, tls)| Some((listener, tls?))).collect();
        Ok(Service {
            grpc,
            http,
            internal_http,
            reload_handles: reload::ReloadHandles::of(&rooms, tls, &config.sandbox),
            engine: rooms.engine,
            content_keys: rooms.content_keys,
            access: rooms.access,
            first_key: rooms.first_key,
            callbacks: rooms.callbacks,
            health,
            stop_edges,
            stop_providers,
            edges,
            drain: Mutex::new(Duration::from_secs(config.engine.drain_s)),
        })
    }

    /// The listeners that other machines reach without TLS.
    pub fn in_clear(&self, config: &Config) -> Vec<InsecureListen> {
        security::in_clear(config, self.grpc, self.http)
    }

    /// Refuses new work, finishes or parks what is in flight, and stops.
    ///
    /// # Errors
    /// If the store failed: the process should exit non-zero.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        self.health.set_not_serving::<DispatchServiceServer<DispatchService>>().await;
        // The server as a whole, which probes ask for by default.
        self.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        self.stop_providers.cancel();
        let drain = *self.drain.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.drain(drain).await;
        let result = self.engine.stopped().await;
        self.callbacks.stop().await;
        // Nobody is there any more to make it.
        let _ = self.access.withdraw_first_key(BootstrapIn::NewFolder);
        self.stop_edges.cancel();
        let closed = async { while self.edges.join_next().await.is_some() {} };
        // Without its store it has nothing to tell but that it is going.
        let timeout = Duration::from_secs(if result.is_ok() { 5 } else { 1 });
        if tokio::time::timeout(timeout, closed).await.is_err() {
            tracing::warn!("connections are still open; closing them");
            self.edges.abort_all();
        }
        if let Some(keys) = self.content_keys {
            // The last that needs the folder: whoever opens it next finds nobody at work.
            let closed = tokio::task::spawn_blocking(move || keys.close()).await;
            if let Ok(Err(error)) = closed {
                tracing::warn!(%error, "whose keys are was not written; the next start finds out");
            }
        }
        result
    }
}

/// Spawns whatever serves callers until `stop`, and what has to be done beside it.
async fn edges(
    config: &Config,
    rooms: &Rooms,
    sockets: Sockets,
    tls: &[(TlsListener, Option<Arc<Tls>>); 2],
    stop: &CancellationToken,
) -> (JoinSet<()>, tonic_health::server::HealthReporter) {
    let (listen, files) = (&config.listen, files::divide(config));
    let [(_, grpc_tls), (_, http_tls)] = tls;
    let mut edges = JoinSet::new();
    let upkeep = Upkeep {
        access: rooms.access.clone(),
        engine: rooms.engine.clone(),
        tables: rooms.tables(),
        registry: rooms.registry.clone(),
        content_keys: rooms.content_keys.clone(),
        contents_retention: Arc::clone(&rooms.contents_retention),
    };
    edges.spawn(upkeep.tend(stop.clone()));
    for tls in [grpc_tls, http_tls].into_iter().flatten() {
        edges.spawn(Arc::clone(tls).follow(stop.clone()));
    }
    let public = (sockets.http, http_tls.clone());
    http_edge::spawn(&mut edges, rooms, listen, files, public, sockets.internal_http, stop);
    let (router, health) = grpc_edge::router(rooms, listen).await;
    // As a peer that vanished: a connection that does not begin is let go of after both.
    let timeout = Duration::from_secs(listen.keep_alive_s + listen.keep_alive_timeout_s);
    let (socket, pool) = (sockets.grpc.listener, ConnectionPool::new(files.grpc));
    let acceptor = acceptor::acceptor(socket, pool, grpc_tls.clone(), timeout);
    let stop = stop.clone();
    edges.spawn(async move {
        let served =
            router.serve_with_incoming_shutdown(acceptor, async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the gRPC listener failed");
        }
    });
    (edges, health)
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("grpc", &self.grpc)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
