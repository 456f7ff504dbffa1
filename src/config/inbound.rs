//! `[inbound]`: what persons write to senders.

use serde::Deserialize;

use super::{ConfigError, Range};

/// `[inbound]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InboundConfig {
    /// Whose a message is where nothing tells one tenant.
    pub tenant: String,
    /// How long messages are kept, in seconds.
    pub retention_s: u64,
    /// How many are kept, of all tenants.
    pub most_messages: u64,
}

impl InboundConfig {
    pub(super) fn ranges(&self) -> impl IntoIterator<Item = Range> {
        [
            ("inbound.retention_s", self.retention_s, 60, 365 * 86_400),
            ("inbound.most_messages", self.most_messages, 1, 100_000_000),
        ]
    }

    pub(super) fn problems(&self) -> Vec<ConfigError> {
        let problem = || {
            let wanted = "inbound.tenant must be a tenant's name, and is empty";
            ConfigError(wanted.to_owned())
        };
        self.tenant.is_empty().then(problem).into_iter().collect()
    }
}

impl Default for InboundConfig {
    fn default() -> Self {
        InboundConfig {
            tenant: "default".to_owned(),
            retention_s: 7 * 86_400,
            most_messages: 1_000_000,
        }
    }
}
