//! What the edges serve: store, access, engine and callbacks, started.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use dispatch_contract::Registry;
use tokio_util::sync::CancellationToken;

use super::{
    Components, ServiceClock, StartError, accounts, contents, options,
    providers::{self, WatchedAccounts},
    security,
    sockets::Sockets,
    stores::OpenedStore,
    upkeep::TableSource,
};
use crate::{
    access::{Access, AccessOptions, Accounts, Applications, BootstrapIn, Destinations, Rotation},
    api::finish_erasures,
    callbacks::{CallbackContext, Callbacks},
    config::{Config, ConfigError, StoreKind},
    contents::{ContentsRetention, KeyRing},
    current::Current,
    engine::{BesideJournal, Engine, EngineParts},
    fair::DiskTurns,
    grpc::Sandbox,
    store::Store,
    telemetry::Metrics,
};

/// The started rooms, and what the edges and a reload need of how they were started.
pub(super) struct Rooms {
    pub(super) engine: Engine,
    /// What both edges share of the disk.
    pub(super) turns: DiskTurns,
    pub(super) access: Access,
    /// What callers of gRPC, and those of public HTTP, are judged by.
    pub(super) grpc_access: Access,
    pub(super) rest_access: Access,
    /// Whether somebody is let in without a key, because nothing real is there.
    pub(super) is_open: bool,
    /// Where the first key is made, if it is still to be.
    pub(super) first_key: Option<PathBuf>,
    /// The files that hold the keys of contents, if they are in files.
    pub(super) content_keys: Option<Arc<KeyRing>>,
    pub(super) contents_retention: Arc<Current<ContentsRetention>>,
    pub(super) applications: Arc<Applications>,
    pub(super) external_accounts: Arc<Accounts>,
    pub(super) rotation: Arc<Rotation>,
    pub(super) shows_tokens: bool,
    pub(super) callbacks: Callbacks,
    pub(super) destinations: Arc<Current<Destinations>>,
    pub(super) registry: Registry,
    pub(super) accounts: Arc<WatchedAccounts>,
    pub(super) sandbox: Option<Arc<dyn Sandbox>>,
    pub(super) clock: ServiceClock,
}

/// Whom the two edges let in.
struct CallerAccess {
    grpc: Access,
    rest: Access,
    is_open: bool,
    first_key: Option<PathBuf>,
}

impl Rooms {
    /// Starts engine and callbacks over a store, with what `components` gives.
    pub(super) async fn start(
        config: &Config,
        OpenedStore { store, keys }: OpenedStore,
        sockets: &Sockets,
        options: AccessOptions,
        components: impl FnOnce(&ServiceClock, SocketAddr) -> Result<Components, ConfigError>,
    ) -> Result<Rooms, StartError> {
        let access = Access::with(store.settings(), options);
        // Made now, if it is not there: it waits for the disk.
        access.token_key().map_err(StartError::Store)?;
        let clock = ServiceClock::go_on(config.sandbox.virtual_clock, &*store);
        let components = components(&clock, sockets.http.address).map_err(StartError::Config)?;
        let caller_access =
            CallerAccess::of(config, sockets, &access, components.is_simulated, &*store)?;
        let vault = accounts::open_vault(config, keys.as_deref())?;
        let contents = contents::open(config, &vault.vault, &*store, keys)?;
        let accounts::SecretStores { applications, accounts: external_accounts, rotation } = {
            let channels = components.registry.external_channels();
            let sealed_elsewhere = contents.ring.clone().map(|ring| ring as Arc<_>);
            let (settings, limits) = (store.settings(), access.limits());
            accounts::open(vault, &access, &settings, limits, channels, sealed_elsewhere)?
        };
        let inbound = options::inbound_options(config).map_err(StartError::Config)?;
        let beside = BesideJournal::open(&store.settings(), &contents.keeper, inbound)
            .map_err(StartError::Store)?;
        let (registry, routes) = (&components.registry, components.routes);
        let routes = options::with_surroundings(routes, registry, config, &components.accounts);
        let engine = Engine::start(
            store,
            Arc::new(routes),
            EngineParts {
                senders: Arc::new(accounts::OwnAccounts(Arc::clone(&external_accounts))),
                contents: contents.keeper,
                beside,
                clock: clock.engine_clock(),
                metrics: Arc::new(Metrics::new()),
            },
            &options::engine_options(config),
        );
        let callback_options = options::callback_options(&config.callbacks, &applications);
        let callbacks = match Callbacks::start(callback_context(&engine), callback_options).await {
            Ok(callbacks) => callbacks,
            Err(error) => {
                engine.drain(Duration::ZERO).await;
                return Err(StartError::Callbacks(error));
            }
        };
        Ok(Rooms {
            engine,
            turns: DiskTurns::default(),
            access,
            grpc_access: caller_access.grpc,
            rest_access: caller_access.rest,
            is_open: caller_access.is_open,
            first_key: caller_access.first_key,
            content_keys: contents.ring,
            contents_retention: Arc::new(Current::new(options::contents_retention(config))),
            applications,
            external_accounts,
            rotation,
            shows_tokens: config.access.show_tokens,
            callbacks,
            destinations: Arc::new(Current::new(options::destinations(&config.callbacks))),
            registry: components.registry,
            accounts: Arc::new(WatchedAccounts::new(
                components.accounts,
                &config.listen.public_url,
            )),
            sandbox: components.sandbox,
            clock,
        })
    }

