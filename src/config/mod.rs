//! The configuration: one complete, commented file is embedded, and equals the defaults.
//!
//! A leaf: it knows the names of settings and nothing of what they configure. Values are checked
//! here as far as they can be by themselves; the rest where they are used.

mod access;
mod reload;
mod secret;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

pub use access::{AccessConfig, AccessKeyConfig, TenantConfig};
pub use reload::{Difference, SettingValues};
pub use secret::{SecretSource, resolve as resolve_secret};

/// The embedded file: every setting with its default and a comment.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens.
    pub listen: ListenConfig,
    /// Who may do what, and how secrets are kept and shown.
    pub access: AccessConfig,
    /// Where it keeps workflows.
    pub store: StoreConfig,
    /// How it works.
    pub engine: EngineConfig,
    /// How applications are told.
    pub callbacks: CallbackConfig,
    /// What it logs.
    pub log: LogConfig,
    /// The simulated provider.
    pub sandbox: SandboxConfig,
    /// Accounts at providers.
    pub accounts: Vec<AccountConfig>,
    /// Which sender goes by which adapter.
    pub routes: Vec<RouteConfig>,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// gRPC.
    pub grpc: SocketAddr,
    /// Public HTTP.
    pub http: SocketAddr,
    /// Internal HTTP.
    pub internal_http: SocketAddr,
    /// How providers reach the public listener; empty if they need not be told.
    pub public_url: String,
    /// How often a gRPC peer is asked whether it lives, in seconds.
    pub keep_alive_s: u64,
    /// How long it may take to say so, in seconds.
    pub keep_alive_timeout_s: u64,
    /// How many connections gRPC holds.
    pub grpc_connections: usize,
    /// How many connections public HTTP holds.
    pub http_connections: usize,
    /// How many gRPC calls may be under way in all.
    pub calls: usize,
    /// How many calls one gRPC connection may have open.
    pub max_concurrent_streams: u32,
    /// How long a stream waits for a reader that takes nothing, in seconds.
    pub reader_timeout_s: u64,
    /// How long an HTTP request's head, and then its body, may take to arrive, in seconds.
    pub http_timeout_s: u64,
    /// Whether gRPC may be reached from elsewhere without keys or without TLS.
    pub insecure: bool,
    /// TLS.
    pub tls: TlsConfig,
}

/// `[listen.tls]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate chain, a PEM file; empty is no TLS.
    pub certificate: PathBuf,
    /// Its private key, a PEM file.
    pub key: PathBuf,
    /// CA bundle (PEM) for client certificates; empty: no mutual TLS.
    pub client_ca: PathBuf,
    /// Which listeners speak it.
    pub serves: Vec<TlsListener>,
}

/// A listener that may speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsListener {
    /// gRPC.
    Grpc,
    /// Public HTTP.
    Http,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Which store.
    pub kind: StoreKind,
    /// The data folder.
    pub data: PathBuf,
    /// Cache, in MiB.
    pub cache_mib: u64,
    /// How long an ended workflow is kept, in seconds.
    pub retention_s: u64,
    /// Below so much free space it is warned of, in MiB; 0 is off.
    pub warn_free_mib: u64,
    /// Below so much free space creates are refused, in MiB; 0 is off.
    pub reserve_mib: u64,
    /// How much room is kept on the disk for a start when it is full, in MiB; 0 is none.
    pub ballast_mib: u64,
    /// Whether it is only read. Said on the command line, each time anew.
    #[serde(skip)]
    pub read_only: bool,
    /// Whether to go on without rows that are lost. Said on the command line, each time anew.
    #[serde(skip)]
    pub accept_loss: bool,
}

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In a folder.
    Sled,
    /// Nowhere.
    Memory,
}

