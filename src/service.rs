//! The whole service, assembled: store, engine, edges, in one process.
//!
//! Nothing is decided here. What serves which channel comes in as [`Components`], so that another
//! binary can bring adapters of its own.

mod acceptor;
mod accounts;
mod adapters;
mod ballast;
mod check;
mod files;
mod reload;
mod security;
mod upkeep;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use check::problems;
use dispatch_contract::{Registry, UnixMillis};
pub use files::raise_limit as raise_file_limit;
pub use security::InsecureListen;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use upkeep::TableSource;

use crate::{
    access::{Access, Applications, BootstrapIn, Destinations},
    callbacks::{self, Callbacks},
    config::{self, Config, TlsListener},
    current::Current,
    engine::{
        Engine, EngineClock, EngineOptions, FormerNames, LaneLimits, RouteTable, SpaceLimits,
        SystemClock, TestClock, account_id,
    },
    fair::ConnectionPool,
    grpc::{
        AccessService, AccountService, AdminService, ApplicationService, CallbackService, Calls,
        DispatchService, Explained, Guarded, Sandbox, SandboxService, Unguarded, unread::MOST_MIB,
    },
    http,
    machine::{Moment, PolicySnapshot},
    pb::{
        DESCRIPTORS,
        v1::{
            access_service_server::AccessServiceServer,
            account_service_server::AccountServiceServer, admin_service_server::AdminServiceServer,
            application_service_server::ApplicationServiceServer,
            callback_service_server::CallbackServiceServer,
            dispatch_service_server::DispatchServiceServer,
            sandbox_service_server::SandboxServiceServer,
        },
    },
    rest::{self, Rest},
    store::{MemoryStore, ReadOnlyStore, SledOptions, SledStore, Store, StoreError},
    telemetry::Metrics,
};

/// The largest gRPC message taken: a full batch.
const MESSAGE_BYTES: usize = MOST_MIB * 1024 * 1024;

/// Lets callers of a generated server compress, and compresses for those who ask for it. What is
/// unpacked is bounded as what comes unpacked, and what cannot be read is refused in our words.
macro_rules! gzipped {
    ($server:expr) => {
        Explained(
            $server
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MESSAGE_BYTES),
        )
    };
}

/// How many calls of health, and of each version of reflection, may be under way: nobody is asked for a
/// key at them.
const HEALTH_CALLS: usize = 4096;
const REFLECTION_CALLS: usize = 256;
/// How long a call of reflection may ask nothing.
const REFLECTION_QUIET: Duration = Duration::from_secs(10);

/// How many connections may wait to be accepted; the system may allow fewer. With the usual 128, a
/// rush leaves callers with a connection that the system has forgotten.
const BACKLOG: u32 = 4096;

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

/// The clock that a service runs on.
#[derive(Clone)]
pub enum ServiceClock {
    /// The real one.
    System(Arc<SystemClock>),
    /// One that moves on demand.
    Test(Arc<TestClock>),
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
    stop_edges: CancellationToken,
    stop_adapters: CancellationToken,
    edges: JoinSet<()>,
    drain: Mutex<Duration>,
    reload_handles: reload::ReloadHandles,
}

