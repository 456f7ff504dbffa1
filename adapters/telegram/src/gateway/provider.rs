//! The Gateway as a provider: its accounts, its channel, and its reports.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Account, ChannelAdapter, Probe, Provider, SettingsForm, UnixMillis, WebhookOutcome,
    WebhookRequest,
};

use dispatch_kit::codes;

use super::{
    PROVIDER, TelegramAdapter,
    account::{FORM, callback_problem},
    send_result::is_error,
    webhook,
};

/// The Telegram Gateway, ready to be registered.
pub fn provider() -> impl Provider + 'static {
    telegram()
}

pub(crate) fn telegram() -> Telegram {
    Telegram(Arc::new(TelegramAdapter::new()))
}

pub(crate) struct Telegram(pub(crate) Arc<TelegramAdapter>);

#[async_trait]
impl Provider for Telegram {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn settings(&self) -> SettingsForm {
        FORM
    }

    fn check(&self, account: &Account) -> Vec<String> {
        codes::problems(account, is_error, "an error of Telegram's, such as PHONE_NUMBER_INVALID")
    }

    fn check_callback_url(&self, account: &Account, url: Option<&str>) -> Option<String> {
        callback_problem(account, url)
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        vec![Arc::clone(&self.0) as _]
    }

    async fn probe(&self, account: &Account, now: UnixMillis, timeout: Duration) -> Probe {
        self.0.probe(account, now, timeout).await
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