/// `[engine]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Time before any acceptance, in seconds.
    pub send_within_s: u64,
    /// The same for the last step.
    pub last_send_within_s: u64,
    /// How long an unknown outcome waits for a receipt, in seconds.
    pub unknown_wait_s: u64,
    /// How long silence lasts until UNCONFIRMED, in seconds.
    pub unconfirmed_after_s: u64,
    /// The first retry's delay, in milliseconds.
    pub retry_base_ms: u64,
    /// The longest retry's delay, in milliseconds.
    pub retry_max_ms: u64,
    /// How long overdue waits are held after a start, in seconds.
    pub recovery_grace_s: u64,
    /// How long a stop waits for calls, in seconds.
    pub drain_s: u64,
    /// Who waits longer than this for a place on a route is told of, in seconds; 0 is off.
    pub queue_warn_s: u64,
    /// How many creates may wait.
    pub create_queue_capacity: usize,
    /// How many cancels may wait.
    pub cancel_queue_capacity: usize,
    /// How many webhook calls may wait.
    pub receipt_queue_capacity: usize,
}

/// `[callbacks]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbackConfig {
    /// Whether callbacks may go out without TLS.
    pub allow_http: bool,
    /// Networks that callbacks may go to although they are not public.
    pub allow_networks: Vec<String>,
    /// How many may be out at once.
    pub concurrency: usize,
    /// How many may be out at once to one destination.
    pub per_destination: usize,
    /// How long a receiver may take to answer, in seconds.
    pub timeout_s: u64,
    /// For how long a callback is repeated, in seconds.
    pub retry_for_s: u64,
    /// The first wait, in milliseconds.
    pub retry_base_ms: u64,
    /// The longest wait, in milliseconds.
    pub retry_max_ms: u64,
    /// How many of one application may wait.
    pub waiting_per_application: usize,
    /// How many dead ones of one application are kept.
    pub dead_per_application: usize,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Text or JSON.
    pub format: LogFormat,
    /// A filter.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[sandbox]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// Seeds message ids.
    pub seed: u64,
    /// For recipients without a script.
    pub default_script: String,
    /// Move only when told.
    pub virtual_clock: bool,
    /// By recipient.
    pub scripts: BTreeMap<String, String>,
}

/// `[[accounts]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// Ours; stands in webhook URLs.
    pub name: String,
    /// What it was called before: the webhook URLs of those names go on working, and receipts of what
    /// was sent under them count.
    #[serde(default)]
    pub formerly: Vec<String>,
    /// Whose account it is.
    pub provider: String,
    /// What is not secret.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// What is: `env:NAME`, `file:/path`, or the secret itself.
    #[serde(default)]
    pub secrets: BTreeMap<String, secret::SecretSource>,
}

/// `[[routes]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Unique; stands in timelines and metrics.
    pub name: String,
    /// The adapter's name.
    pub adapter: String,
    /// The account's name.
    pub account: String,
    /// Which tenants reach it; `*` alone is every one.
    #[serde(default = "default_tenant")]
    pub tenants: Vec<String>,
    /// Whose messages; `*` is anybody's.
    #[serde(default = "any_sender")]
    pub sender: String,
    /// How many calls may be out at once.
    #[serde(default = "usual_concurrency")]
    pub concurrency: u32,
    /// How long one call may take, in seconds.
    #[serde(default = "usual_timeout")]
    pub timeout_s: u64,
}

