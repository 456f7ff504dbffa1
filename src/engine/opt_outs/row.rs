//! A row of the list, and its key.
//!
//! Keys begin with the tenant, then come channel and recipient: what is asked for together stands together. The
//! recipient is a hash there, so that no address is a key.

use std::sync::Arc;

use dispatch_contract::{Channel, Endpoint, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::store::{NameHash, id_hash};

/// A person who wants no messages. Kept as a setting of [`Kind::OptOut`](crate::store::Kind).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOptOut {
    /// Whose messages; empty: every tenant's.
    pub tenant: Arc<str>,
    /// On which channel.
    pub channel: Channel,
    /// From which sender; `None`: from none.
    pub sender: Option<String>,
    /// The person.
    pub recipient: Endpoint,
    /// The account, as `provider/name`, under which no messages go out; `None`: under none.
    pub account: Option<Arc<str>>,
    /// Who said so.
    pub source: OptOutSource,
    /// When it came here, by the wall clock.
    pub create_time: UnixMillis,
}

/// Who said that a person wants no messages. Stored by position: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OptOutSource {
    /// A caller of the API.
    Caller,
    /// The person, to the provider or by it.
    Person,
    /// The provider, as the reason for refusing a message.
    Provider,
}

impl OptOutSource {
    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            OptOutSource::Caller => "caller",
            OptOutSource::Person => "person",
            OptOutSource::Provider => "provider",
        }
    }
}

impl ListedOptOut {
    pub(super) fn key(&self) -> Vec<u8> {
        self.key_under(self.account.as_deref().unwrap_or_default())
    }

    /// Its key if it had come by this account.
    pub(super) fn key_under(&self, account: &str) -> Vec<u8> {
        let sender = self.sender.as_deref().unwrap_or_default();
        key(&self.tenant, &self.channel, self.recipient.value(), sender, account)
    }
}

/// The key of a row; a sender or an account that is empty is any.
pub(super) fn key(
    tenant: &str,
    channel: &Channel,
    recipient: &str,
    sender: &str,
    account: &str,
) -> Vec<u8> {
    let mut key = of_recipient(tenant, channel, recipient);
    // No sender has a NUL: two keys are never the same.
    key.extend([sender.as_bytes(), &[0], account.as_bytes()].concat());
    key
}

/// How the keys begin of all rows of a tenant, on a channel, of a recipient, as far as that is given in this order.
pub(super) fn prefix(
    tenant: Option<&str>,
    channel: Option<&Channel>,
    recipient: Option<&Endpoint>,
) -> Vec<u8> {
    match (tenant, channel, recipient) {
        (Some(tenant), Some(channel), Some(to)) => of_recipient(tenant, channel, to.value()),
        (Some(tenant), Some(channel), None) => of_channel(tenant, channel),
        (Some(tenant), None, _) => of_tenant(tenant),
        (None, _, _) => Vec::new(),
    }
}

/// Whether a caller put the row of this key there: who said so otherwise spoke for an account.
pub(super) fn is_callers(key: &[u8]) -> bool {
    key.last() == Some(&0)
}

/// The tenant in a key.
pub(super) fn tenant_of(key: &[u8]) -> &str {
    let tenant = key.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(tenant).unwrap_or_default()
}

fn of_tenant(tenant: &str) -> Vec<u8> {
    [tenant.as_bytes(), &[0]].concat()
}

fn of_channel(tenant: &str, channel: &Channel) -> Vec<u8> {
    [&of_tenant(tenant)[..], channel.as_str().as_bytes(), &[0]].concat()
}

fn of_recipient(tenant: &str, channel: &Channel, recipient: &str) -> Vec<u8> {
    let recipient: NameHash = id_hash(channel.as_str(), recipient);
    [&of_channel(tenant, channel)[..], &recipient].concat()
}
