//! `[[accounts]]` and `[[routes]]`: which sender goes by which adapter, under which account.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ConfigError, SecretSource};

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
    pub secrets: BTreeMap<String, SecretSource>,
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

impl RouteConfig {
    pub(super) fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        if !(1..=10_000).contains(&self.concurrency) {
            let problem = format!("concurrency of route {} must be 1 to 10000", self.name);
            problems.push(ConfigError(problem));
        }
        if !(1..=300).contains(&self.timeout_s) {
            let problem = format!("timeout_s of route {} must be 1 to 300", self.name);
            problems.push(ConfigError(problem));
        }
        problems
    }
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
