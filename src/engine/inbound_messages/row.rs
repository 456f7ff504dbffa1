//! A message as it was heard, and as it is kept.

use std::sync::Arc;

use dispatch_contract::{AttemptId, Channel, Content, Endpoint, InboundMessage, UnixMillis};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::store::{StoreError, decode};

const LABEL: &[u8] = b"dispatch inbound message";
/// The longest address and the longest id of a provider's that are kept, in bytes; none of ours is longer.
const MOST_NAME_BYTES: usize = 1024;

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
    /// The application that is told of it before others; `None`: the tenant's default one.
    pub application: Option<Uuid>,
    /// The account that heard it, as `provider/name`.
    pub account: Arc<str>,
    /// To whom it is, as messages name their sender.
    pub to: Endpoint,
    /// The message of ours that it quotes.
    pub quoted: Option<QuotedMessage>,
    /// What was told.
    pub message: InboundMessage,
}

/// What a person wrote, as it is kept. `Debug` shows neither who wrote nor what.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedMessage {
    /// The same however often the provider tells it.
    pub id: Uuid,
    /// Whose.
    pub tenant: Arc<str>,
    /// The application that is told of it before others; `None`: the tenant's default one.
    pub application: Option<Uuid>,
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
    /// Whether it said more than is kept.
    pub is_cut: bool,
    /// The message of ours that it quotes.
    pub quoted: Option<QuotedMessage>,
    /// The provider's id of it.
    pub provider_id: String,
    /// The provider's own time for it.
    pub provider_time: Option<UnixMillis>,
    /// When it came here, by the wall clock.
    pub create_time: UnixMillis,
}

impl HeardMessage {
    /// Its id: a UUIDv8, the first sixteen bytes of SHA-256 over a label, the tenant, the account and the provider's
    /// id, each behind its length, with version and variant set.
    pub(super) fn id(&self) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(LABEL);
        for name in [&*self.tenant, &*self.account, self.message.id.as_str()] {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// Whether its names are as long as names are.
    pub(super) fn is_within_bounds(&self) -> bool {
        let InboundMessage { id, from, to, .. } = &self.message;
        let names = [id.as_str(), from.value(), to.id.as_str()];
        names.iter().all(|name| (1..=MOST_NAME_BYTES).contains(&name.len()))
    }
}

impl ReceivedMessage {
    pub(super) fn new(id: Uuid, heard: HeardMessage, now: UnixMillis) -> Self {
        let HeardMessage { tenant, application, account, to, quoted, message } = heard;
        ReceivedMessage {
            id,
            tenant,
            application,
            account,
            channel: message.to.channel,
            from: message.from,
            to,
            content: message.content,
            is_cut: false,
            quoted,
            provider_id: message.id,
            provider_time: message.provider_time,
            create_time: now,
        }
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
