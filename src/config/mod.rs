//! The configuration: one complete, commented file is embedded, and equals the defaults.
//!
//! A leaf: it knows the names of settings and nothing of what they configure. Values are checked
//! here as far as they can be by themselves; the rest where they are used.

mod access;
mod adapters;
mod callbacks;
mod engine;
mod inbound;
mod listen;
mod log;
mod reload;
mod routes;
mod sandbox;
mod secret;
mod store;
mod tls;

use std::{fmt, path::Path};

use serde::Deserialize;

pub use access::{AccessConfig, AccessKeyConfig, TenantConfig};
pub use adapters::AdapterConfig;
pub use callbacks::CallbackConfig;
pub use engine::EngineConfig;
pub use inbound::InboundConfig;
pub use listen::ListenConfig;
pub use log::{LogConfig, LogFormat};
pub use reload::{Difference, SettingValues};
pub use routes::{AccountConfig, RouteConfig};
pub use sandbox::SandboxConfig;
pub use secret::{SecretSource, resolve as resolve_secret};
pub use store::{StoreConfig, StoreKind};
pub use tls::{TlsConfig, TlsListener};

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
    /// What becomes of what persons write.
    pub inbound: InboundConfig,
    /// What it logs.
    pub log: LogConfig,
    /// The simulated provider.
    pub sandbox: SandboxConfig,
    /// Adapters in programs of their own.
    pub adapters: Vec<AdapterConfig>,
    /// Accounts at providers.
    pub accounts: Vec<AccountConfig>,
    /// Which sender goes by which adapter.
    pub routes: Vec<RouteConfig>,
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
        // For a day a request_id makes no second workflow. Days of a virtual clock are for trying things.
        let retained_s = if self.sandbox.virtual_clock { 60 } else { 86_400 };
        let ranges = (self.listen.ranges().into_iter())
            .chain(self.store.ranges(retained_s))
            .chain(self.engine.ranges())
            .chain(self.callbacks.ranges())
            .chain(self.inbound.ranges());
        let mut problems: Vec<_> = ranges.filter_map(out_of_range).collect();
        problems.extend(adapters::problems(&self.adapters));
        problems.extend(self.routes.iter().flat_map(RouteConfig::problems));
        problems.extend(self.access.check().err());
        problems.extend(self.store.check().err());
        problems.extend(self.listen.problems());
        problems.extend(self.callbacks.problems());
        problems.extend(self.inbound.problems());
        problems
    }
}

/// A setting's full name and value, and the least and most that it may be.
type Range = (&'static str, u64, u64, u64);

fn out_of_range((name, value, least, most): Range) -> Option<ConfigError> {
    let problem = || ConfigError(format!("{name} must be {least} to {most}, and is {value}"));
    (!(least..=most).contains(&value)).then(problem)
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
            "most_opt_outs",
            "kind",
            "data",
            "cache_mib",
            "retention_s",
            "contents_retention_s",
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
            "dead_letters_per_application",
            "tenant",
            "most_messages",
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
    fn a_public_url_is_one_that_paths_can_be_put_behind() {
        let parsed = |url| Config::parse(&format!("[listen]\npublic_url = \"{url}\"")).is_ok();
        for right in
            ["", "https://a.example", "http://a.example:8080/", "https://a.example/dispatch"]
        {
            assert!(parsed(right), "{right}");
        }
        for wrong in [
            "a.example",
            "https://",
            "https://a.example?x=1",
            "https://a.example/#x",
            "https://me:pw@a.example",
            " https://a.example",
            "https:/a.example",
        ] {
            assert!(!parsed(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_range() {
        let error = Config::parse("[store]\ncache_mib = 1\n").unwrap_err();
        assert_eq!(error.0, "store.cache_mib must be 16 to 65536, and is 1");
    }
}
