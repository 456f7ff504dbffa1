//! A row of the list, and its key.
//!
//! Keys begin with the tenant, then come channel and recipient: what is asked for together stands together. The
//! recipient is a hash there, under a key that lasts as long as the store: who holds the rows finds nobody out by
//! trying numbers. Who that is stands in the row, sealed, and may be forgotten by itself: the row counts on.

use std::sync::Arc;

use dispatch_contract::{Channel, Endpoint, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::store::{
    KeySlot, Kind, NameHash, SealedContents, Settings, StoreError, all_rows, decode,
};

/// A person who wants no messages, to be put on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOptOut {
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

/// A person who stands on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedOptOut {
    /// Who, if that can be opened: it may have been forgotten.
    pub recipient: Option<Endpoint>,
    /// What is kept of it in clear.
    pub row: OptOutRow,
}

/// What is kept of a person who wants no messages, as a setting of [`Kind::OptOut`](crate::store::Kind).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutRow {
    /// Whose messages; empty: every tenant's.
    pub tenant: Arc<str>,
    /// On which channel.
    pub channel: Channel,
    /// From which sender; `None`: from none.
    pub sender: Option<String>,
    /// The account, as `provider/name`, under which no messages go out; `None`: under none.
    pub account: Option<Arc<str>>,
    /// Who said so.
    pub source: OptOutSource,
    /// When it came here, by the wall clock.
    pub create_time: UnixMillis,
    /// Who, as bytes that the store cannot read.
    pub(super) recipient: SealedContents,
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

/// Where the keys are of those who stand on the list. A row that cannot be read has none.
pub fn opt_out_keys(settings: &dyn Settings) -> impl Iterator<Item = Result<KeySlot, StoreError>> {
    all_rows(settings, Kind::OptOut).filter_map(|row| match row {
        Ok((_, row)) => {
            let row: Result<OptOutRow, _> = decode(&row, || "an opt-out".to_owned());
            Some(Ok(row.ok()?.recipient.slot))
        }
        Err(error) => Some(Err(error)),
    })
}

impl NewOptOut {
    /// Its key, of a recipient that is hashed so.
    pub(super) fn key(&self, person: &NameHash) -> Vec<u8> {
        self.key_under(self.account.as_deref().unwrap_or_default(), person)
    }

    /// Its key if it had come by this account.
    pub(super) fn key_under(&self, account: &str, person: &NameHash) -> Vec<u8> {
        let sender = self.sender.as_deref().unwrap_or_default();
        key(&self.tenant, &self.channel, person, sender, account)
    }

    /// The row, with its recipient sealed.
    pub(super) fn row(&self, recipient: SealedContents) -> OptOutRow {
        OptOutRow {
            tenant: Arc::clone(&self.tenant),
            channel: self.channel.clone(),
            sender: self.sender.clone(),
            account: self.account.clone(),
            source: self.source,
            create_time: self.create_time,
            recipient,
        }
    }
}

/// The key of a row; a sender or an account that is empty is any.
pub(super) fn key(
    tenant: &str,
    channel: &Channel,
    person: &NameHash,
    sender: &str,
    account: &str,
) -> Vec<u8> {
    let mut key = of_person(tenant, channel, person);
    // No sender has a NUL: two keys are never the same.
    key.extend([sender.as_bytes(), &[0], account.as_bytes()].concat());
    key
}

/// How the keys begin of all rows of a tenant, on a channel, of a person, as far as that is given in this order.
pub(super) fn prefix(
    tenant: Option<&str>,
    channel: Option<&Channel>,
    person: Option<&NameHash>,
) -> Vec<u8> {
    match (tenant, channel, person) {
        (Some(tenant), Some(channel), Some(person)) => of_person(tenant, channel, person),
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

/// The tenant and the channel in a key.
pub(super) fn channel_of(key: &[u8]) -> Option<(&str, Channel)> {
    let channel = key.split(|byte| *byte == 0).nth(1)?;
    Some((tenant_of(key), std::str::from_utf8(channel).ok()?.parse().ok()?))
}

/// The person in a key.
pub(super) fn person_of(key: &[u8]) -> Option<&NameHash> {
    let mut ends = key.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
    let channel_ends = ends.nth(1)?;
    key.get(channel_ends + 1..)?.first_chunk()
}

/// Behind all keys of the tenant and the channel that this one is of.
pub(super) fn behind_channel(tenant: &str, channel: &Channel) -> Vec<u8> {
    let mut behind = of_channel(tenant, channel);
    // The NUL that ends the channel's name.
    if let Some(end) = behind.last_mut() {
        *end = 1;
    }
    behind
}

fn of_tenant(tenant: &str) -> Vec<u8> {
    [tenant.as_bytes(), &[0]].concat()
}

fn of_channel(tenant: &str, channel: &Channel) -> Vec<u8> {
    [&of_tenant(tenant)[..], channel.as_str().as_bytes(), &[0]].concat()
}

fn of_person(tenant: &str, channel: &Channel, person: &NameHash) -> Vec<u8> {
    [&of_channel(tenant, channel)[..], person].concat()
}
