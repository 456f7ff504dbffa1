//! What the conformance suite has to know about a channel through Vonage.

use std::{fmt, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use dispatch_contract::{
    Account, AdapterError, Channel, ChannelAdapter, Content, ContentKind, Endpoint, ErrorKind,
    Failure, Fault, InboundMessage, Message, OptOut, Provider, Recall, Report, Retry, Secret,
    SendContext, Status, UnixMillis,
};

use super::{ApiVersion, provider::vonage, samples::samples, v01, v1};
use dispatch_kit::conformance::{
    ConformanceSubject, ExpectedReport, NOW, Part, RecallSample, RefusalSample, SampleWebhook,
    StubAnswer, UnderstoodRequest, attempt, written,
};
use dispatch_kit::signature::sha256_hex;

const INBOUND_ID: &str = "aaaaaaaa-2222-4333-8444-555555555555";
const API_KEY: &str = "abcd1234";
const REPLAY_WINDOW: Duration = Duration::from_secs(86_400);
const SIGNATURE_SECRET: &str = "a signature secret for the conformance suite";

/// An adapter, one sample message for each kind of content, and the version its account is set to.
/// Everything else is the same for all of Vonage's channels.
pub struct VonageSubject {
    provider: Arc<dyn Provider>,
    adapter: Arc<dyn ChannelAdapter>,
    version: ApiVersion,
    samples: Vec<Message>,
}

/// What is posted for one message in each version.
#[derive(Debug)]
pub struct Wire {
    /// To [`v1`].
    pub v1: Result<Value, AdapterError>,
    /// To [`v01`]; `None` where it has no words for the message, which then goes through v1.
    pub v01: Option<Value>,
}

/// What proves each of Vonage's channels.
pub fn subjects() -> Vec<Box<dyn ConformanceSubject>> {
    let channels = vonage().channels();
    let subjects =
        channels.iter().filter_map(|it| VonageSubject::usual(it.channel(), ApiVersion::V1));
    subjects.map(|subject| Box::new(subject) as _).collect()
}

/// What is posted for `message` as attempt `0198c0ffee007000800000000000beef.7` with callback URL
/// `https://example.com/status`; for a channel's golden tests.
pub fn wire(message: &Message) -> Wire {
    wire_of_use(message, None)
}

/// The same for a message that is of use for a while only.
pub fn wire_of_use(message: &Message, useful_for: Option<Duration>) -> Wire {
    let account =
        Account { name: "golden".to_owned(), revision: 1, settings: [].into(), secrets: [].into() };
    let context = SendContext {
        attempt: attempt(),
        account: &account,
        callback_url: Some("https://example.com/status"),
        useful_for,
        now: UnixMillis(0),
        timeout: Duration::ZERO,
    };
    Wire { v1: v1::encode(&context, message), v01: v01::encode(&context, message) }
}

impl VonageSubject {
    /// Puts a channel of Vonage's to the test, with a sample of each kind. `None` if it has no such channel.
    pub fn usual(channel: &Channel, version: ApiVersion) -> Option<Self> {
        VonageSubject::new(channel, version, samples(channel))
    }

    /// The same with samples of one's own.
    pub fn new(channel: &Channel, version: ApiVersion, samples: Vec<Message>) -> Option<Self> {
        let provider = Arc::new(vonage());
        let adapter = provider.channels().into_iter().find(|it| it.channel() == channel)?;
        Some(VonageSubject { provider, adapter, version, samples })
    }
}

impl VonageSubject {
    /// What there is to try of it: both versions are told the same webhooks, so these are tried with v1.
    pub fn parts(&self) -> &'static [Part] {
        match self.version {
            ApiVersion::V1 => &Part::ALL,
            ApiVersion::V01 => &[Part::Declared, Part::Content, Part::Sending, Part::Errors],
        }
    }
}

impl fmt::Debug for VonageSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VonageSubject").field(&self.adapter.name()).finish()
    }
}

