//! What the conformance suite has to know about the Gateway.

use std::fmt;

use dispatch_contract::{
    Account, ChannelAdapter, Content, ContentKind, Endpoint, ErrorKind, Failure, Fault, Message,
    Options, Provider, Recall, Report, Retry, Secret, Status,
};
use dispatch_kit::conformance::{
    ConformanceSubject, ExpectedReport, RecallSample, RefusalSample, SampleWebhook, StubAnswer,
    UnderstoodRequest,
};
use serde_json::{Value, json};

use super::{
    provider::{Telegram, telegram},
    webhook::{SIGNATURE, TIMESTAMP, signature},
};

const TOKEN: &str = "AAGG-a-token-for-the-conformance-suite";
const SIGNED_AT: &str = "1700000000";

/// The adapter, and a sample message.
pub struct TelegramSubject(Telegram);

/// What proves the Gateway's channel.
pub fn subjects() -> Vec<Box<dyn ConformanceSubject>> {
    vec![Box::new(TelegramSubject::usual())]
}

impl TelegramSubject {
    /// Puts it to the test.
    pub fn usual() -> Self {
        TelegramSubject(telegram())
    }
}

impl ConformanceSubject for TelegramSubject {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.0.0
    }

    fn provider(&self) -> &dyn Provider {
        &self.0
    }

    fn account(&self, base_url: &str) -> Account {
        Account {
            name: "conformance".to_owned(),
            revision: 1,
            settings: [("base_url".to_owned(), base_url.to_owned())].into(),
            secrets: [("access_token".to_owned(), Secret::new(TOKEN))].into(),
        }
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        (kind == ContentKind::Code).then(|| Message {
            channel: self.adapter().channel().clone(),
            from: Endpoint::Id("acme_codes".to_owned()),
            to: Endpoint::Number("447700900000".to_owned()),
            content: Content::Code { code: "271828".to_owned(), text: None },
            options: Options::default(),
        })
    }

    fn webhooks(&self, told: &ExpectedReport) -> Vec<SampleWebhook> {
        let statuses: &[(&str, bool)] = match told.report {
            Report::Reached(Status::Submitted) => &[("sent", false)],
            Report::Reached(Status::Delivered) => &[("delivered", false)],
            Report::Reached(Status::Read) => &[("read", false)],
            Report::Reached(Status::Pending | Status::Replied)
            | Report::Failed(Failure::Rejected) => &[],
            Report::Failed(Failure::Undeliverable) => &[("expired", true), ("revoked", false)],
        };
        let webhook = |(status, is_refunded): &(&str, bool)| {
            let mut body = request(&told.provider_id, &told.attempt.to_string());
            body["delivery_status"] = json!({ "status": status, "updated_at": 1_700_000_000 });
            if *is_refunded {
                body["is_refunded"] = json!(true);
            }
            SampleWebhook::json(body)
        };
        statuses.iter().map(webhook).collect()
    }

    fn unrelated(&self) -> Vec<SampleWebhook> {
        let mut body = request("271828182845904", "");
        body["verification_status"] =
            json!({ "status": "code_valid", "updated_at": 1_700_000_000 });
        vec![SampleWebhook::json(body)]
    }

    fn sign(&self, webhook: &mut SampleWebhook) {
        let signature = signature(TOKEN, SIGNED_AT, &webhook.body);
        for (name, value) in [(TIMESTAMP, SIGNED_AT), (SIGNATURE, &signature)] {
            webhook.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        }
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        StubAnswer::new(200, granted(&request(provider_id, "")))
    }

    fn understood(&self, request: &str) -> Option<UnderstoodRequest> {
        let (_, body) = request.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        let code = body.get("code").map(|_| ContentKind::Code);
        Some(UnderstoodRequest { channel: None, content: code.into_iter().collect() })
    }

    fn recalls(&self) -> Vec<RecallSample> {
        [
            ("revoked", Recall::Recalled),
            ("expired", Recall::Recalled),
            ("delivered", Recall::TooLate(Some(Status::Delivered))),
            ("read", Recall::TooLate(Some(Status::Read))),
        ]
        .map(|(status, recall)| {
            let mut body = request("271828182845904", "");
            body["delivery_status"] = json!({ "status": status, "updated_at": 1_700_000_000 });
            RecallSample { answer: StubAnswer::new(200, granted(&body)), recall }
        })
        .into()
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |status, error: &str, kind, fault, retry| {
            let body = json!({ "ok": false, "error": error }).to_string();
            RefusalSample { answer: StubAnswer::new(status, body), kind, fault, retry }
        };
        let (no, again) = (Retry::Permanent, Retry::Temporary { after: None });
        vec![
            refusal(200, "ACCESS_TOKEN_INVALID", ErrorKind::Unauthorized, Fault::Account, no),
            refusal(400, "BALANCE_NOT_ENOUGH", ErrorKind::InsufficientFunds, Fault::Account, no),
            refusal(200, "SENDER_NOT_VERIFIED", ErrorKind::Forbidden, Fault::Account, no),
            refusal(200, "PHONE_NUMBER_INVALID", ErrorKind::InvalidRecipient, Fault::Recipient, no),
            refusal(400, "PHONE_NUMBER_NOT_AVAILABLE", ErrorKind::Unreached, Fault::Recipient, no),
            refusal(200, "CODE_INVALID", ErrorKind::ContentRejected, Fault::Content, no),
            refusal(200, "FLOOD_WAIT_3", ErrorKind::Throttled, Fault::Provider, again),
            refusal(200, "NEVER_HEARD_OF", ErrorKind::InvalidRequest, Fault::Content, no),
            refusal(500, "INTERNAL", ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        ]
    }
}

impl fmt::Debug for TelegramSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TelegramSubject")
    }
}

/// What the Gateway shows of a request.
fn request(id: &str, payload: &str) -> Value {
    json!({
        "request_id": id, "phone_number": "+447700900000", "request_cost": 0.01, "payload": payload,
    })
}

fn granted(result: &Value) -> String {
    json!({ "ok": true, "result": result }).to_string()
}