/// A configuration that cannot be used: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is not right; the text says where and what would be.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError(format!("cannot read the configuration {shown}: {error}"))
        })?;
        Config::parse(&text)
            .map_err(|ConfigError(problem)| ConfigError(format!("{shown}: {problem}")))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        let config = Config::unchecked(text)?;
        config.check()?;
        Ok(config)
    }

    /// Reads a text, whose values may be [wrong](Self::problems).
    ///
    /// # Errors
    /// If it cannot be read as a configuration.
    pub fn unchecked(text: &str) -> Result<Config, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError(explain(&error, text)))
    }

    /// Checks what can be checked by itself.
    ///
    /// # Errors
    /// On the first of the [problems](Self::problems).
    pub fn check(&self) -> Result<(), ConfigError> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that is wrong by itself: values out of range, with the range, and what does not go together.
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        let EngineConfig {
            create_queue_capacity,
            cancel_queue_capacity,
            receipt_queue_capacity,
            ..
        } = self.engine;
        let CallbackConfig {
            concurrency,
            per_destination,
            waiting_per_application,
            dead_per_application,
            ..
        } = self.callbacks;
        // For a day a request_id makes no second workflow. Days of a virtual clock are for trying things.
        let retained_s = if self.sandbox.virtual_clock { 60 } else { 86_400 };
        let ranges = [
            ("listen.keep_alive_s", self.listen.keep_alive_s, 1, 3600),
            ("listen.keep_alive_timeout_s", self.listen.keep_alive_timeout_s, 1, 3600),
            ("listen.grpc_connections", self.listen.grpc_connections as u64, 8, 100_000),
            ("listen.http_connections", self.listen.http_connections as u64, 8, 100_000),
            ("listen.calls", self.listen.calls as u64, 16, 1_000_000),
            (
                "listen.max_concurrent_streams",
                self.listen.max_concurrent_streams.into(),
                1,
                1_000_000,
            ),
            ("listen.reader_timeout_s", self.listen.reader_timeout_s, 1, 86_400),
            ("listen.http_timeout_s", self.listen.http_timeout_s, 1, 3600),
            ("store.cache_mib", self.store.cache_mib, 16, 65_536),
            ("store.retention_s", self.store.retention_s, retained_s, 10 * 365 * 86_400),
            ("engine.send_within_s", self.engine.send_within_s, 1, 30 * 86_400),
            ("engine.last_send_within_s", self.engine.last_send_within_s, 1, 30 * 86_400),
            ("engine.unknown_wait_s", self.engine.unknown_wait_s, 0, 86_400),
            ("engine.unconfirmed_after_s", self.engine.unconfirmed_after_s, 1, 90 * 86_400),
            ("engine.retry_base_ms", self.engine.retry_base_ms, 1, 3_600_000),
            ("engine.retry_max_ms", self.engine.retry_max_ms, 1, 86_400_000),
            ("engine.recovery_grace_s", self.engine.recovery_grace_s, 0, 86_400),
            ("engine.drain_s", self.engine.drain_s, 0, 3600),
            ("engine.queue_warn_s", self.engine.queue_warn_s, 0, 86_400),
            ("store.warn_free_mib", self.store.warn_free_mib, 0, 1_048_576),
            ("store.reserve_mib", self.store.reserve_mib, 0, 1_048_576),
            ("store.ballast_mib", self.store.ballast_mib, 0, 1024),
            ("engine.create_queue_capacity", create_queue_capacity as u64, 1, 1_000_000),
            ("engine.cancel_queue_capacity", cancel_queue_capacity as u64, 1, 1_000_000),
            ("engine.receipt_queue_capacity", receipt_queue_capacity as u64, 1, 1_000_000),
            ("callbacks.concurrency", concurrency as u64, 1, 1024),
            ("callbacks.per_destination", per_destination as u64, 1, 1024),
            ("callbacks.timeout_s", self.callbacks.timeout_s, 1, 60),
            ("callbacks.retry_for_s", self.callbacks.retry_for_s, 0, 30 * 86_400),
            ("callbacks.retry_base_ms", self.callbacks.retry_base_ms, 1, 3_600_000),
            ("callbacks.retry_max_ms", self.callbacks.retry_max_ms, 1, 86_400_000),
            ("callbacks.waiting_per_application", waiting_per_application as u64, 1, 10_000_000),
            ("callbacks.dead_per_application", dead_per_application as u64, 0, 10_000_000),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let problem = format!("{name} must be {least} to {most}, and is {value}");
                problems.push(ConfigError(problem));
            }
        }
        for route in &self.routes {
            if !(1..=10_000).contains(&route.concurrency) {
                let problem = format!("concurrency of route {} must be 1 to 10000", route.name);
                problems.push(ConfigError(problem));
            }
            if !(1..=300).contains(&route.timeout_s) {
                let problem = format!("timeout_s of route {} must be 1 to 300", route.name);
                problems.push(ConfigError(problem));
            }
        }
        problems.extend(self.access.check().err());
        problems.extend(self.listen.tls.check().err());
        for network in &self.callbacks.allow_networks {
            if network.parse::<ipnet::IpNet>().is_err() {
                problems.push(ConfigError(format!(
                    "callbacks.allow_networks must hold networks as in \"10.0.0.0/8\" or \"fd00::/8\", and \
                     holds {network:?}"
                )));
            }
        }
        let url = &self.listen.public_url;
        if !(url.is_empty() || url.starts_with("https://") || url.starts_with("http://")) {
            let problem = "listen.public_url must begin with https:// or http://, or be empty";
            problems.push(ConfigError(problem.to_owned()));
        }
        problems
    }
}

