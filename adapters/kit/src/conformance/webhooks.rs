//! Checks what is read from a provider's calls, and that forged ones change nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dispatch_contract::{
    Account, Correlation, Failure, Inbound, Report, Secret, Status, Verdict, WebhookOutcome,
    WebhookRequest,
};

use super::{ConformanceSubject, ExpectedReport, Findings, NOW, attempt, spoiled};

const PROVIDER_ID: &str = "11111111-2222-4333-8444-555555555555";

type Headers = Vec<(String, Vec<u8>)>;

pub(super) fn check(subject: &dyn ConformanceSubject, findings: &mut Findings) {
    let mut samples = Vec::new();
    let mut tells_more = false;
    for status in &subject.adapter().capabilities().condition_statuses {
        let bodies = told(subject, Report::Reached(*status));
        if *status > Status::Submitted {
            tells_more = true;
            findings.check("webhooks", !bodies.is_empty(), || {
                format!("{status} is declared, and no webhook tells it")
            });
        }
        receipts(subject, Report::Reached(*status), &bodies, findings);
        samples = bodies;
    }
    let failures = [Failure::Rejected, Failure::Undeliverable].map(|failure| {
        let bodies = told(subject, Report::Failed(failure));
        receipts(subject, Report::Failed(failure), &bodies, findings);
        bodies
    });
    let fails = failures.iter().any(|bodies| !bodies.is_empty());
    findings.check("webhooks", fails || !tells_more, || "no webhook tells a failure".to_owned());

    samples.extend(failures.concat());
    for body in &samples {
        if subject.signs() {
            forgeries(subject, body, findings);
        }
        nonsense(subject, body, findings);
        oddities(subject, body, findings);
    }
}

fn told(subject: &dyn ConformanceSubject, report: Report) -> Vec<Vec<u8>> {
    let provider_id = PROVIDER_ID.to_owned();
    subject.webhooks(&ExpectedReport { attempt: attempt(), provider_id, report })
}

/// Each shape gives the one receipt, with what the adapter declares to be echoed, as often as it
/// comes.
fn receipts(
    subject: &dyn ConformanceSubject,
    report: Report,
    bodies: &[Vec<u8>],
    findings: &mut Findings,
) {
    for (shape, body) in bodies.iter().enumerate() {
        let outcome = call(subject, &subject.sign(body), body);
        let what = format!("{report:?} in shape {}", shape + 1);
        findings.check("webhooks", outcome.verdict == Verdict::Understood, || {
            format!("{what} is {:?}", outcome.verdict)
        });
        let [Inbound::Receipt(receipt)] = outcome.inbound.as_slice() else {
            findings.check("webhooks", false, || format!("{what} gives no single receipt"));
            continue;
        };
        findings.check("webhooks", receipt.report == report, || {
            format!("{what} is read as {:?}", receipt.report)
        });
        match subject.adapter().capabilities().correlation {
            Correlation::AttemptId => {
                findings.check("correlation", receipt.attempt == Some(attempt()), || {
                    format!("our attempt id is declared to come back, and does not in {what}")
                })
            }
            Correlation::ProviderId => {
                let known = receipt.provider_id.as_deref() == Some(PROVIDER_ID);
                findings.check("correlation", known, || {
                    format!("nothing of ours comes back, and {what} has no provider id either")
                });
            }
        }
        let again = call(subject, &subject.sign(body), body);
        findings.check("webhooks", again == outcome, || format!("{what} repeated reads otherwise"));
    }
}

