//! A message as it was heard, and as it is kept.

use std::sync::Arc;

use dispatch_contract::{AttemptId, Channel, Content, Endpoint, InboundMessage, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::{
    contents::{LastingKey, RowKeeper},
    machine::Moment,
    store::{
        KeySlot, Kind, SealedContents, Settings, StoreError, VALUE_BYTES, all_rows, decode, encode,
    },
};

const LABEL: &str = "inbound message";
/// The longest address and the longest id of a provider's that are kept, in bytes; none of ours is longer.
const MOST_NAME_BYTES: usize = 1024;

/// The largest message that is sealed: what else is in its row fits beside it.
const MOST_SEALED_BYTES: usize = VALUE_BYTES - 512;

/// A message of ours that a person's quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotedMessage {
    /// The attempt that it went out as.
    pub attempt: AttemptId,
    /// Its step, counted from 0.
    pub step: u8,
}

/// What a person wrote, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardMessage {
    /// Whose.
    pub tenant: Arc<str>,
    /// The applications that may be told of it, before the tenant's default one.
    pub applications: Vec<Uuid>,
    /// The account that heard it, as `provider/name`.
    pub account: Arc<str>,
    /// What that was called before.
    pub former_accounts: Vec<Arc<str>>,
    /// To whom it is, as messages name their sender.
    pub to: Endpoint,
    /// The message of ours that it quotes.
    pub quoted: Option<QuotedMessage>,
    /// What was told.
    pub message: InboundMessage,
}

/// A row: in clear what it is found and taken away by, and nothing of who wrote and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InboundRow {
    pub(super) id: Uuid,
    /// Whose.
    pub(super) tenant: Arc<str>,
    /// When it came, in engine time.
    pub(super) kept_since: UnixMillis,
    /// The whole message; `None` once it was erased. The row stays until its time: told again, it is not new.
    pub(super) sealed: Option<SealedContents>,
}

/// What a person wrote, as it is told. `Debug` shows neither who wrote nor what.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedMessage {
    /// The same however often the provider tells it.
    pub id: Uuid,
    /// Whose.
    pub tenant: Arc<str>,
    /// The applications that may be told of it, before the tenant's default one.
    pub applications: Vec<Uuid>,
    /// The account that heard it, as `provider/name`.
    pub account: Arc<str>,
    /// The channel.
    pub channel: Channel,
    /// Who wrote.
    pub from: Endpoint,
    /// To whom.
    pub to: Endpoint,
    /// What it says.
    pub content: Vec<Content>,
    /// The message of ours that it quotes, as far as it was known when this came.
    pub quoted: Option<QuotedMessage>,
    /// The provider's id of what it quotes, ours or not.
    pub quoted_id: Option<String>,
    /// The provider's id of it.
    pub provider_id: String,
    /// The provider's own time for it.
    pub provider_time: Option<UnixMillis>,
    /// When it came here, by the wall clock: to be shown.
    pub create_time: UnixMillis,
    /// The same in engine time: how long it is kept.
    pub(super) kept_since: UnixMillis,
}

/// Where the keys are of what persons wrote, the oldest first. What was erased has none, nor has a row that cannot be
/// read.
pub fn inbound_keys(settings: &dyn Settings) -> impl Iterator<Item = Result<KeySlot, StoreError>> {
    all_rows(settings, Kind::InboundMessage).filter_map(|row| match row {
        Ok((_, row)) => InboundRow::decode(&row).ok()?.slot().map(Ok),
        Err(error) => Some(Err(error)),
    })
}

impl HeardMessage {
    /// Its id, if the account that heard it was called so: a UUIDv8, sixteen bytes of a keyed hash over the tenant, the
    /// account and the provider's id, with version and variant set. Without the key nobody finds out by trying who wrote.
    pub(super) fn id_under(&self, keys: &RowKeeper, account: &str) -> Uuid {
        let names = [LABEL, &*self.tenant, account, self.message.id.as_str()];
        Builder::from_custom_bytes(keys.hash(LastingKey::Pseudonyms, &names)).into_uuid()
    }

    /// Whether its names are as long as names are.
    pub(super) fn is_within_bounds(&self) -> bool {
        let InboundMessage { id, from, to, .. } = &self.message;
        let names = [id.as_str(), from.value(), to.id.as_str()];
        names.iter().all(|name| (1..=MOST_NAME_BYTES).contains(&name.len()))
    }
}

impl ReceivedMessage {
    pub(super) fn new(id: Uuid, heard: HeardMessage, now: Moment) -> Self {
        let HeardMessage { tenant, applications, account, to, quoted, message, .. } = heard;
        ReceivedMessage {
            id,
            tenant,
            applications,
            account,
            channel: message.to.channel,
            from: message.from,
            to,
            content: message.content,
            quoted,
            quoted_id: message.quoted_id,
            provider_id: message.id,
            provider_time: message.provider_time,
            create_time: now.wall,
            kept_since: now.engine,
        }
    }

    /// What a person wrote on WhatsApp, for tests of what is told of it.
    #[cfg(test)]
    pub(crate) fn of_a_person(content: Vec<Content>, quoted_id: Option<String>) -> Self {
        let number = |text: &str| Endpoint::Number(text.to_owned());
        ReceivedMessage {
            id: Uuid::nil(),
            tenant: Arc::from("default"),
            applications: Vec::new(),
            account: Arc::from("meta/main"),
            channel: Channel::WHATSAPP,
            from: number("447700900001"),
            to: number("447700900000"),
            content,
            quoted: None,
            quoted_id,
            provider_id: "wamid".to_owned(),
            provider_time: None,
            create_time: UnixMillis(0),
            kept_since: UnixMillis(0),
        }
    }
}

impl InboundRow {
    /// Of a message, sealed. What of it does not fit is left out, from its end.
    pub(super) fn of(
        mut message: ReceivedMessage,
        keys: &RowKeeper,
    ) -> Result<(InboundRow, Endpoint), StoreError> {
        while encode(&message)?.len() > MOST_SEALED_BYTES && message.content.pop().is_some() {}
        let sealed = Some(keys.seal(message.id.as_bytes(), &message)?);
        let ReceivedMessage { id, tenant, kept_since, from, .. } = message;
        Ok((InboundRow { id, tenant, kept_since, sealed }, from))
    }

    /// Where its key is.
    pub(super) fn slot(&self) -> Option<KeySlot> {
        self.sealed.as_ref().map(|sealed| sealed.slot)
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        decode(row, || "an inbound message".to_owned())
    }
}

impl std::fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ReceivedMessage");
        shown.field("id", &self.id).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}
