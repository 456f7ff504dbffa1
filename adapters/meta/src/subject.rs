//! What the conformance suite has to know about a channel through Meta.

use std::{fmt, sync::Arc};

use dispatch_contract::{
    Account, Channel, ChannelAdapter, Content, ContentKind, ErrorKind, Failure, Fault,
    InboundMessage, Message, OptOut, Provider, Report, Retry, Secret, Status, Watermark,
};
use dispatch_kit::{
    conformance::{
        ConformanceSubject, ExpectedReport, Handshake, RefusalSample, SampleWebhook, StubAnswer,
        UnderstoodRequest, written,
    },
    signature::SignatureScheme,
};
use serde_json::{Value, json};

use crate::{provider::meta, samples::samples};

const APP_SECRET: &str = "an app secret for the conformance suite";
const VERIFY_TOKEN: &str = "a-token-to-verify";
const INBOUND_ID: &str = "m_in";
const PAGE: &str = "107083064136738";
const PERSON: &str = "2384965291561984";
const NUMBER_ID: &str = "106540352242922";

/// An adapter, and one sample message for each kind of content.
pub struct MetaSubject {
    provider: Arc<dyn Provider>,
    adapter: Arc<dyn ChannelAdapter>,
    samples: Vec<Message>,
}

/// What proves each of Meta's channels.
pub fn subjects() -> Vec<Box<dyn ConformanceSubject>> {
    let channels = meta().channels();
    let subjects = channels.iter().filter_map(|it| MetaSubject::usual(it.channel()));
    subjects.map(|subject| Box::new(subject) as _).collect()
}

impl MetaSubject {
    /// With the usual samples of a channel; `None` if Meta has no such channel.
    pub fn usual(channel: &Channel) -> Option<Self> {
        let provider = Arc::new(meta());
        let adapter = provider.channels().into_iter().find(|it| it.channel() == channel)?;
        Some(MetaSubject { provider, adapter, samples: samples(channel) })
    }

    fn is_messenger(&self) -> bool {
        *self.adapter.channel() == Channel::MESSENGER
    }
}

impl fmt::Debug for MetaSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetaSubject").field(&self.adapter.name()).finish()
    }
}

