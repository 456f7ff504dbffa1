//! `dispatch serve`.

mod check;
pub(super) mod probe;
mod reload;

use std::{
    io::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use dispatch_contract::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CommandFailure, DEFAULT_SERVER, ServeArgs};
use crate::{
    builtin,
    config::{Config, ConfigError, LogFormat, SettingValues, StoreKind, TlsListener},
    engine::Engine,
    service::{InsecureListen, Service, ServiceClock, StartError, configured::unheard_accounts},
    telemetry,
};

/// How long a start waits for adapters in programs of their own to say what they are.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn run(args: ServeArgs, providers: &Registry) -> Result<ExitCode, CommandFailure> {
    if args.check {
        return check::run(&args, providers).await;
    }
    let read =
        Read::of(&args).map_err(|error| CommandFailure { code: 2, text: error.to_string() })?;
    read.config.check().map_err(|error| CommandFailure { code: 2, text: read.shown(&error) })?;
    let config = read.config.clone();
    let log_level =
        telemetry::init_logs(config.log.format == LogFormat::Json, &config.log.level)
            .map_err(|problem| CommandFailure { code: 2, text: format!("log.level: {problem}") })?;
    end_with_the_store();
    // Before anything is served: a signal during the start is not lost.
    crate::service::raise_file_limit();
    let deaf = |error| CommandFailure::new(format!("cannot hear signals: {error}"));
    let mut stopping = pin!(signals().map_err(deaf)?);
    let mut hangups = signal(SignalKind::hangup()).map_err(deaf)?;
    let dialled = builtin::with_remote(providers, &config, PATIENCE).await;
    let (registry, remote) =
        dialled.map_err(|error| CommandFailure { code: 2, text: read.shown(&error) })?;
    let providers = &registry;
    let mut clock = None;
    let given_up = CancellationToken::new();
    let started = unless(&given_up, &mut stopping, async {
        let components = |of_service: &ServiceClock, _| {
            clock = Some(of_service.clone());
            builtin::parts_of(providers, &config, of_service)
        };
        Service::start_unless(&given_up, &config, components).await
    });
    let service = match started.await {
        Err(StartError::GivenUp) => return Ok(ExitCode::SUCCESS),
        started => started.map_err(|error| CommandFailure::new(error.to_string()))?,
    };
    warn(&service, &config);
    warn_of_unheard_accounts(&service, providers);
    match config.log.format {
        LogFormat::Text => greet(&service, &config),
        LogFormat::Json => tracing::info!(
            grpc = %service.grpc, http = %service.http, internal_http = %service.internal_http,
            "listening"
        ),
    }

    let engine = service.engine.clone();
    let mut running = reload::Running { args: &args, providers, remote, read, clock, log_level };
    loop {
        tokio::select! {
            () = async { if !given_up.is_cancelled() { stopping.as_mut().await } } => {
                tracing::info!("stopping; calls that are out are waited for, a second signal ends at once");
                break;
            }
            _ = engine.stopped() => break,
            _ = hangups.recv() => running.reload(&service).await,
        }
    }
    let again = signals().map_err(deaf)?;
    let stopped = tokio::select! {
        stopped = service.stop() => stopped,
        // Safe: what is STARTED is durable, and its outcome is taken for unknown at the next start.
        () = again => return Err(CommandFailure::new("ended at once by a second signal")),
    };
    match stopped {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(CommandFailure::new(format!("stopped because of the store: {error}"))),
    }
}

/// Waits for a start, and gives it up when it is to stop before that.
async fn unless<T>(
    given_up: &CancellationToken,
    stopping: impl Future<Output = ()>,
    starting: impl Future<Output = T>,
) -> T {
    let (mut stopping, mut starting) = (pin!(stopping), pin!(starting));
    loop {
        tokio::select! {
            started = &mut starting => return started,
            () = &mut stopping, if !given_up.is_cancelled() => given_up.cancel(),
        }
    }
}

/// A configuration as it was read: the file's settings, with what flags and the environment say over
/// them.
struct Read {
    path: Option<PathBuf>,
    config: Config,
    settings: SettingValues,
}

impl Read {
    /// Reads it; its values are still to be checked.
    fn of(args: &ServeArgs) -> Result<Read, ConfigError> {
        let path = args.config.clone();
        let text = match &path {
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                let shown = path.display();
                ConfigError(format!("cannot read the configuration {shown}: {error}"))
            })?,
            None => String::new(),
        };
        let mut read = Read { path, config: Config::default(), settings: SettingValues::of("")? };
        let in_file = |read: &Read, error| ConfigError(read.shown(&error));
        read.config = Config::unchecked(&text).map_err(|error| in_file(&read, error))?;
        read.settings = SettingValues::of(&text).map_err(|error| in_file(&read, error))?;
        args.over(&mut read.config);
        Ok(read)
    }

    /// A problem of it, with the file's name, which one that was found in reading it has already.
    fn shown(&self, problem: &ConfigError) -> String {
        let name = self.path.as_ref().map(|path| path.display().to_string());
        match name.filter(|name| !problem.0.starts_with(name)) {
            Some(name) => format!("{name}: {problem}"),
            None => problem.to_string(),
        }
    }
}

