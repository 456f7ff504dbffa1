//! The Bot API as a provider: its accounts and its channel.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Account, ChannelAdapter, Probe, Provider, Setting, SettingRule, SettingsForm, UnixMillis,
};
use dispatch_kit::{
    codes::{self, CODES},
    http::{HttpRequest, Method},
};

use super::{
    PROVIDER, TelegramBotAdapter,
    adapter::{DEFAULT_BASE_URL, is_token, url},
};

const FORM: SettingsForm = SettingsForm(&[
    Setting::secret("bot_token", "the bot's token, as BotFather gave it").required().of(
        SettingRule::Custom { wanted: "a bot's token, such as 123456789:AA…", admits: is_token },
    ),
    CODES,
    Setting::plain("base_url", "where the API is").or(DEFAULT_BASE_URL).of(SettingRule::Url),
]);

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
        FORM
    }

    fn check(&self, account: &Account) -> Vec<String> {
        let is_code = |text: &str| text.len() == 3 && text.starts_with('4');
        codes::problems(account, is_code, "an error code of the Bot API's, such as 403")
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        vec![Arc::clone(&self.0) as _]
    }

    /// Who the bot is, asked by `getMe`.
    async fn probe(&self, account: &Account, now: UnixMillis, timeout: Duration) -> Probe {
        let Some(url) = url(account, "getMe") else {
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
}
