//! One channel through Vonage: the codec, the client and the channel's own rules put together.

use std::fmt;

use async_trait::async_trait;

use dispatch_contract::{
    Accepted, Account, AdapterError, Capabilities, Channel, ChannelAdapter, Content, ContentKind,
    ErrorKind, Fault, Field, Message, Retry, SendContext, UnixMillis, Violation, WebhookOutcome,
    WebhookRequest, check,
};

use super::{ApiVersion, VonageAccount, auth::TokenCache, send_result, v01, v1, webhook};
use crate::http::{HttpClient, HttpRequest};

/// What a channel checks beyond its [`Capabilities`], at a time: finds what is wrong, and adds it.
pub type ChannelRules = fn(&Message, UnixMillis, &mut Vec<Violation>);

/// Sends on one channel through Vonage's Messages API.
///
/// Its name is `vonage-` and the channel's short name; it reads the webhooks of all of Vonage's
/// channels, because an account has one URL for them. What an account has to hold says
/// [`VonageAccount`].
pub struct VonageAdapter {
    name: &'static str,
    channel: Channel,
    capabilities: Capabilities,
    rules: ChannelRules,
    warnings: ChannelRules,
    client: HttpClient,
    tokens: TokenCache,
}

impl VonageAdapter {
    /// The name of the provider behind every one of these.
    pub const PROVIDER: &'static str = "vonage";

    /// An adapter named `name` for `channel`, which `capabilities` and `rules` describe.
    pub fn new(
        name: &'static str,
        channel: Channel,
        capabilities: Capabilities,
        rules: ChannelRules,
        client: HttpClient,
    ) -> Self {
        let (warnings, tokens): (ChannelRules, _) = (|_, _, _| (), TokenCache::default());
        VonageAdapter { name, channel, capabilities, rules, warnings, client, tokens }
    }

    /// The same adapter, which warns of what `warnings` adds.
    #[must_use]
    pub fn warning_of(self, warnings: ChannelRules) -> Self {
        VonageAdapter { warnings, ..self }
    }
}

#[async_trait]
impl ChannelAdapter for VonageAdapter {
    fn name(&self) -> &str {
        self.name
    }

    fn provider(&self) -> &str {
        Self::PROVIDER
    }

    fn channel(&self) -> &Channel {
        &self.channel
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self, message: &Message, now: UnixMillis) -> Vec<Violation> {
        let mut found = check(&self.capabilities, message);
        custom(&self.capabilities, message, &mut found);
        (self.rules)(message, now, &mut found);
        found
    }

    fn warnings(&self, message: &Message, now: UnixMillis) -> Vec<Violation> {
        let mut found = Vec::new();
        (self.warnings)(message, now, &mut found);
        found
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let account = VonageAccount::read(context.account).map_err(wrong_account)?;
        let spoken = match account.version {
            ApiVersion::V01 => v01::encode(context, message).map(|body| (v01::PATH, body)),
            ApiVersion::V1 => None,
        };
        let (path, body) = match spoken {
            Some(spoken) => spoken,
            None => (v1::PATH, v1::encode(context, message)?),
        };
        let authorization = self.tokens.authorization(context.account, &account, context.now)?;
        let call = HttpRequest {
            url: &format!("{}{path}", account.base_url),
            authorization: Some(&authorization),
            content_type: "application/json",
            body: body.to_string().into_bytes(),
            timeout: context.timeout,
            now: context.now,
        };
        send_result::decode(&self.client.call(call).await?)
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

impl fmt::Debug for VonageAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VonageAdapter").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Custom content is passed through, so all that can be said of it is that it is an object.
fn custom(capabilities: &Capabilities, message: &Message, found: &mut Vec<Violation>) {
    if let Content::Custom(text) = &message.content
        && capabilities.sends(ContentKind::Custom)
        && v1::custom(text).is_err()
    {
        found.push(Violation::new(Field::Within("custom"), "must be one JSON object"));
    }
}

fn wrong_account(problem: String) -> AdapterError {
    AdapterError::new(ErrorKind::Unauthorized, Fault::Account, Retry::Permanent, problem)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dispatch_contract::{AddressForm, Correlation, Endpoint, Limits, Options, Secret, Status};

    use super::*;
    use crate::conformance::{
        StubAnswer, attempt,
        stub::{Behaviour, Stub},
    };

    fn adapter() -> VonageAdapter {
        let capabilities = Capabilities {
            condition_statuses: vec![Status::Delivered],
            content: vec![ContentKind::Text],
            captions: vec![],
            limits: Limits { text_chars: 100, caption_chars: 0, url_bytes: 0 },
            to: vec![AddressForm::E164],
            from: vec![AddressForm::E164],
            idempotent_for: None,
            correlation: Correlation::AttemptId,
            recall: false,
            batch: 1,
        };
        let client = HttpClient::new().expect("a client");
        VonageAdapter::new("vonage-test", Channel::SMS, capabilities, |_, _, _| (), client)
    }

    async fn send(
        settings: &[(&str, &str)],
        secrets: &[(&str, &str)],
    ) -> Result<Accepted, AdapterError> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let account = Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.iter().map(owned).collect(),
            secrets: secrets
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))
                .collect(),
        };
        let context = SendContext {
            attempt: attempt(),
            account: &account,
            callback_url: None,
            useful_for: None,
            now: UnixMillis(1_700_000_000_000),
            timeout: Duration::from_secs(5),
        };
        let message = Message {
            channel: Channel::SMS,
            from: Endpoint::Number("447700900001".to_owned()),
            to: Endpoint::Number("447700900000".to_owned()),
            content: Content::Text("Hello".to_owned()),
            options: Options::default(),
        };
        adapter().send(&context, &message).await
    }

    #[tokio::test]
    async fn the_account_s_version_and_credential_are_used() {
        for (version, line) in [
            ("v1", "POST /gateway/v1/messages HTTP/1.1"),
            ("v0.1", "POST /gateway/v0.1/messages HTTP/1.1"),
        ] {
            let answer = StubAnswer::new(202, r#"{"message_uuid":"u-1"}"#);
            let stub = Stub::start(Behaviour::Answer(answer)).expect("a socket");
            let base_url = format!("{}/gateway/", stub.url());
            let settings =
                [("base_url", &*base_url), ("api_version", version), ("api_key", "aaa012")];
            let sent = send(&settings, &[("api_secret", "abc123456789")]).await;
            assert_eq!(sent.expect("accepted").provider_id, "u-1");
            let request = stub.request().expect("a request");
            assert_eq!(request.lines().next(), Some(line));
            assert!(request.contains("Basic YWFhMDEyOmFiYzEyMzQ1Njc4OQ=="), "{request}");
            let head = request.to_ascii_lowercase();
            assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{request}");
        }
    }

    #[tokio::test]
    async fn an_account_that_cannot_send_says_what_it_lacks() {
        for secrets in [vec![], vec![("private_key", "garbage")]] {
            let settings = [("application_id", "app"), ("base_url", "http://127.0.0.1:9")];
            let error = send(&settings, &secrets).await.expect_err("refused");
            assert_eq!((error.fault, error.retry), (Fault::Account, Retry::Permanent));
            assert!(error.detail.contains("private_key"), "{error}");
        }
    }
}
