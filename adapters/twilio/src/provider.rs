//! Twilio as a provider: its accounts, its four channels, and the webhooks that they share.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Account, ChannelAdapter, Gateway, Probe, Provider, SettingsForm, UnixMillis, WebhookOutcome,
    WebhookRequest,
};
use dispatch_kit::codes;
use dispatch_mms::MmsAdapter;
use dispatch_rcs::RcsAdapter;
use dispatch_sms::SmsAdapter;
use dispatch_whatsapp::WhatsAppAdapter;

use crate::{
    PROVIDER, TwilioAccount, TwilioGateway, account::FORM, callback, send_result::code_of, webhook,
};

/// Twilio, with its four channels. An account has one webhook URL for all of them.
pub fn provider() -> impl Provider + 'static {
    twilio()
}

pub(crate) fn twilio() -> Twilio {
    let gateway = Arc::new(TwilioGateway::default());
    let through = || Arc::clone(&gateway) as Arc<dyn Gateway>;
    Twilio {
        channels: vec![
            Arc::new(SmsAdapter::through(through())),
            Arc::new(MmsAdapter::through(through())),
            Arc::new(WhatsAppAdapter::through(through())),
            Arc::new(RcsAdapter::through(through())),
        ],
        gateway,
    }
}

pub(crate) struct Twilio {
    gateway: Arc<TwilioGateway>,
    channels: Vec<Arc<dyn ChannelAdapter>>,
}

#[async_trait]
impl Provider for Twilio {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn settings(&self) -> SettingsForm {
        FORM
    }

    fn check(&self, account: &Account) -> Vec<String> {
        let mut problems: Vec<_> = TwilioAccount::check(account).err().into_iter().collect();
        let is_code = |text: &str| code_of(text).is_some();
        problems.extend(codes::problems(account, is_code, "a code of Twilio's: up to six digits"));
        problems
    }

    fn check_callback_url(&self, account: &Account, url: Option<&str>) -> Option<String> {
        callback::problem(account, url)
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
        _now: UnixMillis,
    ) -> WebhookOutcome {
        webhook::read(request, account)
    }
}
