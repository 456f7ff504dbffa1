//! A genuine receipt or person's message, and a genuine answer to a send, spoiled where nobody looks: what they tell
//! stays.

use dispatch_contract::{
    ChannelSender, ContentKind, Failure, InboundMessage, Report, Status, Verdict,
};
use dispatch_kit::{
    codes::Codes,
    conformance::{self, ConformanceSubject, ExpectedReport, SampleWebhook},
    http::HttpResponse,
    json::Json,
};
use serde_json::json;

use super::{
    signed::SUBJECTS,
    webhook::{NOW, VONAGE, account, hash, read, read_request, signed},
};

const ATTEMPT: &str = "0198c0ffee007000800000000000beef.3";
const STATUSES: [&str; 6] = ["submitted", "delivered", "read", "seen", "rejected", "undeliverable"];

/// What Meta, Twilio and Telegram are made to tell.
const REPORTS: [Report; 5] = [
    Report::Reached(Status::Submitted),
    Report::Reached(Status::Delivered),
    Report::Reached(Status::Read),
    Report::Reached(Status::Replied),
    Report::Failed(Failure::Undeliverable),
];

/// The first byte chooses whose it is and its shape, the second the status and how its word is
/// written; all others spoil.
pub fn spoiled(data: &[u8]) {
    let [choice, word, with @ ..] = data else { return };
    if choice & 0x40 != 0 {
        return SUBJECTS.with(|subjects| {
            let subject = &*subjects[usize::from(choice & 0x3f) % subjects.len()];
            of_subject(subject, REPORTS[usize::from(word % 5)], with);
        });
    }
    let (is_v1, version) = if choice & 0x80 == 0 { (true, "v1") } else { (false, "v0.1") };
    let status = STATUSES[usize::from(word % 6)];
    let mut body = json!({
        "message_uuid": "11111111-2222-4333-8444-555555555555",
        "timestamp": "2025-02-03T12:14:25Z",
        "status": status,
        "client_ref": ATTEMPT,
        "usage": { "currency": "EUR", "price": "0.0333" },
    });
    if ["rejected", "undeliverable"].contains(&status) {
        body["error"] = if is_v1 {
            json!({ "title": "1360", "detail": "TTL activated" })
        } else {
            json!({ "code": 1360, "reason": "TTL activated" })
        };
    }
    let account = account(version);
    let told = |body: &[u8]| {
        let headers = signed(&json!({ "payload_hash": hash(body), "iat": NOW.0 / 1000 }));
        read(&**VONAGE, &account, &headers, body)
    };
    let genuine = told(body.to_string().as_bytes());
    assert_eq!((genuine.verdict, genuine.inbound.len()), (Verdict::Understood, 1));

    body["status"] = match word / 6 % 4 {
        0 => status.to_owned(),
        1 => status.to_uppercase(),
        2 => format!(" {status}\t"),
        _ => format!("{}{}", status[..1].to_uppercase(), &status[1..]),
    }
    .into();
    let spoil = |body: &str| conformance::spoiled(body.as_bytes(), with);
    assert_eq!(told(&spoil(&body.to_string())), genuine);

    // An answer is one value.
    for (status, body) in [
        (202, r#"{"message_uuid":"u-1","workflow_id":"w"}"#),
        (422, r#"{"type":"x#1000","title":"1000","detail":"Throttled","instance":"i"}"#),
        (422, r#"{"title":"t","type":"x#1150","invalid_parameters":[{"name":"text"}]}"#),
    ] {
        let answer =
            |body| dispatch_vonage::decode(&HttpResponse::new(status, body), Codes::default());
        let odd = spoil(body);
        if Json::items(&odd).count() == 1 {
            assert_eq!(answer(odd), answer(body.as_bytes().to_vec()));
        }
    }
}

/// Each genuine webhook by which a provider tells `report`, spoiled and signed, tells what it told.
fn of_subject(subject: &dyn ConformanceSubject, report: Report, with: &[u8]) {
    let account = subject.account("http://127.0.0.1:9");
    let told = |mut webhook: SampleWebhook| {
        subject.sign(&mut webhook);
        read_request(subject.provider(), &account, &webhook.as_request(), conformance::NOW)
    };
    let attempt = ATTEMPT.parse().expect("an attempt's id");
    let provider_id = "SM0123456789abcdef0123456789abcdef".to_owned();
    let answers = match report {
        Report::Reached(Status::Replied) => answers(subject, &provider_id),
        Report::Reached(_) | Report::Failed(_) => Vec::new(),
    };
    let webhooks = subject.webhooks(&ExpectedReport { attempt, provider_id, report });
    for webhook in webhooks.into_iter().chain(answers) {
        let genuine = told(webhook.clone());
        assert_eq!(genuine.verdict, Verdict::Understood);
        assert_eq!(told(webhook.spoiled(with)), genuine);
    }
}

/// What a person writes to a sample's sender, quoting this message of ours.
fn answers(subject: &dyn ConformanceSubject, quoted_id: &str) -> Vec<SampleWebhook> {
    let Some(sample) = ContentKind::ALL.into_iter().find_map(|kind| subject.sample(kind)) else {
        return Vec::new();
    };
    let to = ChannelSender { channel: sample.channel, id: sample.from.value().to_owned() };
    let said = conformance::written(subject.sample_id(), sample.to, to, "Yes.");
    subject.inbound_messages(&InboundMessage { quoted_id: Some(quoted_id.to_owned()), ..said })
}
