//! The channel `telegram`, through the Gateway alone.

use std::fmt;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, AddressForm, AddressPattern, Capabilities, Channel, ChannelAdapter,
    Content, ContentKind, Correlation, Endpoint, ErrorKind, Fault, Field, Limits, Message,
    OptionsForm, Recall, Retry, SendContext, Status, UnixMillis, Violation, check,
};
use dispatch_kit::{
    codes::Codes,
    http::{HttpClient, HttpRequest, HttpResponse},
};
use serde_json::{Value, json};

use super::{PROVIDER, TelegramAccount, encode, send_result};

static TELEGRAM: Channel = Channel::named("telegram");

/// A public channel's name on Telegram.
static USERNAME: AddressPattern = AddressPattern {
    name: "username",
    wanted: "the name of a verified Telegram channel, without @: a letter and 4 to 31 letters, digits and _; \
             VerificationCodes is Telegram's own",
    admits: |endpoint| matches!(endpoint, Endpoint::Id(id) if is_username(id)),
};

/// Sends codes through the Gateway. What an account has to hold says [`provider`](super::provider)'s form.
pub struct TelegramAdapter {
    capabilities: Capabilities,
    pub(super) client: HttpClient,
}

impl TelegramAdapter {
    /// An adapter with connections of its own.
    pub fn new() -> Self {
        let capabilities = Capabilities {
            condition_statuses: vec![Status::Submitted, Status::Delivered, Status::Read],
            content: vec![ContentKind::Code],
            captions: vec![],
            // Of a code's sentence, which is not sent.
            limits: Limits { text_chars: 1_000, caption_chars: 0, url_bytes: 0 },
            to: vec![AddressForm::E164],
            from: vec![AddressForm::Pattern(&USERNAME)],
            idempotent_for: None,
            correlation: Correlation::AttemptId,
            options: OptionsForm::NONE,
            recall: true,
            parts: false,
            watermarks: false,
            ids_name_recipients: false,
        };
        TelegramAdapter { capabilities, client: HttpClient::new() }
    }

    async fn call(
        &self,
        context: &SendContext<'_>,
        method: &str,
        body: &Value,
    ) -> Result<HttpResponse, AdapterError> {
        let account = account(context)?;
        let (url, authorization) = (account.url(method), account.authorization());
        let call = HttpRequest {
            authorization: Some(&authorization),
            body: body.to_string().into_bytes(),
            ..HttpRequest::json(&url, context)
        };
        self.client.call(call).await
    }

    /// The id of a request that Telegram granted before anything was sent under it.
    async fn ability(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<String, AdapterError> {
        let body = json!({ "phone_number": encode::phone_number(message) });
        let codes = Codes::of(context.account);
        let answer = self.call(context, "checkSendAbility", &body).await;
        answer.and_then(|answer| send_result::request_id(&answer, codes)).map_err(|error| {
            match error.retry {
                // Whatever became of the question, no message went out.
                Retry::Unknown => AdapterError { retry: Retry::Temporary { after: None }, ..error },
                Retry::Permanent | Retry::Temporary { .. } => error,
            }
        })
    }
}

impl Default for TelegramAdapter {
    fn default() -> Self {
        TelegramAdapter::new()
    }
}

#[async_trait]
impl ChannelAdapter for TelegramAdapter {
    fn name(&self) -> &str {
        "telegram-gateway"
    }

    fn provider(&self) -> &str {
        PROVIDER
    }

    fn channel(&self) -> &Channel {
        &TELEGRAM
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        let mut found = check(&self.capabilities, message);
        if let Content::Code { code, .. } = &message.content
            && !is_code(code)
        {
            let problem = "must be 4 to 8 digits: Telegram sends no other codes";
            found.push(Violation::new(Field::Within("code.code"), problem));
        }
        found
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        if !account(context)?.checks_ability {
            return self.send_under(context, message, None).await;
        }
        // Two calls in the time of one.
        let half = SendContext { timeout: context.timeout / 2, ..context.clone() };
        let request_id = self.ability(&half, message).await?;
        self.send_under(&half, message, Some(&request_id)).await
    }

    async fn recall(
        &self,
        context: &SendContext<'_>,
        provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        let half = SendContext { timeout: context.timeout / 2, ..context.clone() };
        let body = json!({ "request_id": provider_id });
        send_result::heard(&self.call(&half, "revokeVerificationMessage", &body).await?)?;
        send_result::recall(&self.call(&half, "checkVerificationStatus", &body).await?)
    }
}

impl TelegramAdapter {
    async fn send_under(
        &self,
        context: &SendContext<'_>,
        message: &Message,
        request_id: Option<&str>,
    ) -> Result<Accepted, AdapterError> {
        let Some(body) = encode::encode(context, message, request_id) else {
            let problem = "only codes are sent by the Gateway";
            return Err(permanent(ErrorKind::InvalidRequest, Fault::Content, problem));
        };
        let answer = self.call(context, "sendVerificationMessage", &body).await?;
        send_result::accepted(&answer, Codes::of(context.account))
    }
}

impl fmt::Debug for TelegramAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TelegramAdapter")
    }
}

fn account<'a>(context: &SendContext<'a>) -> Result<TelegramAccount<'a>, AdapterError> {
    TelegramAccount::read(context.account).ok_or_else(|| {
        permanent(ErrorKind::Unauthorized, Fault::Account, "secret access_token is missing")
    })
}

fn permanent(kind: ErrorKind, fault: Fault, problem: &str) -> AdapterError {
    AdapterError::new(kind, fault, Retry::Permanent, problem)
}

fn is_code(code: &str) -> bool {
    (4..=8).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_username(text: &str) -> bool {
    (5..=32).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
