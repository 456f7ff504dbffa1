//! The trait that every channel implements.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Account, AdapterError, AttemptId, Capabilities, Channel, Clock, ErrorKind, Fault, InboundSink,
    Message, Retry, UnixMillis, Violation, WebhookOutcome, WebhookRequest, check,
};

/// Sends on one channel through one provider, and reads that provider's webhooks.
///
/// Object-safe; registered in a [`Registry`](crate::Registry) when the service starts, and then
/// fixed. Which sender uses which adapter under which account is data, and not its concern.
#[async_trait]
pub trait ChannelAdapter: Send + Sync {
    /// Unique in a service: `vonage-sms`.
    fn name(&self) -> &str;

    /// The provider behind it: `vonage`. Adapters of one provider read each other's webhooks,
    /// because a provider calls one URL for all its channels.
    fn provider(&self) -> &str;

    /// The channel it sends on.
    fn channel(&self) -> &Channel;

    /// What it can do. The same for the adapter's whole life.
    fn capabilities(&self) -> &Capabilities;

    /// Everything that is wrong with a message, found without asking anyone: called when a
    /// workflow is created, so that what cannot be sent is refused at once. `now` is the wall clock,
    /// for what a provider gave up on a certain day.
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
    /// # Errors
    /// Whether the message may have gone out in spite of the error is said by
    /// [`AdapterError::retry`]; when in doubt it is [`Retry::Unknown`].
    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError>;

    /// Checks and reads a provider's call. Pure: no I/O, and the time is passed in (raw wall
    /// clock, for the age of signatures).
    fn webhook(
        &self,
        request: &WebhookRequest<'_>,
        account: &Account,
        now: UnixMillis,
    ) -> WebhookOutcome;

    /// Takes an accepted message back, where [`Capabilities::recall`] says that it can.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    async fn recall(
        &self,
        _context: &SendContext<'_>,
        _provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        Err(AdapterError::new(
            ErrorKind::InvalidRequest,
            Fault::Content,
            Retry::Permanent,
            "this channel cannot take a message back",
        ))
    }

    /// Runs for as long as the service does; for adapters that keep a connection of their own.
    /// Returns soon after `shutdown` is ready.
    async fn run(&self, _sink: Arc<dyn InboundSink>, _clock: Arc<dyn Clock>, shutdown: Shutdown) {
        shutdown.await;
    }
}

/// Ready once the service stops.
pub type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

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
    /// Its id there.
    pub provider_id: String,
}

/// What became of a recall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// The person will not see it.
    Recalled,
    /// It was too late.
    TooLate,
}