impl ConformanceSubject for VonageSubject {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.adapter
    }

    fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    fn account(&self, base_url: &str) -> Account {
        let version = match self.version {
            ApiVersion::V01 => "v0.1",
            ApiVersion::V1 => "v1",
        };
        let window = REPLAY_WINDOW.as_secs().to_string();
        let settings = [
            ("base_url", base_url),
            ("api_version", version),
            ("api_key", API_KEY),
            ("webhook_tolerance_s", &window),
        ];
        let secrets = [("api_secret", "an api secret"), ("signature_secret", SIGNATURE_SECRET)];
        Account {
            name: "conformance".to_owned(),
            revision: 1,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            secrets: secrets.map(|(name, value)| (name.to_owned(), Secret::new(value))).into(),
        }
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        self.samples.iter().find(|message| message.content.kind() == kind).cloned()
    }

    fn webhooks(&self, told: &ExpectedReport) -> Vec<SampleWebhook> {
        let Some(sample) = self.samples.first() else { return Vec::new() };
        let Some(status) = status(told.report) else { return Vec::new() };
        let mut bodies = [v01_status(told, status, sample), v1_status(told, status, sample)];
        if let Report::Failed(_) = told.report {
            let [v01, v1] = &mut bodies;
            v01["error"] = json!({ "code": 1360, "reason": "TTL activated" });
            v1["error"] = json!({
                "type": "https://developer.vonage.com/api-errors/messages#1360",
                "title": "1360", "detail": "TTL activated", "instance": "0f1e2d3c",
            });
        }
        bodies.map(SampleWebhook::json).into()
    }

    fn opt_outs(&self, told: &OptOut) -> Vec<SampleWebhook> {
        let word = if told.is_lifted { "Start" } else { "STOP" };
        let said = written(INBOUND_ID, told.recipient.clone(), told.sender.clone(), word);
        inbound_messages(&said).map(SampleWebhook::json).into()
    }

    fn inbound_messages(&self, told: &InboundMessage) -> Vec<SampleWebhook> {
        inbound_messages(told).map(SampleWebhook::json).into()
    }

    fn sign(&self, webhook: &mut SampleWebhook) {
        let claims = json!({
            "iss": "Vonage", "iat": NOW.0 / 1_000, "jti": "c4c1", "api_key": API_KEY,
            "payload_hash": sha256_hex(&webhook.body),
        });
        let key = EncodingKey::from_secret(SIGNATURE_SECRET.as_bytes());
        // Signing cannot fail for these fixed claims; if it did, every check would say so.
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
        let header = format!("Bearer {}", token.unwrap_or_default());
        webhook.headers.push(("authorization".to_owned(), header.into_bytes()));
    }

    fn replay_window(&self) -> Option<Duration> {
        Some(REPLAY_WINDOW)
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        StubAnswer::new(202, json!({ "message_uuid": provider_id }).to_string())
    }

    /// As v1 reads it, and as v0.1, which nests what v1 has flat.
    fn understood(&self, request: &str) -> Option<UnderstoodRequest> {
        let (_, body) = request.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        let (channel, content) = match body.get("message") {
            Some(message) => (&body["to"]["type"], &message["content"]),
            None => (&body["channel"], &body),
        };
        let channel = match channel.as_str()? {
            "viber_service" => Channel::VIBER,
            name => name.parse().ok()?,
        };
        let is_in = |kind: &ContentKind| content.get(kind.as_str()).is_some();
        let content = ContentKind::ALL.into_iter().filter(is_in).collect();
        Some(UnderstoodRequest { channel: Some(channel), content })
    }

    fn recalls(&self) -> Vec<RecallSample> {
        let refused = problem("1150").to_string();
        [
            (StubAnswer::new(202, ""), Recall::Recalled),
            (StubAnswer::new(422, refused), Recall::TooLate(None)),
        ]
        .map(|(answer, recall)| RecallSample { answer, recall })
        .into()
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |status, code: &str, kind, fault, retry| RefusalSample {
            answer: StubAnswer::new(status, problem(code).to_string()),
            kind,
            fault,
            retry,
        };
        let temporary = Retry::Temporary { after: None };
        // As Vonage quotes a text that it cut in the middle of an emoji.
        let cut = problem("1000").to_string().replace("A detail.", r"Throttled: hi \ud83d");
        vec![
            RefusalSample {
                answer: StubAnswer::new(422, cut),
                kind: ErrorKind::Throttled,
                fault: Fault::Provider,
                retry: temporary,
            },
            refusal(422, "1120", ErrorKind::Forbidden, Fault::Account, Retry::Permanent),
            refusal(422, "1150", ErrorKind::InvalidRequest, Fault::Content, Retry::Permanent),
            refusal(422, "1100", ErrorKind::InvalidRequest, Fault::Account, Retry::Permanent),
            refusal(400, "1430", ErrorKind::InvalidRecipient, Fault::Recipient, Retry::Permanent),
            refusal(
                402,
                "low-balance",
                ErrorKind::InsufficientFunds,
                Fault::Account,
                Retry::Permanent,
            ),
            refusal(422, "1000", ErrorKind::Throttled, Fault::Provider, temporary),
            refusal(500, "1000", ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        ]
    }
}