impl TlsConfig {
    /// Whether a listener speaks it.
    pub fn is_of(&self, listener: TlsListener) -> bool {
        !self.certificate.as_os_str().is_empty() && self.serves.contains(&listener)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let [certificate, key, client_ca] = [&self.certificate, &self.key, &self.client_ca]
            .map(|path| !path.as_os_str().is_empty());
        if certificate != key {
            let problem = "listen.tls.certificate and listen.tls.key go together: set both or none";
            return Err(ConfigError(problem.to_owned()));
        }
        if client_ca && !self.is_of(TlsListener::Grpc) {
            let problem = "listen.tls.client_ca is for gRPC over TLS: set listen.tls.certificate and \
                           key, and name grpc in listen.tls.serves";
            return Err(ConfigError(problem.to_owned()));
        }
        Ok(())
    }
}

/// Adds the nearest known name to serde's complaint about an unknown one.
fn explain(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
    let place = line.map_or(String::new(), |line| format!("line {line}: "));
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let hint = match (message.starts_with("unknown"), quoted.next()) {
        (true, Some(unknown)) => quoted
            .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
            .min()
            .map_or(String::new(), |(_, nearest)| format!("; did you mean `{nearest}`?")),
        (true, None) | (false, _) => String::new(),
    };
    format!("{place}{message}{hint}")
}

fn default_tenant() -> Vec<String> {
    vec!["default".to_owned()]
}

fn any_sender() -> String {
    "*".to_owned()
}

fn usual_concurrency() -> u32 {
    32
}

fn usual_timeout() -> u64 {
    10
}

impl Default for ListenConfig {
    fn default() -> Self {
        ListenConfig {
            grpc: SocketAddr::from(([127, 0, 0, 1], 50051)),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            internal_http: SocketAddr::from(([127, 0, 0, 1], 9090)),
            public_url: String::new(),
            keep_alive_s: 20,
            keep_alive_timeout_s: 10,
            grpc_connections: 1024,
            http_connections: 1024,
            calls: 20_480,
            max_concurrent_streams: 1024,
            reader_timeout_s: 60,
            http_timeout_s: 15,
            insecure: false,
            tls: TlsConfig::default(),
        }
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            serves: vec![TlsListener::Grpc, TlsListener::Http],
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            kind: StoreKind::Sled,
            data: PathBuf::from("data"),
            cache_mib: 256,
            retention_s: 30 * 86_400,
            warn_free_mib: 1024,
            reserve_mib: 64,
            ballast_mib: 32,
            read_only: false,
            accept_loss: false,
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            send_within_s: 900,
            last_send_within_s: 900,
            unknown_wait_s: 30,
            unconfirmed_after_s: 72 * 3600,
            retry_base_ms: 1000,
            retry_max_ms: 60_000,
            recovery_grace_s: 60,
            drain_s: 15,
            queue_warn_s: 60,
            create_queue_capacity: 8192,
            cancel_queue_capacity: 8192,
            receipt_queue_capacity: 32_768,
        }
    }
}

