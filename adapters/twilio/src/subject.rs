//! What the conformance suite has to know about a channel through Twilio.

use std::{fmt, sync::Arc};

use dispatch_contract::{
    Account, Channel, ChannelAdapter, Content, ContentKind, Endpoint, ErrorKind, Failure, Fault,
    InboundMessage, Message, OptOut, Provider, Recall, Report, Retry, Secret, Status,
};
use dispatch_kit::conformance::{
    ConformanceSubject, ExpectedReport, RecallSample, RefusalSample, SampleWebhook, SignedPart,
    StubAnswer, UnderstoodRequest, written,
};
use serde_json::json;

use super::{
    encode::{ATTEMPT, address},
    form::{Form, encoded},
    provider::twilio,
    samples::samples,
    signature::{HEADER, SCHEME, signed_text},
};

const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";
const AUTH_TOKEN: &str = "an auth token for the conformance suite";
const INBOUND_ID: &str = "SM88888888888888888888888888888888";
const CANCELED_SID: &str = "SM99999999999999999999999999999999";

/// An adapter, and one sample message for each kind of content.
pub struct TwilioSubject {
    provider: Arc<dyn Provider>,
    adapter: Arc<dyn ChannelAdapter>,
    samples: Vec<Message>,
}

/// What proves each of Twilio's channels.
pub fn subjects() -> Vec<Box<dyn ConformanceSubject>> {
    let channels = twilio().channels();
    let subjects = channels.iter().filter_map(|it| TwilioSubject::usual(it.channel()));
    subjects.map(|subject| Box::new(subject) as _).collect()
}

impl TwilioSubject {
    /// Puts a channel of Twilio's to the test, with a sample of each kind. `None` if it has no such channel.
    pub fn usual(channel: &Channel) -> Option<Self> {
        let provider = Arc::new(twilio());
        let adapter = provider.channels().into_iter().find(|it| it.channel() == channel)?;
        Some(TwilioSubject { provider, adapter, samples: samples(channel) })
    }
}

impl fmt::Debug for TwilioSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TwilioSubject").field(&self.adapter.name()).finish()
    }
}

