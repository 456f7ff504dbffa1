//! LINE: a text from an official account to a person who is its friend, by HTTP push.
//!
//! LINE tells nothing of a message after it took it: no receipts, so `submitted` is all that a rule can wait
//! for. It knows our id for a repeat (`X-Line-Retry-Key`) for a day, so a call of unknown outcome is repeated
//! under it, and one message comes of both.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, AddressPattern, Capabilities, Channel,
    ChannelAdapter, Content, ContentKind, Correlation, Endpoint, ErrorKind, ExternalFields, Fault,
    Limits, Message, Options, OptionsForm, Probe, Provider, Retry, Secret, SendContext, Setting,
    SettingRule, SettingsForm, Status, UnixMillis,
};
use dispatch_kit::{
    conformance::{ConformanceSubject, RefusalSample, StubAnswer, UnderstoodRequest},
    http::{HttpClient, HttpRequest, HttpResponse},
    json::Json,
    keys, probe,
};
use serde_json::json;

static LINE: Channel = Channel::named("line");
const BASE_URL: &str = "https://api.line.me";

/// What LINE gave a person.
static USER: AddressPattern = AddressPattern {
    name: "line_user",
    wanted: "an id: U and 32 hexadecimal digits",
    admits: |endpoint| matches!(endpoint, Endpoint::Id(id) if is_user(id)),
};

const FORM: SettingsForm = SettingsForm(&[
    Setting::secret("channel_access_token", "what calls are authorised with, a long-lived token")
        .required(),
    Setting::plain("base_url", "where the API is").or(BASE_URL).of(SettingRule::Url),
]);

/// LINE, ready to be registered.
pub fn provider() -> impl Provider + 'static {
    Line(Arc::new(LineAdapter::new()))
}

struct Line(Arc<LineAdapter>);

#[async_trait]
impl Provider for Line {
    fn name(&self) -> &str {
        "line"
    }

    fn settings(&self) -> SettingsForm {
        FORM
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        vec![Arc::clone(&self.0) as _]
    }

    fn external_fields(&self, _: &Channel) -> Option<ExternalFields> {
        Some(ExternalFields { access_token: "channel_access_token" })
    }

    async fn probe(&self, account: &Account, now: UnixMillis, timeout: Duration) -> Probe {
        let url = format!("{}/v2/bot/info", base_url(account));
        probe::ask(&self.0.client, &url, &bearer(account), &[401, 403], now, timeout).await
    }
}

fn base_url(account: &Account) -> &str {
    account.setting("base_url").unwrap_or(BASE_URL).trim_end_matches('/')
}

fn bearer(account: &Account) -> String {
    format!("Bearer {}", account.secret("channel_access_token").unwrap_or_default())
}

struct LineAdapter {
    capabilities: Capabilities,
    client: HttpClient,
}

impl LineAdapter {
    fn new() -> Self {
        let capabilities = Capabilities {
            condition_statuses: vec![Status::Submitted],
            content: vec![ContentKind::Text],
            captions: vec![],
            limits: Limits { text_chars: 5_000, caption_chars: 0, url_bytes: 0 },
            to: vec![AddressForm::Pattern(&USER)],
            from: vec![AddressForm::Id],
            idempotent_for: Some(Duration::from_secs(24 * 60 * 60)),
            correlation: Correlation::ProviderId,
            recall: false,
            parts: false,
            watermarks: false,
            ids_name_recipients: false,
            options: OptionsForm::NONE,
        };
        LineAdapter { capabilities, client: HttpClient::new() }
    }
}

#[async_trait]
impl ChannelAdapter for LineAdapter {
    fn name(&self) -> &str {
        "line"
    }

    fn provider(&self) -> &str {
        "line"
    }

    fn channel(&self) -> &Channel {
        &LINE
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let Content::Text(text) = &message.content else {
            return Err(permanent(ErrorKind::InvalidRequest, Fault::Content, "only text is sent"));
        };
        let account = context.account;
        let body =
            json!({ "to": message.to.value(), "messages": [{ "type": "text", "text": text }] });
        let url = format!("{}/v2/bot/message/push", base_url(account));
        let (token, key) = (bearer(account), keys::uuid(context.attempt).to_string());
        let call = HttpRequest {
            authorization: Some(&token),
            headers: &[("x-line-retry-key", &key)],
            body: body.to_string().into_bytes(),
            ..HttpRequest::json(&url, context)
        };
        decode(&self.client.call(call).await?)
    }
}

