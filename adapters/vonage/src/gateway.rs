//! Vonage's calls for any channel: codec, credential and client put together.

use std::fmt;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, Capabilities, Channel, Content, ContentKind, Correlation, ErrorKind,
    Fault, Field, Gateway, Message, Recall, Retry, SendContext, Status, UnixMillis, Violation,
};
use dispatch_kit::{
    codes::Codes,
    http::{HttpClient, HttpRequest, Method},
};

use super::{ApiVersion, PROVIDER, VonageAccount, auth::TokenCache, send_result, v01, v1};

/// What Vonage takes of a text on Messenger, in characters; Messenger itself takes more.
const MESSENGER_TEXT_CHARS: u32 = 640;

/// Sends through Vonage's Messages API, on every channel that a message may be of. What an account has to
/// hold says [`VonageAccount`].
#[derive(Default)]
pub struct VonageGateway {
    pub(super) client: HttpClient,
    pub(super) tokens: TokenCache,
}

#[async_trait]
impl Gateway for VonageGateway {
    fn provider(&self) -> &str {
        PROVIDER
    }

    /// Vonage repeats our attempt id (`client_ref`) in every status webhook, revokes RCS alone, and takes a
    /// place only as custom content and less of a text on Messenger. It documents what an answer quotes for
    /// WhatsApp and Viber.
    fn capabilities(&self, channel: &Channel, mut can: Capabilities) -> Capabilities {
        let recall = *channel == Channel::RCS;
        can.content.retain(|kind| *kind != ContentKind::Location);
        if *channel == Channel::VIBER {
            can.condition_statuses.push(Status::Replied);
        }
        if *channel == Channel::MESSENGER {
            can.limits.text_chars = MESSENGER_TEXT_CHARS;
        }
        Capabilities { correlation: Correlation::AttemptId, recall, ..can }
    }

    /// Custom content is passed through, so all that can be said of it is that it is an object.
    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        match &message.content {
            Content::Custom(text) if v1::custom(text).is_err() => {
                vec![Violation::new(Field::Within("custom"), "must be one JSON object")]
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
        let url = format!("{}{path}", account.base_url);
        let call = HttpRequest {
            authorization: Some(&authorization),
            body: body.to_string().into_bytes(),
            ..HttpRequest::json(&url, context)
        };
        send_result::decode(&self.client.call(call).await?, Codes::of(context.account))
    }

    /// Only v1 knows it, whatever the account is set to. It wants an application's token for it; with a key
    /// and secret it refuses.
    async fn recall(
        &self,
        context: &SendContext<'_>,
        provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        let account = VonageAccount::read(context.account).map_err(wrong_account)?;
        let authorization = self.tokens.authorization(context.account, &account, context.now)?;
        let url = format!("{}{}/{provider_id}", account.base_url, v1::PATH);
        let call = HttpRequest {
            method: Method::PATCH,
            authorization: Some(&authorization),
            body: br#"{"status":"revoked"}"#.to_vec(),
            ..HttpRequest::json(&url, context)
        };
        send_result::decode_recall(&self.client.call(call).await?)
    }
}

impl fmt::Debug for VonageGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VonageGateway")
    }
}

fn wrong_account(problem: String) -> AdapterError {
    AdapterError::new(ErrorKind::Unauthorized, Fault::Account, Retry::Permanent, problem)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dispatch_contract::{Account, Channel, Endpoint, Options, Secret};

    use super::*;
    use dispatch_kit::conformance::{
        StubAnswer, attempt,
        stub::{Behaviour, Stub},
    };

    fn account(settings: &[(&str, &str)], secrets: &[(&str, &str)]) -> Account {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.iter().map(owned).collect(),
            secrets: secrets
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))
                .collect(),
        }
    }

    fn context(account: &Account) -> SendContext<'_> {
        SendContext {
            attempt: attempt(),
            account,
            callback_url: None,
            useful_for: None,
            now: UnixMillis(1_700_000_000_000),
            timeout: Duration::from_secs(5),
        }
    }

    async fn send(
        settings: &[(&str, &str)],
        secrets: &[(&str, &str)],
    ) -> Result<Accepted, AdapterError> {
        let account = account(settings, secrets);
        let message = Message {
            channel: Channel::SMS,
            from: Endpoint::Number("447700900001".to_owned()),
            to: Endpoint::Number("447700900000".to_owned()),
            content: Content::Text("Hello".to_owned()),
            options: Options::default(),
        };
        VonageGateway::default().send(&context(&account), &message).await
    }

    #[tokio::test]
    async fn a_recall_asks_by_the_message_s_id() {
        use Recall::{Recalled, TooLate};
        for (status, wanted) in [
            (202, Some(Recalled)),
            (422, Some(TooLate(None))),
            (401, None),
            (404, None),
            (429, None),
            (500, None),
        ] {
            let stub =
                Stub::start(Behaviour::Answer(StubAnswer::new(status, ""))).expect("a socket");
            let url = stub.url();
            let settings = [("base_url", &*url), ("api_key", "aaa012")];
            let account = account(&settings, &[("api_secret", "abc123456789")]);
            let gateway = VonageGateway::default();
            let recall = gateway.recall(&context(&account), "u-1").await;
            assert_eq!(recall.ok(), wanted, "{status}");
            let request = stub.request().expect("a request");
            assert_eq!(request.lines().next(), Some("PATCH /v1/messages/u-1 HTTP/1.1"));
            assert!(request.ends_with(r#"{"status":"revoked"}"#), "{request}");
        }
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
            assert_eq!(sent.expect("accepted").provider_ids, ["u-1"]);
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