impl Default for CallbackConfig {
    fn default() -> Self {
        CallbackConfig {
            allow_http: false,
            allow_networks: Vec::new(),
            concurrency: 64,
            per_destination: 8,
            timeout_s: 10,
            retry_for_s: 86_400,
            retry_base_ms: 5000,
            retry_max_ms: 1_800_000,
            waiting_per_application: 100_000,
            dead_per_application: 10_000,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for SandboxConfig {
    fn default() -> Self {
        SandboxConfig {
            seed: 1,
            default_script: "accept; deliver 1s; read 3s".to_owned(),
            virtual_clock: false,
            scripts: BTreeMap::new(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_file_equals_the_defaults() {
        assert_eq!(Config::parse(DEFAULT_TOML), Ok(Config::default()));
    }

    #[test]
    fn every_setting_stands_in_the_embedded_file() {
        // Taking a line away must change nothing but that the default applies; a setting that is
        // not in the file at all would not be found by reading it.
        for name in [
            "grpc",
            "http",
            "internal_http",
            "public_url",
            "keep_alive_s",
            "keep_alive_timeout_s",
            "grpc_connections",
            "http_connections",
            "calls",
            "max_concurrent_streams",
            "reader_timeout_s",
            "http_timeout_s",
            "insecure",
            "certificate",
            "key",
            "client_ca",
            "serves",
            "token_tolerance_s",
            "token_once",
            "creates_per_s",
            "creates_burst",
            "open_workflows",
            "open_streams",
            "most_keys",
            "most_applications",
            "most_accounts",
            "kind",
            "data",
            "cache_mib",
            "retention_s",
            "warn_free_mib",
            "reserve_mib",
            "ballast_mib",
            "send_within_s",
            "last_send_within_s",
            "unknown_wait_s",
            "unconfirmed_after_s",
            "retry_base_ms",
            "retry_max_ms",
            "recovery_grace_s",
            "drain_s",
            "queue_warn_s",
            "create_queue_capacity",
            "cancel_queue_capacity",
            "receipt_queue_capacity",
            "allow_http",
            "allow_networks",
            "concurrency",
            "per_destination",
            "timeout_s",
            "retry_for_s",
            "waiting_per_application",
            "dead_per_application",
            "format",
            "level",
            "master_key",
            "show_tokens",
            "seed",
            "default_script",
            "virtual_clock",
        ] {
            let line = DEFAULT_TOML.lines().any(|line| line.starts_with(&format!("{name} = ")));
            assert!(line, "{name} is missing");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_nearest_named() {
        let error = Config::parse("[engine]\nsend_witin_s = 3\n").unwrap_err();
        assert!(error.0.contains("line 2"), "{error}");
        assert!(error.0.contains("did you mean `send_within_s`?"), "{error}");
    }

    #[test]
    fn a_secret_without_quotes_is_refused_and_not_shown() {
        let text = "[[accounts]]\nname = \"a\"\nprovider = \"vonage\"\nsecrets = { api_secret = 12345678 }";
        let error = Config::parse(text).unwrap_err();
        assert!(error.0.contains("put it in quotes") && !error.0.contains("1234"), "{error}");
    }

    #[test]
    fn a_master_key_in_the_file_itself_is_refused_and_not_shown() {
        for place in ["env:DISPATCH_MASTER_KEY", "file:/run/secrets/master.key", ""] {
            let text = format!("[access]\nmaster_key = \"{place}\"\n");
            assert!(Config::parse(&text).is_ok(), "{place}");
        }
        let error = Config::parse("[access]\nmaster_key = \"c2VjcmV0\"\n").unwrap_err();
        assert!(error.0.contains("env:NAME or file:/path"), "{error}");
        assert!(!error.0.contains("c2VjcmV0"), "{error}");
    }

    #[test]
    fn a_network_that_is_none_is_refused() {
        let error = Config::parse("[callbacks]\nallow_networks = [\"10.0.0.0\"]\n").unwrap_err();
        assert!(error.0.contains("10.0.0.0/8"), "{error}");
        Config::parse("[callbacks]\nallow_networks = [\"127.0.0.0/8\", \"::1/128\"]\n").unwrap();
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_range() {
        let error = Config::parse("[store]\ncache_mib = 1\n").unwrap_err();
        assert_eq!(error.0, "store.cache_mib must be 16 to 65536, and is 1");
    }
}
