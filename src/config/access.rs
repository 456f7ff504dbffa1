//! `[access]`: who may do what, and how much; how secrets are kept and shown.

use std::collections::BTreeMap;

use dispatch_contract::is_printable;
use serde::Deserialize;

use super::{ConfigError, secret::SecretSource};

/// How many labels may be personal without being said to be.
const PERSONAL_LABELS: usize = 100;
/// The longest key of a label, in bytes.
const LABEL_KEY_BYTES: usize = 63;

/// `[access]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// Where the master key is: `env:NAME` or `file:/path`. Empty: in the data folder.
    pub master_key: SecretSource,
    /// Where the master key before it is, while something may still be encrypted with that. Empty: there is
    /// none.
    pub master_key_previous: SecretSource,
    /// Whether tokens of external accounts are shown in clear to whoever may administer them.
    pub show_tokens: bool,
    /// How far a caller's clock may be off, in seconds.
    pub token_tolerance_s: u64,
    /// Whether each token is taken once only.
    pub token_once: bool,
    /// How many logins in a row may fail from one address before it waits; 0: as many as it likes.
    pub failed_logins: u32,
    /// How many creates a second a tenant may make; 0 is no limit.
    pub creates_per_s: u32,
    /// How many of them may come at once; 0 is as many as in a second.
    pub creates_burst: u32,
    /// How many workflows a tenant may have open; 0 is no limit.
    pub open_workflows: u64,
    /// How many status streams a tenant may have open; 0 is no limit.
    pub open_streams: usize,
    /// How many keys a tenant may have; 0 is no limit.
    pub most_keys: usize,
    /// How many applications a tenant may have; 0 is no limit.
    pub most_applications: usize,
    /// How many external accounts a tenant may have; 0 is no limit.
    pub most_accounts: usize,
    /// How many opt-outs callers may put on a tenant's list; 0 is no limit.
    pub most_opt_outs: usize,
    /// Keys of labels that are personal without being said to be.
    pub personal_labels: Vec<String>,
    /// Whether client references are personal without being said to be.
    pub personal_client_ref: bool,
    /// Other limits for a tenant, by name.
    pub tenants: BTreeMap<String, TenantConfig>,
    /// Keys beside those that are made at run time.
    pub keys: Vec<AccessKeyConfig>,
}

/// `[access.tenants.NAME]`: a tenant's own limits; what is not said is as in `[access]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantConfig {
    /// How often it is served on a busy route while another is served once: 1 to 100.
    pub weight: u32,
    /// As `store.contents_retention_s`.
    pub contents_retention_s: Option<u64>,
    /// As `access.creates_per_s`.
    pub creates_per_s: Option<u32>,
    /// As `access.creates_burst`.
    pub creates_burst: Option<u32>,
    /// As `access.open_workflows`.
    pub open_workflows: Option<u64>,
    /// As `access.open_streams`.
    pub open_streams: Option<usize>,
    /// As `access.most_keys`.
    pub most_keys: Option<usize>,
    /// As `access.most_applications`.
    pub most_applications: Option<usize>,
    /// As `access.most_accounts`.
    pub most_accounts: Option<usize>,
    /// As `access.most_opt_outs`.
    pub most_opt_outs: Option<usize>,
    /// As `access.personal_labels`.
    pub personal_labels: Option<Vec<String>>,
    /// As `access.personal_client_ref`.
    pub personal_client_ref: Option<bool>,
}

impl Default for TenantConfig {
    fn default() -> Self {
        TenantConfig {
            weight: 1,
            contents_retention_s: None,
            creates_per_s: None,
            creates_burst: None,
            open_workflows: None,
            open_streams: None,
            most_keys: None,
            most_applications: None,
            most_accounts: None,
            most_opt_outs: None,
            personal_labels: None,
            personal_client_ref: None,
        }
    }
}

/// `[[access.keys]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKeyConfig {
    /// Goes before the `:` in Basic credentials.
    pub id: String,
    /// `env:NAME`, `file:/path`, or the secret itself.
    pub secret: SecretSource,
    /// Whose it is.
    #[serde(default)]
    pub tenant: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// What its holder may do.
    pub scopes: Vec<String>,
}

impl AccessConfig {
    /// Checks what can be checked by itself.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let keys =
            [("master_key", &self.master_key), ("master_key_previous", &self.master_key_previous)];
        for (name, key) in keys {
            if !(key.is_empty() || key.is_elsewhere()) {
                // Beside what it locks up it would be no lock.
                return Err(ConfigError(format!(
                    "access.{name} must be env:NAME or file:/path: the key itself does not belong in \
                     the configuration"
                )));
            }
        }
        if self.token_tolerance_s > 3600 {
            let is = self.token_tolerance_s;
            let problem = format!("access.token_tolerance_s must be 0 to 3600, and is {is}");
            return Err(ConfigError(problem));
        }
        for (name, TenantConfig { weight, .. }) in &self.tenants {
            if !(1..=100).contains(weight) {
                let problem =
                    format!("access.tenants.{name}.weight must be 1 to 100, and is {weight}");
                return Err(ConfigError(problem));
            }
        }
        let named = self.tenants.iter().filter_map(|(name, it)| {
            Some((format!("access.tenants.{name}"), it.personal_labels.as_ref()?))
        });
        for (of, labels) in named.chain([("access".to_owned(), &self.personal_labels)]) {
            check_personal_labels(&of, labels)?;
        }
        let bursts = self.tenants.iter().map(|(name, limits)| {
            let burst = limits.creates_burst.unwrap_or(self.creates_burst);
            let per_s = limits.creates_per_s.unwrap_or(self.creates_per_s);
            (format!("access.tenants.{name}"), burst, per_s)
        });
        let usual = ("access".to_owned(), self.creates_burst, self.creates_per_s);
        for (of, burst, per_s) in bursts.chain([usual]) {
            if burst > 0 && per_s == 0 {
                let problem = format!("{of}.creates_burst needs a creates_per_s to go with it");
                return Err(ConfigError(problem));
            }
        }
        Ok(())
    }
}

/// Checks keys of labels, as a request may have them.
fn check_personal_labels(of: &str, labels: &[String]) -> Result<(), ConfigError> {
    let fits = |key: &String| (1..=LABEL_KEY_BYTES).contains(&key.len()) && is_printable(key);
    if labels.len() > PERSONAL_LABELS || !labels.iter().all(fits) {
        return Err(ConfigError(format!(
            "{of}.personal_labels must be up to {PERSONAL_LABELS} keys of labels, each of 1 to \
             {LABEL_KEY_BYTES} bytes of printable characters"
        )));
    }
    Ok(())
}

impl Default for AccessConfig {
    fn default() -> Self {
        AccessConfig {
            master_key: SecretSource::from(""),
            master_key_previous: SecretSource::from(""),
            show_tokens: false,
            token_tolerance_s: 60,
            token_once: false,
            failed_logins: 20,
            creates_per_s: 0,
            creates_burst: 0,
            open_workflows: 0,
            open_streams: 10_000,
            most_keys: 100,
            most_applications: 1000,
            most_accounts: 1000,
            most_opt_outs: 1_000_000,
            personal_labels: Vec::new(),
            personal_client_ref: false,
            tenants: BTreeMap::new(),
            keys: Vec::new(),
        }
    }
}