/// Every answer of LINE's, and what it means.
fn decode(answer: &HttpResponse) -> Result<Accepted, AdapterError> {
    match answer.status {
        // 409: taken before under the same key. The message is the first one.
        200..=299 | 409 => {
            let first = |sent: Json<'_>| {
                let id = |id: Json<'_>| {
                    id.scalar().filter(|id| !id.is_empty()).map(|id| id.into_owned())
                };
                Some(sent.elements().find_map(|one| one.read("id", id)))
            };
            let id = Json::of(&answer.body).read("sentMessages", first).flatten();
            id.map(Accepted::under).ok_or_else(|| unknown("the answer holds no message id"))
        }
        400 => {
            Err(permanent(ErrorKind::InvalidRequest, Fault::Content, "the request is not valid"))
        }
        401 | 403 => Err(permanent(
            ErrorKind::Unauthorized,
            Fault::Account,
            "the channel access token is not taken",
        )),
        404 => Err(permanent(ErrorKind::InvalidRecipient, Fault::Recipient, "no such person")),
        429 => {
            let retry = Retry::Temporary { after: answer.retry_after };
            Err(AdapterError::new(ErrorKind::Throttled, Fault::Account, retry, "too many calls"))
        }
        300..=499 => {
            Err(permanent(ErrorKind::InvalidRequest, Fault::Account, "the answer is not LINE's"))
        }
        _ => Err(unknown("LINE failed, and did not say whether it sent the message")),
    }
}

fn permanent(kind: ErrorKind, fault: Fault, detail: &str) -> AdapterError {
    AdapterError::new(kind, fault, Retry::Permanent, detail)
}

fn unknown(detail: &str) -> AdapterError {
    AdapterError::new(ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown, detail)
}

fn is_user(id: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    id.strip_prefix('U').is_some_and(|rest| rest.len() == 32 && rest.bytes().all(hex))
}

/// What the conformance suite has to know about LINE.
pub fn subjects() -> Vec<Box<dyn ConformanceSubject>> {
    let adapter = Arc::new(LineAdapter::new());
    vec![Box::new(LineSubject(Line(adapter)))]
}

struct LineSubject(Line);

impl ConformanceSubject for LineSubject {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.0.0
    }

    fn provider(&self) -> &dyn Provider {
        &self.0
    }

    fn account(&self, address: &str) -> Account {
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: [("base_url".to_owned(), address.to_owned())].into(),
            secrets: [("channel_access_token".to_owned(), Secret::new("a long-lived token"))]
                .into(),
        }
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        (kind == ContentKind::Text).then(|| Message {
            channel: LINE.clone(),
            from: Endpoint::Id("U0123456789abcdef0123456789abcdef".to_owned()),
            to: Endpoint::Id("Ufedcba9876543210fedcba9876543210".to_owned()),
            content: Content::Text("Your table is ready.".to_owned()),
            options: Options::default(),
        })
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        StubAnswer::new(200, json!({ "sentMessages": [{ "id": provider_id }] }).to_string())
    }

    fn duplicate(&self, provider_id: &str) -> Option<StubAnswer> {
        Some(StubAnswer { status: 409, ..self.accepted(provider_id) })
    }

    fn idempotency_key(&self, request: &str) -> Option<String> {
        request.lines().find_map(|line| line.strip_prefix("x-line-retry-key: ")).map(str::to_owned)
    }

    fn understood(&self, request: &str) -> Option<UnderstoodRequest> {
        let (_, body) = request.split_once("\r\n\r\n")?;
        let kinds = |all: Json<'_>| {
            let kind = |one: Json<'_>| {
                let name = one.read("type", |name| name.text())?;
                ContentKind::ALL.into_iter().find(|kind| kind.as_str() == name)
            };
            Some(all.elements().filter_map(kind).collect())
        };
        let content = Json::of(body.as_bytes()).read("messages", kinds)?;
        Some(UnderstoodRequest { channel: None, content })
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |status, kind, fault| RefusalSample {
            answer: StubAnswer::new(status, r#"{"message":"…"}"#),
            kind,
            fault,
            retry: Retry::Permanent,
        };
        vec![
            refusal(400, ErrorKind::InvalidRequest, Fault::Content),
            refusal(404, ErrorKind::InvalidRecipient, Fault::Recipient),
        ]
    }
}
