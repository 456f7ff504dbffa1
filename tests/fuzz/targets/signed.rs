//! Webhooks of Meta, Twilio and Telegram: any body, signed as they sign.

use dispatch_contract::Verdict;
use dispatch_kit::conformance::{ConformanceSubject, NOW, SampleWebhook};

use super::webhook::read_request;

thread_local! {
    pub(super) static SUBJECTS: Vec<Box<dyn ConformanceSubject>> = dispatch_meta::subjects()
        .into_iter()
        .chain(dispatch_twilio::subjects())
        .chain(dispatch_telegram::gateway::subjects())
        .collect();
}

/// The first byte chooses the adapter, and by its highest bit whether the body is JSON or a form.
pub fn signed(data: &[u8]) {
    let [choice, body @ ..] = data else { return };
    SUBJECTS.with(|subjects| {
        let subject = &*subjects[usize::from(choice & 0x7f) % subjects.len()];
        genuine(subject, choice & 0x80 != 0, body);
    });
}

fn genuine(subject: &dyn ConformanceSubject, is_json: bool, body: &[u8]) {
    let empty = if is_json { SampleWebhook::json("") } else { SampleWebhook::form("") };
    let mut webhook = SampleWebhook { body: body.to_vec(), ..empty };
    subject.sign(&mut webhook);
    let account = subject.account("http://127.0.0.1:9");
    let read = |webhook: &SampleWebhook| {
        read_request(subject.provider(), &account, &webhook.as_request(), NOW)
    };
    let outcome = read(&webhook);
    assert_ne!(outcome.verdict, Verdict::Forged, "it is genuine");
    assert_eq!(outcome.status, 200, "a repeat would not be understood either");
    // One more byte that is not white space, and the signature is another body's.
    webhook.body.push(b'0');
    assert_eq!(read(&webhook).verdict, Verdict::Forged);
}