impl ConformanceSubject for TwilioSubject {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.adapter
    }

    fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    fn account(&self, base_url: &str) -> Account {
        account(base_url)
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        self.samples.iter().find(|message| message.content.kind() == kind).cloned()
    }

    fn webhooks(&self, told: &ExpectedReport) -> Vec<SampleWebhook> {
        let ExpectedReport { attempt, provider_id: id, report } = told;
        let statuses: &[&str] = match report {
            Report::Reached(Status::Submitted) => &["queued", "sent", "partially_delivered"],
            Report::Reached(Status::Delivered) => &["delivered&RawDlrDoneDate=2611230640"],
            Report::Reached(Status::Read) => &["read&ChannelPrefix=whatsapp&EventType=READ"],
            Report::Reached(Status::Pending | Status::Replied) => &[],
            Report::Failed(Failure::Rejected) => &["failed&ErrorCode=63016"],
            Report::Failed(Failure::Undeliverable) => {
                &["undelivered&ErrorCode=30003", "failed&ErrorCode=30036", "canceled"]
            }
        };
        let webhook = |status: &&str| {
            let webhook = SampleWebhook::form(format!(
                "SmsSid={id}&SmsStatus={status}&MessageStatus={status}&To=%2B447700900000&MessageSid={id}\
                 &AccountSid={ACCOUNT_SID}&From=%2B447700900001&ApiVersion=2010-04-01"
            ));
            SampleWebhook { url: format!("{}?{ATTEMPT}={attempt}", webhook.url), ..webhook }
        };
        statuses.iter().map(webhook).collect()
    }

    fn opt_outs(&self, told: &OptOut) -> Vec<SampleWebhook> {
        let words = if told.is_lifted { ["START", "Bonjour"] } else { ["Stop", "Arrêt"] };
        let named = if told.is_lifted { "START" } else { "STOP" };
        let webhook = |(word, named): (&str, Option<&str>)| {
            let said = written(INBOUND_ID, told.recipient.clone(), told.sender.clone(), word);
            let mut fields = inbound(&said);
            fields.extend(named.map(|named| ("OptOutType", named.to_owned())));
            SampleWebhook::form(encoded(&fields))
        };
        [(words[0], None), (words[1], Some(named))].map(webhook).into()
    }

    fn inbound_messages(&self, told: &InboundMessage) -> Vec<SampleWebhook> {
        let mut fields = inbound(told);
        if told.to.channel == Channel::MMS {
            // Else it is an SMS.
            fields.retain(|(name, _)| *name != "NumMedia");
            fields.extend([("NumMedia", "1"), ("MediaContentType0", "image/png")].map(owned));
            fields.push(("MediaUrl0", "https://api.twilio.com/Media/ME1".to_owned()));
        }
        vec![SampleWebhook::form(encoded(&fields))]
    }

    fn sign(&self, webhook: &mut SampleWebhook) {
        let text = signed_text(&webhook.url, &webhook.body);
        let signature = SCHEME.sign(AUTH_TOKEN.as_bytes(), text.as_bytes());
        webhook.headers.push((HEADER.to_owned(), signature.into_bytes()));
    }

    fn signed_part(&self) -> SignedPart {
        SignedPart::UrlAndBody
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        let body = json!({ "sid": provider_id, "status": "queued", "error_code": null });
        StubAnswer::new(201, body.to_string())
    }

    /// The form's fields hold it, or the path does.
    fn carries(&self, request: &str, text: &str) -> bool {
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let line = head.lines().next().unwrap_or_default();
        let fields = Form::of(body.as_bytes());
        line.contains(text) || fields.sorted().iter().any(|(_, value)| value.contains(text))
    }

    /// Twilio tells files apart by what it fetches; here by how their names end.
    fn understood(&self, request: &str) -> Option<UnderstoodRequest> {
        let (_, body) = request.split_once("\r\n\r\n")?;
        let form = Form::of(body.as_bytes());
        let media = form.get("MediaUrl").map(|url| match url.rsplit('.').next() {
            Some("jpg" | "png") => ContentKind::Image,
            Some("mp3") => ContentKind::Audio,
            Some("mp4") => ContentKind::Video,
            Some(_) | None => ContentKind::File,
        });
        let channel = match form.get("To")?.split_once(':') {
            Some((name, _)) => name.parse().ok()?,
            None if media.is_some() || form.get("SendAsMms") == Some("true") => Channel::MMS,
            None => Channel::SMS,
        };
        let template = form.get("ContentSid").map(|_| ContentKind::Template);
        let place = form.get("PersistentAction").filter(|action| action.starts_with("geo:"));
        let place = place.map(|_| ContentKind::Location);
        // Beside a file or a place it is what is said of that.
        let text = form.get("Body").filter(|_| media.is_none() && place.is_none());
        let text = text.map(|_| ContentKind::Text);
        let content = media.into_iter().chain(place).chain(template).chain(text).collect();
        Some(UnderstoodRequest { channel: Some(channel), content })
    }

    fn recalls(&self) -> Vec<RecallSample> {
        let status = |status: &str| json!({ "sid": CANCELED_SID, "status": status }).to_string();
        [
            (StubAnswer::new(200, status("canceled")), Recall::Recalled),
            (StubAnswer::new(200, status("delivered")), Recall::TooLate(Some(Status::Delivered))),
            (StubAnswer::new(400, problem(30_409)), Recall::TooLate(None)),
        ]
        .map(|(answer, recall)| RecallSample { answer, recall })
        .into()
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |status, code, kind, fault, retry| RefusalSample {
            answer: StubAnswer::new(status, problem(code)),
            kind,
            fault,
            retry,
        };
        let (permanent, temporary) = (Retry::Permanent, Retry::Temporary { after: None });
        vec![
            refusal(400, 21_211, ErrorKind::InvalidRecipient, Fault::Recipient, permanent),
            refusal(400, 21_610, ErrorKind::OptedOut, Fault::Recipient, permanent),
            refusal(400, 21_606, ErrorKind::Forbidden, Fault::Account, permanent),
            refusal(400, 21_617, ErrorKind::ContentRejected, Fault::Content, permanent),
            refusal(400, 21_611, ErrorKind::Throttled, Fault::Provider, temporary),
            refusal(429, 20_429, ErrorKind::Throttled, Fault::Provider, temporary),
            refusal(401, 20_003, ErrorKind::Unauthorized, Fault::Account, permanent),
            refusal(500, 20_500, ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        ]
    }
}

fn account(base_url: &str) -> Account {
    let settings = [("base_url", base_url), ("account_sid", ACCOUNT_SID)];
    Account {
        name: "conformance".to_owned(),
        revision: 1,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        secrets: [("auth_token".to_owned(), Secret::new(AUTH_TOKEN))].into(),
    }
}

/// What a person writes.
fn inbound(told: &InboundMessage) -> Vec<(&'static str, String)> {
    let channel = &told.to.channel;
    let ours = match told.to.id.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Endpoint::Number(told.to.id.clone()),
        false => Endpoint::Id(told.to.id.clone()),
    };
    let text = told.content.iter().find_map(Content::spoken).unwrap_or_default();
    let mut fields = vec![
        ("MessageSid", told.id.clone()),
        ("SmsSid", told.id.clone()),
        ("SmsStatus", "received".to_owned()),
        ("From", address(channel, &told.from)),
        ("To", address(channel, &ours)),
        ("NumMedia", "0".to_owned()),
    ];
    fields.extend(told.quoted_id.iter().map(|id| ("OriginalRepliedMessageSid", id.clone())));
    fields.push(("Body", text.into_owned()));
    fields
}

fn owned((name, value): (&'static str, &str)) -> (&'static str, String) {
    (name, value.to_owned())
}

fn problem(code: u32) -> String {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    json!({ "code": code, "message": "A message.", "more_info": more_info, "status": 400 })
        .to_string()
}
