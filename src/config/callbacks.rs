//! `[callbacks]`: where callbacks may go, how many at once, and for how long they are repeated.

use serde::Deserialize;

use super::{ConfigError, Range};

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
    /// How many dead letters of one application are kept.
    pub dead_letters_per_application: usize,
}

impl CallbackConfig {
    pub(super) fn ranges(&self) -> impl IntoIterator<Item = Range> {
        [
            ("callbacks.concurrency", self.concurrency as u64, 1, 1024),
            ("callbacks.per_destination", self.per_destination as u64, 1, 1024),
            ("callbacks.timeout_s", self.timeout_s, 1, 60),
            ("callbacks.retry_for_s", self.retry_for_s, 0, 30 * 86_400),
            ("callbacks.retry_base_ms", self.retry_base_ms, 1, 3_600_000),
            ("callbacks.retry_max_ms", self.retry_max_ms, 1, 86_400_000),
            (
                "callbacks.waiting_per_application",
                self.waiting_per_application as u64,
                1,
                10_000_000,
            ),
            (
                "callbacks.dead_letters_per_application",
                self.dead_letters_per_application as u64,
                0,
                10_000_000,
            ),
        ]
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = ConfigError> {
        let networks = self.allow_networks.iter();
        let wrong = networks.filter(|network| network.parse::<ipnet::IpNet>().is_err());
        wrong.map(|network| {
            ConfigError(format!(
                "callbacks.allow_networks must hold networks as in \"10.0.0.0/8\" or \"fd00::/8\", and \
                 holds {network:?}"
            ))
        })
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
            dead_letters_per_application: 10_000,
        }
    }
}