/// What a person writes, in both shapes.
fn inbound_messages(told: &InboundMessage) -> [Value; 2] {
    let channel = &told.to.channel;
    let text = told.content.iter().find_map(Content::spoken).unwrap_or_default();
    let named_by_id = [Channel::MESSENGER, Channel::VIBER].contains(channel);
    let us = if named_by_id { "id" } else { "number" };
    let person = if matches!(told.from, Endpoint::Id(_)) { "id" } else { "number" };
    let side = |key: &str, value: &str| {
        let mut side = json!({ "type": channel.as_str() });
        side[key] = value.into();
        side
    };
    let mut v01 = json!({
        "message_uuid": told.id, "timestamp": "2020-01-01T14:00:00.000Z",
        "to": side(us, &told.to.id), "from": side(person, told.from.value()),
        "message": { "content": { "type": "text", "text": text } },
    });
    let mut v1 = json!({
        "message_uuid": told.id, "timestamp": "2025-02-03T12:14:25Z", "channel": name_in_v1(channel),
        "to": told.to.id, "from": told.from.value(), "message_type": "text", "text": text,
    });
    if let Some(quoted) = &told.quoted_id {
        v01["message"]["context"] = json!({ "message_uuid": quoted });
        v1["context"] = json!({ "message_uuid": quoted });
    }
    [v01, v1]
}

fn name_in_v1(channel: &Channel) -> &str {
    if *channel == Channel::VIBER { "viber_service" } else { channel.as_str() }
}

/// Vonage has no word for an answer: it tells one as a message of its own.
fn status(report: Report) -> Option<&'static str> {
    match report {
        Report::Reached(Status::Submitted) => Some("submitted"),
        Report::Reached(Status::Delivered) => Some("delivered"),
        Report::Reached(Status::Read) => Some("read"),
        Report::Reached(Status::Pending | Status::Replied) => None,
        Report::Failed(Failure::Rejected) => Some("rejected"),
        Report::Failed(Failure::Undeliverable) => Some("undeliverable"),
    }
}

fn v01_status(told: &ExpectedReport, status: &str, sample: &Message) -> Value {
    let party = |endpoint: &Endpoint| {
        let key = match endpoint {
            Endpoint::Id(_) => "id",
            Endpoint::Number(_) => "number",
        };
        let mut party = json!({ "type": sample.channel.as_str() });
        party[key] = endpoint.value().into();
        party
    };
    json!({
        "message_uuid": told.provider_id,
        "to": party(&sample.to),
        "from": party(&sample.from),
        "timestamp": "2020-01-01T14:00:00.000Z",
        "status": status,
        "client_ref": told.attempt.to_string(),
        "usage": { "currency": "EUR", "price": "0.0333" },
    })
}

fn v1_status(told: &ExpectedReport, status: &str, sample: &Message) -> Value {
    json!({
        "message_uuid": told.provider_id,
        "channel": name_in_v1(&sample.channel),
        "to": sample.to.value(),
        "from": sample.from.value(),
        "timestamp": "2025-02-03T12:14:25Z",
        "status": status,
        "client_ref": told.attempt.to_string(),
        "usage": { "currency": "EUR", "price": "0.0333" },
    })
}

fn problem(code: &str) -> Value {
    json!({
        "type": format!("https://developer.vonage.com/api-errors/messages#{code}"),
        "title": "A title", "detail": "A detail.", "instance": "0f1e2d3c",
    })
}