impl ServeArgs {
    /// Flags and the environment go over the file.
    fn over(&self, config: &mut Config) {
        let listen = &mut config.listen;
        listen.grpc = self.grpc.unwrap_or(listen.grpc);
        listen.http = self.http.unwrap_or(listen.http);
        listen.internal_http = self.internal_http.unwrap_or(listen.internal_http);
        if let Some(data) = &self.data {
            config.store.data.clone_from(data);
        }
        config.store.accept_loss = self.accept_loss;
        config.store.accept_lost_keys = self.accept_lost_keys;
        config.store.read_only = self.read_only;
        if self.log_json {
            config.log.format = LogFormat::Json;
        }
    }
}

/// A thread of sled's that panics leaves whoever waits for it waiting: the process ends instead. What
/// was acknowledged is durable.
fn end_with_the_store() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        if std::thread::current().name().is_some_and(|name| name.starts_with("sled-")) {
            tracing::error!("the store's engine panicked; stopping without a further promise");
            std::process::exit(1);
        }
    }));
}

/// Ready on SIGINT or SIGTERM. The handlers are in place when this returns.
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// What it listens on, what it serves, and how to try it.
fn greet(service: &Service, config: &Config) {
    let data = match config.store.kind {
        StoreKind::Sled => config.store.data.display().to_string(),
        StoreKind::Postgres => "PostgreSQL, as store.connection says".to_owned(),
        StoreKind::Memory => "none: kept in memory only".to_owned(),
    };
    let scheme = |listener| if config.listen.tls.is_of(listener) { "https" } else { "http" };
    let (grpc_scheme, http_scheme) = (scheme(TlsListener::Grpc), scheme(TlsListener::Http));
    let plaintext = if grpc_scheme == "http" { "-plaintext " } else { "" };
    let is_sandbox = config.routes.is_empty();
    let note = "No routes are configured: the sandbox serves, and nothing is really sent.\n\n";
    let banner = format!(
        "dispatch {version}\n  \
         gRPC           {grpc}\n  \
         webhooks       {http_scheme}://{http}/receipts/{{provider}}/{{account}}\n  \
         health         http://{inside}/healthz /readyz /metrics\n  \
         data           {data}\n\n{channels}\n{note}\
         Try:  grpcurl {plaintext}{grpc} list\n      \
         dispatch channels --server {grpc_scheme}://{grpc}\n",
        version = env!("CARGO_PKG_VERSION"),
        grpc = service.grpc,
        http = service.http,
        inside = service.internal_http,
        channels = channels(&service.engine),
        note = if is_sandbox { note } else { "" },
    );
    // A service does not depend on anybody reading its banner.
    let _ = std::io::stdout().lock().write_all(banner.as_bytes());
}

/// What an operator should know before anybody finds out.
fn warn(service: &Service, config: &Config) {
    if !service.internal_http.ip().is_loopback() {
        let address = service.internal_http;
        tracing::warn!(%address, "health and metrics are reachable from elsewhere and ask nobody who it is: keep them inside your own network");
    }
    for insecure_listen in service.in_clear(config) {
        let InsecureListen { setting, address } = insecure_listen;
        tracing::warn!(%address, setting, "listen.insecure: keys and messages go over the network in clear here, unless a TLS proxy stands before it");
    }
    for adapter in config.adapters.iter().filter(|adapter| adapter.insecure) {
        let (adapter, endpoint) = (&adapter.name, &adapter.endpoint);
        tracing::warn!(
            adapter,
            endpoint,
            "adapters.insecure: messages and the secrets of its accounts may go over the network in clear"
        );
    }
    let has_no_key = service.access.has_key().is_ok_and(|has_key| !has_key);
    if let Some(folder) = &service.first_key {
        let command = first_key_command(service, config, folder);
        tracing::warn!(
            "there is no key yet, and nobody is let in without one: `{command}`, run on this machine by whoever may read that folder, makes the first"
        );
    } else if has_no_key {
        tracing::info!(
            "nothing but the sandbox serves and there is no key: programs on this machine need none; `dispatch keys create` makes the first"
        );
    }
}

/// Whose receipts cannot come.
fn warn_of_unheard_accounts(service: &Service, providers: &Registry) {
    for (account, problem) in unheard_accounts(providers, &service.engine.routes()) {
        tracing::warn!(account, "{problem}");
    }
}

/// What makes the first key, ready to be run.
fn first_key_command(service: &Service, config: &Config, folder: &Path) -> String {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut address = service.grpc;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let scheme = if config.listen.tls.is_of(TlsListener::Grpc) { "https" } else { "http" };
    let server = format!("{scheme}://{address}");
    let server =
        if server == DEFAULT_SERVER { String::new() } else { format!(" --server {server}") };
    format!("dispatch keys create --name NAME --data '{}'{server}", folder.display())
}

/// Which channels are served through which adapters with which condition statuses.
fn channels(engine: &Engine) -> String {
    let mut rows = vec![["channel", "route", "adapter", "condition statuses"].map(str::to_owned)];
    for channel in engine.routes().channels() {
        for route in engine.routes().iter().filter(|route| *route.adapter.channel() == channel) {
            let statuses = &route.adapter.capabilities().condition_statuses;
            let statuses: Vec<_> = statuses.iter().map(|status| status.as_str()).collect();
            let (name, adapter) = (route.name.to_string(), route.adapter.name().to_owned());
            rows.push([channel.to_string(), name, adapter, statuses.join(", ")]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |row: &[String; 4]| {
        let [a, b, c] = widths;
        format!("  {:<a$}  {:<b$}  {:<c$}  {}\n", row[0], row[1], row[2], row[3])
    };
    rows.iter().map(line).collect()
}
