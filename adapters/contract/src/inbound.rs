//! What providers tell afterwards.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, ChannelSender, Content, Endpoint, Failure, Status, UnixMillis};

/// Something a provider told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inbound {
    /// How an attempt fared.
    Receipt(Receipt),
    /// A person wrote to one of our senders.
    Message(InboundMessage),
    /// How everything fared that was sent in a conversation until a certain time.
    Watermark(Watermark),
    /// A person wants no messages from a sender any more, or wants them again.
    OptOut(OptOut),
}

/// How an attempt fared, later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Our id of the attempt, where the provider echoes it.
    pub attempt: Option<AttemptId>,
    /// The provider's id of the message; of one in several parts, the id of the part that it is about.
    pub provider_id: Option<String>,
    /// What it says.
    pub report: Report,
    /// The provider's own time for it. Recorded; it decides nothing.
    pub provider_time: Option<UnixMillis>,
    /// The provider's error code, with a failure.
    pub code: Option<String>,
    /// One sentence of the provider's, with a failure; no personal data.
    pub detail: Option<String>,
    /// What the provider charges, where it says so.
    pub usage: Option<Usage>,
}

/// How everything fared that was sent in a conversation until a certain time: all that Messenger tells of
/// what was read.
///
/// It counts for messages of adapters that declare [`Capabilities::watermarks`](crate::Capabilities::watermarks),
/// that their provider accepted, and whose call began at or before `until`. One whose outcome is unknown it
/// does not settle, and of one whose call's answer never came it tells nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Our side of the conversation, as messages name their sender.
    pub sender: ChannelSender,
    /// The other side, as messages name their recipient.
    pub recipient: Endpoint,
    /// What all of it reached: [`Status::Delivered`] or [`Status::Read`].
    pub status: Status,
    /// Until when, by the provider's clock. It is compared with ours by what the provider's answers say
    /// ([`Accepted::provider_time`](crate::Accepted::provider_time)).
    pub until: UnixMillis,
}

/// A person wants no messages from a sender any more, or wants them again: `STOP` and `START`, or what a provider
/// tells of its own list.
///
/// It holds for the messages of that sender that go out under the account that it was heard by. No call begins
/// after it is durable; what is out already is not touched. The last word that comes counts, so that what is told
/// again changes nothing, unless the person said otherwise in between.
///
/// Only what a person said of *all* messages of the sender belongs here: one who wants no advertisements still wants
/// the code that they asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptOut {
    /// From whom, as messages name their sender.
    pub sender: ChannelSender,
    /// Who, as messages name their recipient.
    pub recipient: Endpoint,
    /// Whether they want messages again: then what they said before counts no more.
    pub is_lifted: bool,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The message reached this status.
    Reached(Status),
    /// The message will advance no further.
    Failed(Failure),
}

/// What a provider charges for a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// ISO 4217, `EUR`.
    pub currency: String,
    /// A decimal text, `0.0333`.
    pub price: String,
}

/// What a person wrote to one of our senders.
///
/// It is kept for whoever sends from there, once for each [`id`](Self::id). Where it quotes a message of ours, that one
/// is thereby [`Replied`](Status::Replied).
///
/// A person's STOP is one, too, beside the [`OptOut`] that it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundMessage {
    /// The provider's id of it. What the account hears under it again is the same message.
    pub id: String,
    /// Who wrote, as messages name their recipient.
    pub from: Endpoint,
    /// To whom, as messages name their sender.
    pub to: ChannelSender,
    /// What it says, in its order: a text, files, a place. What has no kind of its own, as a button that was tapped or a
    /// file that must be asked for by an id, is [`Content::Custom`], in the provider's words. Empty where
    /// nothing of it can be told.
    pub content: Vec<Content>,
    /// The provider's id of the message of ours that it quotes, where it says so.
    pub quoted_id: Option<String>,
    /// Our id of that attempt, where the provider echoes it.
    pub quoted_attempt: Option<AttemptId>,
    /// The provider's own time for it.
    pub provider_time: Option<UnixMillis>,
}

/// Where an adapter with a connection of its own hands over what it hears.
#[async_trait]
pub trait InboundSink: Send + Sync {
    /// Returns once all of it is durable; only then is it acknowledged to the provider.
    ///
    /// - It waits while the service has no room.
    /// - `account` is the name of the account that it was heard by: it counts only for messages that went out
    ///   under that.
    /// - It may be called by several tasks at once. What is handed over again changes nothing.
    ///
    /// # Errors
    /// [`SinkClosed`] if the service is stopping, or cannot store it; nothing of it was taken, and the adapter
    /// should leave it unacknowledged at the provider.
    async fn deliver(&self, account: &str, inbound: Vec<Inbound>) -> Result<(), SinkClosed>;
}

/// The service is stopping and takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkClosed;

impl std::fmt::Display for SinkClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the service is stopping and takes no receipts")
    }
}

impl std::error::Error for SinkClosed {}
