//! Twilio's calls for any channel: codec, credential and client put together.

use std::fmt;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use dispatch_contract::{
    Accepted, AdapterError, Capabilities, Channel, Content, ErrorKind, Fault, Field, Gateway,
    Message, Recall, Retry, SendContext, UnixMillis, Violation,
};
use dispatch_kit::{
    codes::Codes,
    http::{HttpClient, HttpRequest},
};

use super::{
    PROVIDER, TwilioAccount, account::is_sid, channels, encode::encode, form, options::TEMPLATE,
    send_result,
};

/// Sends through Twilio's `Messages`, on every channel that a message may be of. What an account has to
/// hold says [`TwilioAccount`].
#[derive(Default)]
pub struct TwilioGateway {
    pub(crate) client: HttpClient,
}

#[async_trait]
impl Gateway for TwilioGateway {
    fn provider(&self) -> &str {
        PROVIDER
    }

    fn capabilities(&self, channel: &Channel, can: Capabilities) -> Capabilities {
        channels::capabilities(channel, can)
    }

    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        match &message.content {
            Content::Template { name, .. } if !is_sid(name, "HX") => {
                vec![Violation::new(Field::Within("template.name"), format!("must be {TEMPLATE}"))]
            }
            Content::Text(_)
            | Content::Image(_)
            | Content::Audio(_)
            | Content::Video(_)
            | Content::File(_)
            | Content::Location { .. }
            | Content::Template { .. }
            | Content::Code { .. }
            | Content::Custom(_) => Vec::new(),
        }
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let account = TwilioAccount::read(context.account).map_err(wrong_account)?;
        let url = format!("{}.json", account.messages_url());
        let body = encode(context, &account, message);
        let answer = self.post(context, &account, &url, body).await?;
        send_result::decode(&answer, Codes::of(context.account))
    }

    async fn recall(
        &self,
        context: &SendContext<'_>,
        provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        let account = TwilioAccount::read(context.account).map_err(wrong_account)?;
        let url = format!("{}/{provider_id}.json", account.messages_url());
        let body = "Status=canceled".to_owned();
        send_result::decode_recall(&self.post(context, &account, &url, body).await?)
    }
}

impl TwilioGateway {
    async fn post(
        &self,
        context: &SendContext<'_>,
        account: &TwilioAccount<'_>,
        url: &str,
        body: String,
    ) -> Result<dispatch_kit::http::HttpResponse, AdapterError> {
        let call = HttpRequest {
            authorization: Some(&authorization(account)),
            content_type: form::CONTENT_TYPE,
            body: body.into_bytes(),
            ..HttpRequest::json(url, context)
        };
        self.client.call(call).await
    }
}

impl fmt::Debug for TwilioGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TwilioGateway")
    }
}

/// The `Authorization` header of a call.
pub(crate) fn authorization(account: &TwilioAccount<'_>) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", account.user, account.password)))
}

fn wrong_account(problem: String) -> AdapterError {
    AdapterError::new(ErrorKind::Unauthorized, Fault::Account, Retry::Permanent, problem)
}
