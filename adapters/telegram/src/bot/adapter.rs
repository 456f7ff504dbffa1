//! The channel `telegram_bot`, through the Bot API alone.
//!
//! An account's bot is one sender. Where that has a name, because people are heard who write to it, nothing goes out
//! under another: their STOP would not hold it back.

use std::fmt;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, AddressForm, AddressPattern, Capabilities, Channel, ChannelAdapter,
    ContentKind, Correlation, Endpoint, ErrorKind, Fault, Limits, Message, OptionsForm, Retry,
    SendContext, Status,
};
use dispatch_kit::{
    codes::Codes,
    http::{HttpClient, HttpRequest},
};
use serde_json::json;

use super::{PROVIDER, TELEGRAM_BOT, account, ids, send_result};

/// A chat's id: a person's, or with a minus sign a group's.
static CHAT: AddressPattern = AddressPattern {
    name: "chat_id",
    wanted: "a chat's id: up to 19 digits, with - before a group's",
    admits: |endpoint| matches!(endpoint, Endpoint::Id(id) if ids::is_chat(id)),
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
            condition_statuses: vec![Status::Submitted, Status::Replied],
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
            ids_name_recipients: false,
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
        let own = account::sender(context.account);
        if own.is_some_and(|own| own != message.from.value()) {
            let problem = "the account's bot is another sender, as its setting sender says";
            return Err(permanent(ErrorKind::Forbidden, Fault::Account, problem));
        }
        let Some(url) = account::url(context.account, "sendMessage") else {
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
