//! RCS through Vonage's Messages API.
//!
//! Only v1 knows it, so it goes through that whatever the account is set to. Custom content is handed on as
//! it is: cards, buttons and suggestions in RCS's own form. A message can be taken back, which Vonage does on
//! no other channel.

use std::sync::Arc;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, Capabilities, Gateway, Message, Recall, SendContext, UnixMillis,
    Violation,
};
use dispatch_rcs::RcsAdapter;

use crate::VonageGateway;

/// The adapter `vonage-rcs`.
pub(crate) fn adapter(gateway: &Arc<VonageGateway>) -> RcsAdapter {
    RcsAdapter::through(Arc::new(Recalling(Arc::clone(gateway))))
}

/// Vonage's calls, with recall.
struct Recalling(Arc<VonageGateway>);

#[async_trait]
impl Gateway for Recalling {
    fn provider(&self) -> &str {
        self.0.provider()
    }

    fn capabilities(&self, channel: Capabilities) -> Capabilities {
        Capabilities { recall: true, ..self.0.capabilities(channel) }
    }

    fn check(&self, message: &Message, now: UnixMillis) -> Vec<Violation> {
        self.0.check(message, now)
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        self.0.send(context, message).await
    }

    async fn recall(
        &self,
        context: &SendContext<'_>,
        provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        self.0.recall_message(context, provider_id).await
    }
}

#[cfg(test)]
mod tests;
