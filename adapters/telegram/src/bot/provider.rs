//! The Bot API as a provider: its accounts and its channel.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Account, ChannelAdapter, Clock, InboundSink, Probe, Provider, ProviderAccounts, SettingsForm,
    Shutdown, UnixMillis, WebhookOutcome, WebhookRequest,
};
use dispatch_kit::http::{HttpRequest, Method};

use super::{PROVIDER, TelegramBotAdapter, account, subscription, webhook};

/// A bot on Telegram, ready to be registered.
pub fn provider() -> impl Provider + 'static {
    telegram_bot()
}

pub(crate) fn telegram_bot() -> TelegramBot {
    TelegramBot(Arc::new(TelegramBotAdapter::new()))
}

pub(crate) struct TelegramBot(pub(crate) Arc<TelegramBotAdapter>);

#[async_trait]
impl Provider for TelegramBot {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn settings(&self) -> SettingsForm {
        account::FORM
    }

    fn check(&self, account: &Account) -> Vec<String> {
        account::problems(account)
    }

    fn check_callback_url(&self, account: &Account, url: Option<&str>) -> Option<String> {
        account::callback_problem(account, url)
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        vec![Arc::clone(&self.0) as _]
    }

    /// Who the bot is, asked by `getMe`.
    async fn probe(&self, account: &Account, now: UnixMillis, timeout: Duration) -> Probe {
        let Some(url) = account::url(account, "getMe") else {
            return Probe::CannotBeAsked("secret bot_token is missing".to_owned());
        };
        let call = HttpRequest {
            method: Method::GET,
            url: &url,
            authorization: None,
            content_type: "application/json",
            headers: &[],
            body: Vec::new(),
            timeout,
            now,
        };
        match self.0.client.call(call).await.map(|answer| answer.status) {
            Ok(200..=299) => Probe::Works,
            // No path is there for a token that was never given out.
            Ok(status @ (401 | 404)) => {
                Probe::Refused(format!("the provider answered HTTP {status}"))
            }
            Ok(status) => Probe::CannotBeAsked(format!("the provider answered HTTP {status}")),
            Err(error) => Probe::CannotBeAsked(error.detail),
        }
    }

    fn webhook(
        &self,
        request: &WebhookRequest<'_>,
        account: &Account,
        _now: UnixMillis,
    ) -> WebhookOutcome {
        webhook::read(request, account)
    }

    /// Tells Telegram where updates go.
    async fn run(
        &self,
        accounts: Arc<dyn ProviderAccounts>,
        _sink: Arc<dyn InboundSink>,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) {
        tokio::select! {
            () = shutdown => {}
            () = subscription::keep(&self.0.client, &*accounts, &*clock) => {}
        }
    }
}