    /// Runs what providers do by themselves, until `stop`: it reaches outside, so that of a store which is only read nothing
    /// does, and of one with a restore lock not before that is lifted.
    pub(super) fn run_providers(&self, stop: &CancellationToken) {
        if self.engine.is_read_only() {
            return;
        }
        for provider in self.registry.providers() {
            let (provider, clock) = (Arc::clone(provider), self.clock.contract_clock());
            let (accounts, engine) = (self.accounts.of(provider.name()), self.engine.clone());
            tokio::spawn(providers::run(provider, accounts, engine, clock, stop.clone()));
        }
    }

    /// Goes on with a change of the master key that an earlier life began.
    pub(super) fn go_on_rotating(&self) {
        if self.engine.is_read_only() {
            return;
        }
        let (rotation, now) = (Arc::clone(&self.rotation), self.engine.clock().wall());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = rotation.run(now) {
                tracing::error!(%error, "secrets could not be encrypted anew; both master keys are kept");
            }
        });
    }

    /// Ends erasures that an earlier life began, beside all else.
    pub(super) fn go_on_erasing(&self) {
        if self.engine.is_read_only() {
            return;
        }
        let (engine, access) = (self.engine.clone(), self.access.clone());
        tokio::spawn(async move {
            match finish_erasures(&engine, &access).await {
                Ok(0) => {}
                Ok(ended) => tracing::info!(ended, "erasures that were begun before are ended"),
                Err(error) => tracing::error!(
                    %error,
                    "erasures that were begun before are not ended; the next start goes on with them"
                ),
            }
        });
    }

    /// The tables in memory whose sizes are metrics.
    pub(super) fn tables(&self) -> Vec<TableSource> {
        let (queries, access) = (self.callbacks.queries(), self.access.clone());
        let applications = Arc::clone(&self.applications);
        let external_accounts = Arc::clone(&self.external_accounts);
        let (opt_outs, days) = (Arc::clone(self.engine.opt_outs()), Arc::clone(self.engine.days()));
        let content_keys = self.content_keys.clone();
        let of_keys = move || content_keys.iter().flat_map(|keys| keys.tables()).collect();
        vec![
            TableSource { room: "contents", count: Box::new(of_keys) },
            TableSource { room: "contents", count: Box::new(move || days.tables().into()) },
            TableSource { room: "engine", count: Box::new(move || opt_outs.tables()) },
            TableSource { room: "callbacks", count: Box::new(move || queries.tables()) },
            TableSource { room: "access", count: Box::new(move || access.tables()) },
            TableSource { room: "access", count: Box::new(move || applications.tables()) },
            TableSource { room: "access", count: Box::new(move || external_accounts.tables()) },
        ]
    }
}

impl CallerAccess {
    fn of(
        config: &Config,
        sockets: &Sockets,
        access: &Access,
        is_simulated: bool,
        store: &dyn Store,
    ) -> Result<CallerAccess, StartError> {
        let is_real = security::is_real(config, is_simulated, &*store.settings());
        let is_real = is_real.map_err(StartError::Store)?;
        // Whoever needs no key is a program on this machine, and finds nothing real.
        let [(grpc, grpc_is_open), (rest, rest_is_open)] =
            [sockets.grpc.address, sockets.http.address].map(|address| {
                match !is_real && address.ip().is_loopback() {
                    true => (access.clone(), true),
                    false => (access.without_anonymous(), false),
                }
            });
        let first_key = first_key(config, access, grpc_is_open).map_err(StartError::FirstKey)?;
        Ok(CallerAccess { grpc, rest, is_open: grpc_is_open || rest_is_open, first_key })
    }
}

/// Has the first key made by whoever may read the data folder, where nobody is let in without one.
fn first_key(
    config: &Config,
    access: &Access,
    is_open: bool,
) -> Result<Option<PathBuf>, io::Error> {
    let place = match config.store.kind {
        StoreKind::Sled | StoreKind::Postgres => BootstrapIn::Data(&config.store.data),
        StoreKind::Memory => BootstrapIn::NewFolder,
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

/// What callbacks are given of the engine.
fn callback_context(engine: &Engine) -> CallbackContext {
    CallbackContext {
        contents: Arc::clone(engine.contents()),
        clock: Arc::clone(engine.clock()),
        reader: Arc::clone(engine.reader()),
        settings: Arc::clone(engine.settings()),
        feed: Arc::clone(engine.feed()),
        inbound: Arc::clone(engine.inbound_messages()),
        metrics: Arc::clone(engine.metrics()),
        log_limit: Arc::clone(engine.log_limit()),
        is_read_only: engine.is_read_only(),
    }
}
