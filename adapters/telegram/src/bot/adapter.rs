//! The channel `telegram_bot`, through the Bot API alone.

use std::fmt;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, AddressPattern, Capabilities, Channel,
    ChannelAdapter, ContentKind, Correlation, Endpoint, ErrorKind, Fault, Limits, Message,
    OptionsForm, Retry, SendContext, Status,
};
use dispatch_kit::{
    codes::Codes,
    http::{HttpClient, HttpRequest},
};
use serde_json::json;

use super::{PROVIDER, send_result};

pub(crate) const DEFAULT_BASE_URL: &str = "https://api.telegram.org";

static TELEGRAM_BOT: Channel = Channel::named("telegram_bot");

/// A chat's id: a person's, or with a minus sign a group's.
static CHAT: AddressPattern = AddressPattern {
    name: "chat_id",
    wanted: "a chat's id: up to 19 digits, with - before a group's",
    admits: |endpoint| matches!(endpoint, Endpoint::Id(id) if is_chat(id)),
};

/// Sends by a bot. What an account has to hold says [`provider`](super::provider)'s form.
pub struct TelegramBotAdapter {
    capabilities: Capabilities,
    pub(super) client: HttpClient,
}

impl TelegramBotAdapter {
    /// An adapter with connections of its own.
    pub fn new() -> Self {
        let capabilities = Capabilities {
            condition_statuses: vec![Status::Submitted],
            content: vec![ContentKind::Text, ContentKind::Code],
            captions: vec![],
            limits: Limits { text_chars: 4_096, caption_chars: 0, url_bytes: 0 },
            to: vec![AddressForm::Pattern(&CHAT)],
            from: vec![AddressForm::Id],
            idempotent_for: None,
            correlation: Correlation::ProviderId,
            options: OptionsForm::NONE,
            recall: false,
            parts: false,
            watermarks: false,
        };
        TelegramBotAdapter { capabilities, client: HttpClient::new() }
    }
}

impl Default for TelegramBotAdapter {
    fn default() -> Self {
        TelegramBotAdapter::new()
    }
}

#[async_trait]
impl ChannelAdapter for TelegramBotAdapter {
    fn name(&self) -> &str {
        "telegram-bot"
    }

    fn provider(&self) -> &str {
        PROVIDER
    }

    fn channel(&self) -> &Channel {
        &TELEGRAM_BOT
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let permanent = |kind, fault, problem: &str| {
            AdapterError::new(kind, fault, Retry::Permanent, problem.to_owned())
        };
        let Some(text) = message.content.spoken() else {
            let problem = "only texts are sent by a bot";
            return Err(permanent(ErrorKind::InvalidRequest, Fault::Content, problem));
        };
        let Some(url) = url(context.account, "sendMessage") else {
            let problem = "secret bot_token is missing";
            return Err(permanent(ErrorKind::Unauthorized, Fault::Account, problem));
        };
        let body = json!({ "chat_id": message.to.value(), "text": text });
        let body = body.to_string().into_bytes();
        let call = HttpRequest { body, ..HttpRequest::json(&url, context) };
        send_result::decode(&self.client.call(call).await?, Codes::of(context.account))
    }
}

impl fmt::Debug for TelegramBotAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TelegramBotAdapter")
    }
}

/// Where a method is called: the token stands in the path. `None` without one.
pub(crate) fn url(account: &Account, method: &str) -> Option<String> {
    let base = account.setting("base_url").unwrap_or(DEFAULT_BASE_URL);
    let token = account.secret("bot_token").filter(|token| is_token(token))?;
    Some(format!("{}/bot{token}/{method}", base.trim().trim_end_matches('/')))
}

/// `123456789:AA…`: what may stand in a path.
pub(crate) fn is_token(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.split_once(':').is_some_and(|(bot, secret)| {
        (1..=20).contains(&bot.len())
            && bot.bytes().all(|byte| byte.is_ascii_digit())
            && (1..=128).contains(&secret.len())
            && secret.bytes().all(is_known)
    })
}

fn is_chat(id: &str) -> bool {
    let digits = id.strip_prefix('-').unwrap_or(id);
    (1..=19).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}
