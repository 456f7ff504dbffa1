//! WhatsApp as a channel: its own rules, and a provider's gateway beneath them.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, Capabilities, Channel, ChannelAdapter, Gateway, Message, Recall,
    SendContext, UnixMillis, Violation, cannot_recall, check,
};

use crate::{capabilities, rules};

/// Sends WhatsApp through one provider.
pub struct WhatsAppAdapter {
    name: String,
    capabilities: Capabilities,
    gateway: Arc<dyn Gateway>,
}

impl WhatsAppAdapter {
    /// An adapter that sends through `gateway`, named after its provider: `vonage-whatsapp`.
    pub fn through(gateway: Arc<dyn Gateway>) -> Self {
        let name = format!("{}-whatsapp", gateway.provider());
        let capabilities = gateway.capabilities(&Channel::WHATSAPP, capabilities());
        WhatsAppAdapter { name, capabilities, gateway }
    }
}

#[async_trait]
impl ChannelAdapter for WhatsAppAdapter {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider(&self) -> &str {
        self.gateway.provider()
    }

    fn channel(&self) -> &Channel {
        &Channel::WHATSAPP
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self, message: &Message, now: UnixMillis) -> Vec<Violation> {
        let mut found = check(&self.capabilities, message);
        rules(&self.capabilities, message, &mut found);
        found.extend(self.gateway.check(message, now));
        found
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        self.gateway.send(context, message).await
    }

    async fn recall(
        &self,
        context: &SendContext<'_>,
        provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        if !self.capabilities.recall {
            return Err(cannot_recall());
        }
        self.gateway.recall(context, provider_id).await
    }
}

impl fmt::Debug for WhatsAppAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhatsAppAdapter").field("name", &self.name).finish_non_exhaustive()
    }
}
