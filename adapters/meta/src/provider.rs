//! Meta as a provider: its accounts, its channels, and the webhooks that they share.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Account, Channel, ChannelAdapter, ExternalFields, Probe, Provider, SettingsForm, UnixMillis,
    WebhookOutcome, WebhookRequest,
};

use dispatch_kit::codes;

use crate::{MetaGateway, PROVIDER, account::FORM, errors::is_code, messenger, webhook, whatsapp};

/// Meta. An account is an app, with one webhook URL for all its numbers and pages.
pub fn provider() -> impl Provider + 'static {
    meta()
}

pub(crate) fn meta() -> Meta {
    let gateway = Arc::new(MetaGateway::default());
    Meta {
        gateway: Arc::clone(&gateway),
        channels: vec![
            Arc::new(whatsapp::adapter(&gateway)),
            Arc::new(messenger::adapter(&gateway)),
        ],
    }
}

pub(crate) struct Meta {
    gateway: Arc<MetaGateway>,
    channels: Vec<Arc<dyn ChannelAdapter>>,
}

#[async_trait]
impl Provider for Meta {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn settings(&self) -> SettingsForm {
        FORM
    }

    fn check(&self, account: &Account) -> Vec<String> {
        const WANTED: &str = "a code of Meta's, with a subcode or without: 131049, or 10/2018278";
        codes::problems(account, is_code, WANTED)
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        self.channels.clone()
    }

    /// A number or page that a tenant brought sends under its own token. The app's secret signs for all of them, so
    /// no sender need be read from a webhook.
    fn external_fields(&self, _channel: &Channel) -> Option<ExternalFields> {
        Some(ExternalFields { access_token: "access_token" })
    }

    fn webhook(
        &self,
        request: &WebhookRequest<'_>,
        account: &Account,
        _now: UnixMillis,
    ) -> WebhookOutcome {
        webhook::read(request, account)
    }

    async fn probe(&self, account: &Account, now: UnixMillis, timeout: Duration) -> Probe {
        self.gateway.probe(account, now, timeout).await
    }
}
