//! A provider's half of an adapter.

use async_trait::async_trait;

use crate::{
    Accepted, AdapterError, Capabilities, Channel, Message, Recall, SendContext, UnixMillis,
    Violation, adapter::cannot_recall,
};

/// Makes one provider's calls for one channel, beneath the channel's own rules.
///
/// The crates of the channels (`dispatch-sms`, `dispatch-viber`, …) hold what a channel is: which content
/// and addresses it takes, what a message of it must keep to, which statuses it may ever tell. An adapter of
/// theirs is made through a gateway, which holds what the provider is: how a call is
/// written and what its answers mean. A channel that is one provider's alone needs no gateway; it implements
/// [`ChannelAdapter`](crate::ChannelAdapter) itself.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Whose calls it makes: the name of its [`Provider`](crate::Provider).
    fn provider(&self) -> &str;

    /// What of a channel goes through this provider: `can` is all that the channel has.
    ///
    /// - It leaves out what does not go through, and adds no content and no status. A form of address that
    ///   only this provider has, such as its own id of a sender, it adds.
    /// - Only a provider can promise idempotence, correlation by our id and recall: `can` has none of them.
    /// - Asked once, when the adapter is made.
    fn capabilities(&self, _channel: &Channel, can: Capabilities) -> Capabilities {
        can
    }

    /// What this provider would refuse beyond the channel's rules.
    ///
    /// Total and pure: it is asked about messages that are wrong otherwise, too, and asks nobody.
    fn check(&self, _message: &Message, _now: UnixMillis) -> Vec<Violation> {
        Vec::new()
    }

    /// Makes one call for one message, under the same rules as
    /// [`ChannelAdapter::send`](crate::ChannelAdapter::send): only of a message that was found right, perhaps
    /// again under its attempt, beside others, and within its timeout.
    ///
    /// # Errors
    /// As [`ChannelAdapter::send`](crate::ChannelAdapter::send).
    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError>;

    /// Takes an accepted message back, where it declares that it can, under the same rules as
    /// [`ChannelAdapter::recall`](crate::ChannelAdapter::recall).
    ///
    /// # Errors
    /// As [`ChannelAdapter::recall`](crate::ChannelAdapter::recall).
    async fn recall(
        &self,
        _context: &SendContext<'_>,
        _provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        Err(cannot_recall())
    }
}