/// Why a service did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is not right.
    Config(config::ConfigError),
    /// The store did not open.
    Store(StoreError),
    /// Others could read what goes over a listener.
    InsecureListen(InsecureListen),
    /// The file that makes the first key could not be written.
    FirstKey(std::io::Error),
    /// The callbacks did not start.
    Callbacks(callbacks::CallbackStartError),
    /// An address could not be listened on.
    Listen {
        /// Which setting.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

impl Service {
    /// Opens the store, starts the engine, and listens.
    ///
    /// `parts` is called with the clock once that is known.
    ///
    /// # Errors
    /// If the configuration is not right, the store does not open, or an address is taken. Nothing
    /// is left running then.
    pub async fn start(
        config: &Config,
        parts: impl FnOnce(&ServiceClock, SocketAddr) -> Result<Components, config::ConfigError>,
    ) -> Result<Service, StartError> {
        config.check().map_err(StartError::Config)?;
        let listen = &config.listen;
        let [grpc_tls, http_tls] = [TlsListener::Grpc, TlsListener::Http]
            .map(|listener| security::tls(&listen.tls, listener).map_err(StartError::Config));
        let (grpc_tls, http_tls) = (grpc_tls?, http_tls?);
        let known = security::access_options(&config.access).map_err(StartError::Config)?;
        // Listeners first: a taken port is found before anything else is touched.
        let (grpc_listener, grpc) = bind("listen.grpc", listen.grpc)?;
        let (http_listener, http) = bind("listen.http", listen.http)?;
        let (internal_listener, internal_http) =
            bind("listen.internal_http", listen.internal_http)?;

        if let Some(insecure_listen) = security::insecure_listen(config, grpc, http) {
            return Err(StartError::InsecureListen(insecure_listen));
        }
        let store = open_store(config)?;
        let access = Access::with(store.settings(), known);
        // Made now, if it is not there: it waits for the disk.
        access.token_key().map_err(StartError::Store)?;
        let clock = if config.sandbox.virtual_clock {
            // Not zero: ids and signatures should look like times.
            let start = Moment::both(UnixMillis(1_800_000_000_000)).later(store.last_time());
            ServiceClock::Test(Arc::new(TestClock::at(start)))
        } else {
            ServiceClock::System(Arc::new(SystemClock::go_on(store.clock(), store.last_time())))
        };
        let parts = parts(&clock, http).map_err(StartError::Config)?;
        let is_real = security::is_real(config, parts.is_simulated, &*store.settings());
        let is_real = is_real.map_err(StartError::Store)?;
        // Whoever needs no key is a program on this machine, and finds nothing real.
        let [(grpc_access, is_open), (rest_access, rest_is_open)] =
            [grpc, http].map(|address| match !is_real && address.ip().is_loopback() {
                true => (access.clone(), true),
                false => (access.without_anonymous(), false),
            });
        let first_key = first_key(config, &access, is_open).map_err(StartError::FirstKey)?;
        let accounts::SecretStores { applications, accounts: external, rotation } =
            accounts::open(config, &access, &store.settings(), access.limits())?;
        let metrics = Arc::new(Metrics::new());
        let routes = with_tenants_and_names(parts.routes, config, &parts.accounts);
        let engine = Engine::start(
            store,
            Arc::new(routes),
            Arc::new(accounts::OwnAccounts(Arc::clone(&external))),
            clock.engine_clock(),
            metrics,
            &options(config),
        );

        let telling = callback_options(&config.callbacks, &applications);
        let destinations = Arc::new(Current::new(destinations(&config.callbacks)));
        let callbacks = match Callbacks::start(&engine, telling).await {
            Ok(callbacks) => callbacks,
            Err(error) => {
                engine.drain(Duration::ZERO).await;
                return Err(StartError::Callbacks(error));
            }
        };

        let stop_adapters = CancellationToken::new();
        for adapter in parts.registry.iter() {
            let (adapter, stop) = (Arc::clone(adapter), stop_adapters.clone());
            let clock = clock.contract_clock();
            tokio::spawn(adapters::run(adapter, engine.clone(), clock, stop));
        }

        let stop_edges = CancellationToken::new();
        let mut edges = JoinSet::new();
        let accounts = Arc::new(Current::new(parts.accounts));
        // Goes on with what an earlier life began.
        let (rotating, now) = (Arc::clone(&rotation), engine.clock().wall());
        let is_read_only = engine.is_read_only();
        tokio::task::spawn_blocking(move || {
            if is_read_only {
                return;
            }
            if let Err(error) = rotating.run(now) {
                tracing::error!(%error, "secrets could not be encrypted anew; both master keys are kept");
            }
        });
        let (queries, whom) = (callbacks.queries(), access.clone());
        let (owned, linked) = (Arc::clone(&applications), Arc::clone(&external));
        let tables = vec![
            TableSource { room: "callbacks", count: Box::new(move || queries.tables()) },
            TableSource { room: "access", count: Box::new(move || whom.tables()) },
            TableSource { room: "access", count: Box::new(move || owned.tables()) },
            TableSource { room: "access", count: Box::new(move || linked.tables()) },
        ];
        let stop = stop_edges.clone();
        edges.spawn(upkeep::tend(access.clone(), engine.clone(), tables, stop));
        let receipts = http::Webhooks {
            engine: engine.clone(),
            registry: parts.registry.clone(),
            accounts: Arc::clone(&accounts),
            public_url: config.listen.public_url.clone(),
            timeout: Duration::from_secs(listen.http_timeout_s),
        };
        let rest = rest::router(Arc::new(Rest {
            engine: engine.clone(),
            access: Arc::new(rest_access),
            applications: Arc::clone(&applications),
            accounts: Arc::clone(&external),
            show_tokens: config.access.show_tokens,
            destinations: Arc::clone(&destinations),
            patience: Duration::from_secs(listen.http_timeout_s),
        }));
        let public = http::public_router(Arc::new(receipts)).merge(rest);
        let health = http::Health {
            engine: engine.clone(),
            is_on_loopback: internal_http.ip().is_loopback(),
        };
        let inside = http::internal_router(health);
        let files = files::divide(config);
        let timeout = Duration::from_secs(listen.http_timeout_s);
        let public_listener = http::Listener {
            name: "HTTP",
            socket: http_listener,
            pool: ConnectionPool::new(files.http),
            tls: http_tls.clone(),
            timeout,
        };
        let internal_listener = http::Listener {
            name: "internal HTTP",
            socket: internal_listener,
            pool: ConnectionPool::new(files.internal),
            tls: None,
            timeout,
        };
        for (listener, router) in [(public_listener, public), (internal_listener, inside)] {
            let router = http::caught(router, engine.clone());
            edges.spawn(http::serve(listener, router, stop_edges.clone()));
        }
        for tls in [&grpc_tls, &http_tls].into_iter().flatten() {
            edges.spawn(Arc::clone(tls).follow(stop_edges.clone()));
        }
        let (health, health_service) = tonic_health::server::health_reporter();
        if engine.is_restore_locked() || engine.is_read_only() {
            health.set_not_serving::<DispatchServiceServer<DispatchService>>().await;
        } else {
            health.set_serving::<DispatchServiceServer<DispatchService>>().await;
        }
        let calls = Calls::new(listen.calls, access.limits().clone());
        let health_service =
            Unguarded::new(gzipped!(health_service), engine.clone(), HEALTH_CALLS, None);
        let timeout = Duration::from_secs(listen.reader_timeout_s);
        let admin = AdminService::new(engine.clone(), grpc_access.clone(), health.clone(), timeout);
        let admin = Guarded::new(
            gzipped!(AdminServiceServer::new(admin)),
            grpc_access.clone(),
            engine.clone(),
            calls.clone(),
        );
        let keys = AccessServiceServer::new(AccessService::new(
            grpc_access.clone(),
            engine.clone(),
            Arc::clone(&rotation),
        ));
        let keys = Guarded::new(gzipped!(keys), grpc_access.clone(), engine.clone(), calls.clone());
        let application = ApplicationServiceServer::new(ApplicationService::new(
            engine.clone(),
            grpc_access.clone(),
            Arc::clone(&applications),
            Arc::clone(&external),
            Arc::clone(&destinations),
        ));
        let application =
            Guarded::new(gzipped!(application), grpc_access.clone(), engine.clone(), calls.clone());
        let account = AccountServiceServer::new(AccountService::new(
            engine.clone(),
            grpc_access.clone(),
            external,
            config.access.show_tokens,
        ));
        let account =
            Guarded::new(gzipped!(account), grpc_access.clone(), engine.clone(), calls.clone());
        let desk = CallbackServiceServer::new(CallbackService::new(
            callbacks.queries(),
            grpc_access.clone(),
            engine.clone(),
        ));
        let desk = Guarded::new(gzipped!(desk), grpc_access.clone(), engine.clone(), calls.clone());
        let remote_control = parts.sandbox.clone().map(|sandbox| {
            let sandbox = SandboxServiceServer::new(SandboxService::new(sandbox));
            Guarded::new(gzipped!(sandbox), grpc_access.clone(), engine.clone(), calls.clone())
        });
        // Made at build time, so it decodes; the tests see that both versions answer.
        let (v1, v1alpha) = (reflection().build_v1().ok(), reflection().build_v1alpha().ok());
        let quiet = Some(REFLECTION_QUIET);
        let v1 = v1.map(|it| Unguarded::new(gzipped!(it), engine.clone(), REFLECTION_CALLS, quiet));
        let v1alpha =
            v1alpha.map(|it| Unguarded::new(gzipped!(it), engine.clone(), REFLECTION_CALLS, quiet));
        let router = grpc_edge(&engine, &grpc_access, &calls, listen)
            .add_service(admin)
            .add_service(keys)
            .add_service(application)
            .add_service(account)
            .add_service(desk)
            .add_optional_service(remote_control)
            .add_service(health_service)
            .add_optional_service(v1)
            .add_optional_service(v1alpha);
        // As a peer that vanished: a connection that does not begin is let go of after both.
        let timeout = Duration::from_secs(listen.keep_alive_s + listen.keep_alive_timeout_s);
        let tls = [(TlsListener::Grpc, grpc_tls.clone()), (TlsListener::Http, http_tls)];
        let reload_handles = reload::ReloadHandles {
            registry: parts.registry,
            accounts,
            applications,
            destinations,
            sandbox: parts.sandbox,
            tls: tls.into_iter().filter_map(|(listener, tls)| Some((listener, tls?))).collect(),
            is_open: is_open || rest_is_open,
            script: Mutex::new(config.sandbox.clone()),
        };
        let pool = ConnectionPool::new(files.grpc);
        let acceptor = acceptor::acceptor(grpc_listener, pool, grpc_tls, timeout);
        let stop = stop_edges.clone();
        edges.spawn(async move {
            let served = router
                .serve_with_incoming_shutdown(acceptor, async move { stop.cancelled().await });
            if let Err(error) = served.await {
                tracing::error!(%error, "the gRPC listener failed");
            }
        });
        let drain = Mutex::new(Duration::from_secs(config.engine.drain_s));
        Ok(Service {
            grpc,
            http,
            internal_http,
            engine,
            access,
            first_key,
            callbacks,
            health,
            stop_edges,
            stop_adapters,
            edges,
            drain,
            reload_handles,
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
        self.stop_adapters.cancel();
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
        result
    }
}

/// The gRPC edge of an engine, to be served on whatever brings connections.
pub fn grpc_edge(
    engine: &Engine,
    access: &Access,
    calls: &Calls,
    listen: &config::ListenConfig,
) -> tonic::transport::server::Router {
    let timeout = Duration::from_secs(listen.reader_timeout_s);
    let dispatch = DispatchService::new(engine.clone(), access.clone(), calls.clone(), timeout);
    let dispatch = Guarded::new(
        gzipped!(DispatchServiceServer::new(dispatch)),
        access.clone(),
        engine.clone(),
        calls.clone(),
    );
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        // What is more waits at the client, and not in this process's memory.
        .max_concurrent_streams(listen.max_concurrent_streams)
        .http2_keepalive_interval(Some(Duration::from_secs(listen.keep_alive_s)))
        .http2_keepalive_timeout(Some(Duration::from_secs(listen.keep_alive_timeout_s)))
        .add_service(dispatch)
}

/// Routes that know how much of them each tenant gets, and what accounts were called before.
fn with_tenants_and_names(
    routes: RouteTable,
    config: &Config,
    accounts: &http::AccountsByName,
) -> RouteTable {
    let weights = config.access.tenants.iter();
    let weights = weights.map(|(name, it)| (Arc::from(name.as_str()), it.weight)).collect();
    let renamed = accounts.iter().filter(|((_, name), account)| *name != account.name);
    let names = FormerNames::new(renamed.map(|((provider, before), account)| {
        (account_id(provider, &account.name), account_id(provider, before))
    }));
    routes.weighted(weights).with_former_names(names)
}

/// Listens on an address.
fn bind(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { what, address, error };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(failed)?;
    // A restart does not wait for the last life's connections.
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Has the first key made by whoever may read the data folder, where nobody is let in without one.
fn first_key(
    config: &Config,
    access: &Access,
    is_open: bool,
) -> Result<Option<PathBuf>, std::io::Error> {
    let place = match config.store.kind {
        config::StoreKind::Sled => BootstrapIn::Data(&config.store.data),
        config::StoreKind::Memory => BootstrapIn::NewFolder,
    };
    if config.store.read_only {
        // Nothing is written, and who has a key has it.
        return Ok(None);
    }
    if is_open {
        access.withdraw_first_key(place)?;
        return Ok(None);
    }
    access.offer_first_key(place)
}

fn open_store(config: &Config) -> Result<Box<dyn Store>, StartError> {
    Ok(match config.store.kind {
        config::StoreKind::Memory => Box::new(MemoryStore::new()),
        config::StoreKind::Sled => {
            let options = SledOptions {
                folder: config.store.data.clone(),
                cache_bytes: config.store.cache_mib * 1024 * 1024,
            };
            if config.store.read_only {
                ballast::release(&config.store.data);
            }
            let opened = match (config.store.accept_loss, config.store.read_only) {
                (true, _) => SledStore::open_after_loss(&options),
                (false, true) => SledStore::open_to_read(&options),
                (false, false) => SledStore::open(&options),
            };
            let opened: Box<dyn Store> = Box::new(opened.map_err(|error| full(error, config))?);
            if config.store.read_only {
                return Ok(Box::new(ReadOnlyStore(opened)));
            }
            ballast::keep(&config.store.data, config.store.ballast_mib * 1024 * 1024);
            opened
        }
    })
}

/// Says what can be done about a store that did not open because its disk is full.
fn full(error: StoreError, config: &Config) -> StartError {
    match error {
        StoreError::Io(text) if text.contains("os error 28") && !config.store.read_only => {
            StartError::Store(StoreError::Io(format!(
                "{text}. The disk is full: make some 32 MiB of room, or start with --read-only to see \
                 what is there"
            )))
        }
        error => StartError::Store(error),
    }
}

fn options(config: &Config) -> EngineOptions {
    let (engine, store) = (&config.engine, &config.store);
    let bytes = |mib: u64| mib * 1024 * 1024;
    EngineOptions {
        policy: policy(engine),
        recovery_grace: Duration::from_secs(engine.recovery_grace_s),
        retention: Duration::from_secs(store.retention_s),
        space: SpaceLimits { warn: bytes(store.warn_free_mib), reserve: bytes(store.reserve_mib) },
        is_read_only: store.read_only,
        queue_warn: Duration::from_secs(engine.queue_warn_s),
        lanes: LaneLimits {
            creates: engine.create_queue_capacity,
            cancels: engine.cancel_queue_capacity,
            receipts: engine.receipt_queue_capacity,
        },
    }
}

/// The durations that new workflows live by.
fn policy(engine: &config::EngineConfig) -> PolicySnapshot {
    PolicySnapshot {
        send_within_ms: engine.send_within_s * 1000,
        last_send_within_ms: engine.last_send_within_s * 1000,
        unknown_wait_ms: engine.unknown_wait_s * 1000,
        unconfirmed_after_ms: engine.unconfirmed_after_s * 1000,
        retry_base_ms: engine.retry_base_ms,
        retry_max_ms: engine.retry_max_ms,
    }
}

/// Where callbacks may go.
fn destinations(callbacks: &config::CallbackConfig) -> Destinations {
    let networks = callbacks.allow_networks.iter();
    Destinations {
        allow_http: callbacks.allow_http,
        // The configuration was checked.
        allow_networks: networks.filter_map(|network| network.parse().ok()).collect(),
    }
}

fn callback_options(
    callbacks: &config::CallbackConfig,
    applications: &Arc<Applications>,
) -> callbacks::CallbackOptions {
    let applications = Arc::clone(applications);
    callbacks::CallbackOptions {
        destinations: Arc::new(destinations(callbacks)),
        concurrency: callbacks.concurrency,
        per_destination: callbacks.per_destination,
        timeout: Duration::from_secs(callbacks.timeout_s),
        retry_for: Duration::from_secs(callbacks.retry_for_s),
        retry_base: Duration::from_millis(callbacks.retry_base_ms),
        retry_max: Duration::from_millis(callbacks.retry_max_ms),
        waiting_per_application: callbacks.waiting_per_application,
        dead_per_application: callbacks.dead_per_application,
        secret: Arc::new(move |application| {
            let id = application.id;
            match applications.callback_secret(application) {
                Ok(Some(secret)) => Ok(secret),
                Ok(None) => Err(format!("application {id} has no secret to sign with")),
                Err(error) => Err(format!("the secret of application {id}: {error}")),
            }
        }),
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // So that error details can be read: BadRequest, ErrorInfo, RetryInfo.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        // Each version lists the other too: grpcurl 1.8 speaks only v1alpha.
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false)
}

impl ServiceClock {
    fn engine_clock(&self) -> Arc<dyn EngineClock> {
        match self {
            ServiceClock::System(clock) => Arc::clone(clock) as _,
            ServiceClock::Test(clock) => Arc::clone(clock) as _,
        }
    }

    /// The clock as adapters see it.
    pub fn contract_clock(&self) -> Arc<dyn dispatch_contract::Clock> {
        match self {
            ServiceClock::System(clock) => Arc::clone(clock) as _,
            ServiceClock::Test(clock) => Arc::clone(clock) as _,
        }
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Config(error) => error.fmt(f),
            StartError::Store(error) => error.fmt(f),
            StartError::InsecureListen(insecure_listen) => insecure_listen.fmt(f),
            StartError::FirstKey(error) => {
                write!(f, "cannot write the file that makes the first key: {error}")
            }
            StartError::Callbacks(error) => error.fmt(f),
            StartError::Listen { what, address, error } => {
                write!(
                    f,
                    "cannot listen on {address} ({what}): {error}; choose another with the flag or the file"
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("grpc", &self.grpc)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