fn forgeries(subject: &dyn ConformanceSubject, body: &[u8], findings: &mut Findings) {
    let headers = subject.sign(body);
    let mut forged = |what: &str, outcome: &WebhookOutcome| {
        let nothing_happened = outcome.verdict == Verdict::Forged
            && outcome.status == 401
            && outcome.inbound.is_empty();
        findings.check("forgeries", nothing_happened, || {
            format!("a webhook {what} is taken as {:?}", outcome.verdict)
        });
    };

    forged("without its headers", &call(subject, &Headers::new(), body));
    for length in 0..body.len() {
        forged("cut short", &call(subject, &headers, &body[..length]));
    }
    for at in 0..body.len() {
        let mut changed = body.to_vec();
        changed[at] ^= 1;
        forged("changed in one bit", &call(subject, &headers, &changed));
    }
    let longer = [body, b"}".as_slice()].concat();
    forged("with something added", &call(subject, &headers, &longer));
    for (at, (_, value)) in headers.iter().enumerate() {
        for length in 0..value.len() {
            let mut cut = headers.clone();
            cut[at].1.truncate(length);
            forged("with a header cut short", &call(subject, &cut, body));
        }
    }
    let genuine = subject.account("http://127.0.0.1:9");
    let changed = |change: fn(&str) -> Option<Secret>| Account {
        secrets: genuine
            .secrets
            .iter()
            .filter_map(|(name, secret)| Some((name.clone(), change(secret.expose())?)))
            .collect(),
        ..genuine.clone()
    };
    let others = changed(|secret| Some(Secret::new(format!("not {secret}"))));
    forged("of another account", &call_as(subject, &others, &headers, body));
    let none = changed(|_| None);
    forged("to an account without secrets", &call_as(subject, &none, &headers, body));
}

/// Genuine bodies that make no sense: the adapter must not panic, must not call them forged, and
/// must answer 2xx, because a repeat would make no more sense.
fn nonsense(subject: &dyn ConformanceSubject, body: &[u8], findings: &mut Findings) {
    let mut survives = |body: &[u8]| {
        let outcome = call(subject, &subject.sign(body), body);
        let answered = outcome.verdict != Verdict::Forged && (200..300).contains(&outcome.status);
        findings.check("nonsense", answered, || {
            let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            format!("a genuine webhook of {start:?} is answered {}", outcome.status)
        });
        if outcome.verdict == Verdict::NotUnderstood {
            findings.check("nonsense", outcome.inbound.is_empty(), || {
                "a webhook that is not understood tells something".to_owned()
            });
        }
    };
    for text in ["", "null", "[]", "{}", "[[]]", "\"", "\u{feff}{}", &"[".repeat(10_000)] {
        survives(text.as_bytes());
    }
    for length in 0..body.len() {
        survives(&body[..length]);
    }
    let mut dice = Dice::new();
    for _ in 0..200 {
        let mut changed = body.to_vec();
        for _ in 0..3 {
            let [low, high, byte, ..] = dice.roll();
            let at = usize::from(u16::from_le_bytes([low, high])) % changed.len().max(1);
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
        }
        survives(&changed);
    }
}

/// What is odd where nobody looks must not lose the status beside it.
fn oddities(subject: &dyn ConformanceSubject, body: &[u8], findings: &mut Findings) {
    let genuine = call(subject, &subject.sign(body), body);
    let mut dice = Dice::new();
    for _ in 0..300 {
        let with: Vec<_> = (0..6).flat_map(|_| dice.roll()).collect();
        let odd = spoiled(body, &with);
        let outcome = call(subject, &subject.sign(&odd), &odd);
        findings.check("oddities", outcome == genuine, || {
            let start = String::from_utf8_lossy(&odd[..odd.len().min(400)]).into_owned();
            format!("{start:?} should be read as without what is odd, and is {outcome:?}")
        });
    }
}

/// A fixed seed: the same bytes in every run.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Dice(0x9e37_79b9_7f4a_7c15)
    }

    fn roll(&mut self) -> [u8; 8] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()
    }
}

fn call(subject: &dyn ConformanceSubject, headers: &Headers, body: &[u8]) -> WebhookOutcome {
    call_as(subject, &subject.account("http://127.0.0.1:9"), headers, body)
}

fn call_as(
    subject: &dyn ConformanceSubject,
    account: &Account,
    headers: &Headers,
    body: &[u8],
) -> WebhookOutcome {
    let url = format!("https://dispatch.example/webhooks/{}", account.name);
    let request = WebhookRequest { method: "POST", url: &url, query: "", headers, body };
    let read = || subject.provider().webhook(&request, account, NOW);
    // One that panics is neither genuine nor forged: it fails whatever is asked of it.
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| WebhookOutcome { status: 500, ..WebhookOutcome::forged() })
}
