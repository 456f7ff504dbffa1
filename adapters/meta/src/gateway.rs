//! Meta's calls for any channel: codec, credential and client put together.

use std::fmt;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, Capabilities, Channel, ErrorKind, Fault, Gateway, Message, Retry,
    SendContext, UnixMillis, Violation,
};
use dispatch_kit::{
    codes::Codes,
    http::{HttpClient, HttpRequest},
};

use crate::{MetaAccount, PROVIDER, graph, messenger, whatsapp};

/// Sends through Meta's Graph API, on every channel that a message may be of. What an account has to hold says
/// [`provider`](crate::provider)'s form.
#[derive(Default)]
pub struct MetaGateway {
    pub(crate) client: HttpClient,
}

#[async_trait]
impl Gateway for MetaGateway {
    fn provider(&self) -> &str {
        PROVIDER
    }

    fn capabilities(&self, channel: &Channel, can: Capabilities) -> Capabilities {
        match is_messenger(channel) {
            true => messenger::capabilities(can),
            false => whatsapp::capabilities(can),
        }
    }

    /// Messenger refuses nothing beyond the channel's rules.
    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        match is_messenger(&message.channel) {
            true => Vec::new(),
            false => whatsapp::check(message),
        }
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let Some(account) = MetaAccount::read(context.account) else {
            return Err(wrong_account("secret access_token is missing"));
        };
        let Some(sender) = account.sender_id(&message.from) else {
            return Err(wrong_account(
                "the sender's number does not stand in the account's setting phone_numbers, with the id that \
                 Meta gave to it",
            ));
        };
        let body = match is_messenger(&message.channel) {
            true => messenger::encode(context, message)?,
            false => whatsapp::encode(context, message)?,
        };
        let (url, authorization) =
            (account.url(&format!("{sender}/messages")), account.authorization());
        let call = HttpRequest {
            authorization: Some(&authorization),
            body: body.to_string().into_bytes(),
            ..HttpRequest::json(&url, context)
        };
        graph::decode(&self.client.call(call).await?, Codes::of(context.account))
    }
}

impl fmt::Debug for MetaGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetaGateway")
    }
}

fn is_messenger(channel: &Channel) -> bool {
    *channel == Channel::MESSENGER
}

fn wrong_account(problem: &str) -> AdapterError {
    AdapterError::new(ErrorKind::Unauthorized, Fault::Account, Retry::Permanent, problem)
}
