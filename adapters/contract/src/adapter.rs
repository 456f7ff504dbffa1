//! The trait that every channel implements.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Account, AdapterError, AttemptId, Capabilities, Channel, ErrorKind, Fault, Message, Retry,
    Status, UnixMillis, Violation, check,
};

/// Sends on one channel through one provider.
///
/// Object-safe; comes with its [`Provider`](crate::Provider), and is fixed from then on. Which sender uses
/// which adapter under which account is data, and not its concern.
#[async_trait]
pub trait ChannelAdapter: Send + Sync {
    /// Unique in a service: `vonage-sms`.
    fn name(&self) -> &str;

    /// The name of the provider behind it: `vonage`.
    fn provider(&self) -> &str;

    /// The channel it sends on.
    fn channel(&self) -> &Channel;

    /// What it can do. The same for the adapter's whole life.
    fn capabilities(&self) -> &Capabilities;

    /// Everything that is wrong with a message, found without asking anyone: called when a
    /// workflow is created, so that what cannot be sent is refused at once. `now` is the wall clock,
    /// for what a provider gave up on a certain day.
    ///
    /// Total and pure: it is asked about any message of its channel, and equal calls give equal answers.
    ///
    /// The default checks what [`Capabilities`] declares; an adapter with further rules adds them.
    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        check(self.capabilities(), message)
    }

    /// What is not wrong with a message, and better changed: what its provider will give up soon.
    fn warnings(&self, _message: &Message, _now: UnixMillis) -> Vec<Violation> {
        Vec::new()
    }

    /// Makes one call to the provider for one message.
    ///
    /// - It is only called with a message that [`check`](Self::check) found nothing wrong with.
    /// - It may be called again under the same attempt: after an error that says
    ///   [`Retry::Temporary`], and, where [`Capabilities::idempotent_for`] promises that no second message
    ///   comes of it, after an unknown outcome. Calls of other attempts may run at the same time.
    /// - It ends within [`SendContext::timeout`]; a little later it is dropped where it stands, and counts
    ///   as unknown.
    ///
    /// # Errors
    /// Whether the message may have gone out in spite of the error is said by
    /// [`AdapterError::retry`]; when in doubt it is [`Retry::Unknown`].
    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError>;

    /// Takes an accepted message back, where [`Capabilities::recall`] says that it can: its step's time is
    /// over, and the next channel's message is to go out in its place.
    ///
    /// - It is called once for each provider's id of a message, or not at all; a service that dies meanwhile
    ///   does not ask again.
    /// - It ends within [`SendContext::timeout`]; a little later it is dropped where it stands, and the next
    ///   message goes out whatever came of it.
    ///
    /// # Errors
    /// If nobody knows whether the person will see it.
    async fn recall(
        &self,
        _context: &SendContext<'_>,
        _provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        Err(cannot_recall())
    }
}

/// The answer to a recall that was never declared.
pub fn cannot_recall() -> AdapterError {
    AdapterError::new(
        ErrorKind::InvalidRequest,
        Fault::Content,
        Retry::Permanent,
        "this channel cannot take a message back",
    )
}

/// What a call needs beside the message.
#[derive(Clone, Debug)]
pub struct SendContext<'a> {
    /// Our name for this call, to be handed to the provider wherever it has room.
    pub attempt: AttemptId,
    /// Whose credential to use.
    pub account: &'a Account,
    /// Where the provider should send its receipts, if this service has a public address.
    pub callback_url: Option<&'a str>,
    /// For how long the message is of use from now on: after that another is sent in its place, or
    /// it must not come any more. Where the channel knows a time to live the provider is told, so that
    /// a message does not arrive long after it was given up. `None`: there is no such time.
    pub useful_for: Option<Duration>,
    /// Raw wall clock, for tokens.
    pub now: UnixMillis,
    /// How long the whole call may take.
    pub timeout: Duration,
}

/// A provider took the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id there; where it went out in several parts, the id of each, in their order. 1 to 255 different
    /// ones, each of 1 to 1,024 bytes; others are left out.
    ///
    /// Each part has receipts of its own. The message reached a status when all parts have, and it failed
    /// when one did. Where the call's answer never came nobody knows how many parts there are: a receipt that
    /// names our attempt then shows that the message was accepted, or failed, and no more.
    pub provider_ids: Vec<String>,
    /// The provider's clock when it answered, where it says so; a second is fine enough. Only watermarks
    /// are read by it.
    pub provider_time: Option<UnixMillis>,
}

impl Accepted {
    /// Under one id.
    pub fn under(provider_id: impl Into<String>) -> Self {
        Accepted { provider_ids: vec![provider_id.into()], provider_time: None }
    }
}

/// What became of a recall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// The person will not see it.
    Recalled,
    /// It was too late, and how far the message is, where the provider says so.
    TooLate(Option<Status>),
}
