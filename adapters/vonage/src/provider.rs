//! Vonage as a provider: its accounts, its six channels, and the webhooks that they share.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Account, ChannelAdapter, Probe, Provider, SettingsForm, UnixMillis, WebhookOutcome,
    WebhookRequest,
};

use dispatch_kit::codes;

use crate::{
    PROVIDER, VonageAccount, VonageGateway, account::FORM, messenger, mms, rcs,
    send_result::is_code, sms, viber, webhook, whatsapp,
};

/// Vonage, with its six channels. An account has one webhook URL for all of them.
pub fn provider() -> impl Provider + 'static {
    vonage()
}

pub(crate) fn vonage() -> Vonage {
    let gateway = Arc::new(VonageGateway::default());
    Vonage {
        gateway: Arc::clone(&gateway),
        channels: vec![
            Arc::new(sms::adapter(&gateway)),
            Arc::new(mms::adapter(&gateway)),
            Arc::new(messenger::adapter(&gateway)),
            Arc::new(whatsapp::adapter(&gateway)),
            Arc::new(viber::adapter(&gateway)),
            Arc::new(rcs::adapter(&gateway)),
        ],
    }
}

pub(crate) struct Vonage {
    gateway: Arc<VonageGateway>,
    channels: Vec<Arc<dyn ChannelAdapter>>,
}

#[async_trait]
impl Provider for Vonage {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn settings(&self) -> SettingsForm {
        FORM
    }

    fn check(&self, account: &Account) -> Vec<String> {
        let mut problems: Vec<_> = VonageAccount::check(account).err().into_iter().collect();
        const WANTED: &str = "a code of Vonage's: up to six digits, or a name such as low-balance";
        problems.extend(codes::problems(account, is_code, WANTED));
        problems
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        self.channels.clone()
    }

    async fn probe(&self, account: &Account, now: UnixMillis, timeout: Duration) -> Probe {
        self.gateway.probe(account, now, timeout).await
    }

    fn webhook(
        &self,
        request: &WebhookRequest<'_>,
        account: &Account,
        now: UnixMillis,
    ) -> WebhookOutcome {
        webhook::read(request, account, now)
    }
}