impl ConformanceSubject for MetaSubject {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.adapter
    }

    fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    fn account(&self, base_url: &str) -> Account {
        let numbers = format!("447700900001={NUMBER_ID}");
        let settings = [("base_url", base_url), ("phone_numbers", &numbers)];
        let secrets = [
            ("access_token", "EAAG-a-token-for-the-conformance-suite"),
            ("app_secret", APP_SECRET),
            ("verify_token", VERIFY_TOKEN),
        ];
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
        if self.is_messenger() {
            return of_page(told);
        }
        let (status, code) = match told.report {
            Report::Reached(Status::Submitted) => ("sent", None),
            Report::Reached(Status::Delivered) => ("delivered", None),
            Report::Reached(Status::Read) => ("read", None),
            Report::Reached(Status::Pending | Status::Replied) => return Vec::new(),
            Report::Failed(Failure::Rejected) => ("failed", Some(132_001)),
            Report::Failed(Failure::Undeliverable) => ("failed", Some(131_026)),
        };
        let mut item = json!({
            "id": told.provider_id, "status": status, "timestamp": "1698266945",
            "recipient_id": "447700900000", "biz_opaque_callback_data": told.attempt.to_string(),
            "pricing": { "billable": true, "pricing_model": "PMP", "category": "utility" },
        });
        if let Some(code) = code {
            let data = json!({ "details": "Details." });
            item["errors"] = json!([{ "code": code, "title": "A title", "message": "A title", "error_data": data }]);
        }
        vec![webhook("statuses", item)]
    }

    fn watermarks(&self, told: &Watermark) -> Vec<SampleWebhook> {
        let name = match told.status {
            Status::Delivered => "delivery",
            Status::Read => "read",
            Status::Pending | Status::Submitted | Status::Replied => return Vec::new(),
        };
        let mut event = json!({
            "sender": { "id": told.recipient.value() }, "recipient": { "id": told.sender.id },
            "timestamp": told.until.0,
        });
        event[name] = json!({ "watermark": told.until.0 });
        let entry = json!({ "id": told.sender.id, "time": told.until.0, "messaging": [event] });
        let body = json!({ "object": "page", "entry": [entry] });
        if self.is_messenger() { vec![SampleWebhook::json(body)] } else { Vec::new() }
    }

    fn opt_outs(&self, told: &OptOut) -> Vec<SampleWebhook> {
        let word = if told.is_lifted { "Start" } else { "STOP" };
        self.inbound_messages(&written(
            INBOUND_ID,
            told.recipient.clone(),
            told.sender.clone(),
            word,
        ))
    }

    fn inbound_messages(&self, told: &InboundMessage) -> Vec<SampleWebhook> {
        if self.is_messenger() {
            let text = told.content.iter().find_map(Content::spoken).unwrap_or_default();
            let mut said = json!({ "mid": told.id, "text": text });
            if let Some(quoted) = &told.quoted_id {
                said["reply_to"] = json!({ "mid": quoted });
            }
            return vec![event(told.from.value(), &told.to.id, "message", said)];
        }
        vec![webhook("messages", message(told))]
    }

    fn unrelated(&self) -> Vec<SampleWebhook> {
        if self.is_messenger() {
            let referral = json!({ "ref": "shop", "type": "OPEN_THREAD" });
            // What somebody else said in the page's name, told as what the page says is.
            let echo = json!({ "is_echo": true, "app_id": 1, "mid": "m_out", "text": "Hello." });
            return vec![
                event(PERSON, PAGE, "referral", referral),
                event(PAGE, PERSON, "message", echo),
            ];
        }
        let changed = json!({
            "from": "447700900000", "id": "wamid.in", "timestamp": "1698266945", "type": "system",
            "system": { "type": "user_changed_number", "wa_id": "447700900002" },
        });
        vec![webhook("messages", changed)]
    }

    fn handshakes(&self) -> Vec<Handshake> {
        let query =
            format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={VERIFY_TOKEN}");
        vec![Handshake { webhook: SampleWebhook::get(&query), answer: b"1158201444".to_vec() }]
    }

    fn sign(&self, webhook: &mut SampleWebhook) {
        let signature = SignatureScheme::Sha256Hex.sign(APP_SECRET.as_bytes(), &webhook.body);
        let header = format!("sha256={signature}").into_bytes();
        webhook.headers.push(("x-hub-signature-256".to_owned(), header));
    }

    /// No webhook of Messenger's tells that a message failed.
    fn tells_failures(&self) -> bool {
        !self.is_messenger()
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        if self.is_messenger() {
            let body = json!({ "recipient_id": "2384965291561984", "message_id": provider_id });
            return StubAnswer::new(200, body.to_string());
        }
        let body = json!({
            "messaging_product": "whatsapp",
            "contacts": [{ "input": "447700900000", "wa_id": "447700900000" }],
            "messages": [{ "id": provider_id, "message_status": "accepted" }],
        });
        StubAnswer::new(200, body.to_string())
    }

    fn understood(&self, request: &str) -> Option<UnderstoodRequest> {
        let (_, body) = request.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        if let Some(message) = body.get("message") {
            let kind = message["attachment"]["type"].as_str().unwrap_or("text");
            let kind = ContentKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
            return Some(UnderstoodRequest {
                channel: body.get("messaging_type").map(|_| Channel::MESSENGER),
                content: vec![kind],
            });
        }
        let kind = match body["type"].as_str()? {
            "text" => ContentKind::Text,
            "image" => ContentKind::Image,
            "audio" => ContentKind::Audio,
            "video" => ContentKind::Video,
            "document" => ContentKind::File,
            "location" => ContentKind::Location,
            "template" => ContentKind::Template,
            _ => ContentKind::Custom,
        };
        let channel = body["messaging_product"].as_str()?.parse().ok();
        Some(UnderstoodRequest { channel, content: vec![kind] })
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |status, code: u32, kind, fault, retry| {
            let error = json!({
                "message": format!("(#{code}) A title"), "type": "OAuthException", "code": code,
                "error_data": { "messaging_product": "whatsapp", "details": "Details." },
                "fbtrace_id": "AbCdEf",
            });
            let answer = StubAnswer::new(status, json!({ "error": error }).to_string());
            RefusalSample { answer, kind, fault, retry }
        };
        let (no, again) = (Retry::Permanent, Retry::Temporary { after: None });
        vec![
            refusal(401, 190, ErrorKind::Unauthorized, Fault::Account, no),
            refusal(403, 10, ErrorKind::Forbidden, Fault::Account, no),
            refusal(400, 131_042, ErrorKind::InsufficientFunds, Fault::Account, no),
            refusal(400, 131_047, ErrorKind::OutsideWindow, Fault::Recipient, no),
            refusal(404, 132_001, ErrorKind::ContentRejected, Fault::Content, no),
            refusal(400, 131_026, ErrorKind::Unreached, Fault::Recipient, no),
            refusal(400, 131_030, ErrorKind::InvalidRecipient, Fault::Recipient, no),
            refusal(400, 130_429, ErrorKind::Throttled, Fault::Provider, again),
            refusal(400, 131_000, ErrorKind::ProviderFailure, Fault::Provider, again),
            refusal(500, 1, ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        ]
    }
}

/// What Messenger tells of a message: that it was delivered.
fn of_page(told: &ExpectedReport) -> Vec<SampleWebhook> {
    let id = &told.provider_id;
    match told.report {
        Report::Reached(Status::Delivered) => {
            let delivery = json!({ "mids": [id], "watermark": 1_458_668_856_253_u64 });
            vec![event(PERSON, PAGE, "delivery", delivery)]
        }
        Report::Reached(Status::Pending | Status::Submitted | Status::Read | Status::Replied)
        | Report::Failed(_) => Vec::new(),
    }
}

/// A webhook with one event between a person and a page, whichever of them did it.
fn event(sender: &str, recipient: &str, name: &str, what: Value) -> SampleWebhook {
    let mut event = json!({
        "sender": { "id": sender }, "recipient": { "id": recipient },
        "timestamp": 1_458_668_856_463_u64,
    });
    event[name] = what;
    let entry = json!({ "id": PAGE, "time": 1_458_668_856_463_u64, "messaging": [event] });
    SampleWebhook::json(json!({ "object": "page", "entry": [entry] }))
}

/// A webhook with one item, as Meta wraps it.
fn webhook(kind: &str, item: Value) -> SampleWebhook {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "447700900001", "phone_number_id": NUMBER_ID },
        "contacts": [{ "wa_id": "447700900000", "profile": { "name": "Ada" } }],
    });
    value[kind] = json!([item]);
    let changes = json!([{ "field": "messages", "value": value }]);
    SampleWebhook::json(json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "102290129340398", "changes": changes }],
    }))
}

/// What a person writes to a number.
fn message(told: &InboundMessage) -> Value {
    let text = told.content.iter().find_map(Content::spoken).unwrap_or_default();
    let mut message = json!({
        "from": told.from.value(), "id": told.id, "timestamp": "1698266945", "type": "text",
        "text": { "body": text },
    });
    if let Some(quoted) = &told.quoted_id {
        message["context"] = json!({ "from": told.to.id, "id": quoted });
    }
    message
}
