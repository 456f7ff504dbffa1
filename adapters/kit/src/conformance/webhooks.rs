//! Checks what is read from a provider's calls. What is forged is checked in [`forged`](super::forged).

use dispatch_contract::{
    AttemptId, ChannelSender, Correlation, Failure, Inbound, OptOut, Report, Status, Verdict,
    Watermark,
};

use super::{
    ConformanceSubject, ExpectedReport, Findings, NOW, Promise, SampleWebhook, any_sample, attempt,
    calls::{call, signed},
    inbound,
};

/// How often a genuine webhook is changed at random.
const CHANGES: usize = 200;
/// How often one is spoiled where nobody looks.
const ODDITIES: usize = 300;

/// What is told is read, whatever stands beside it.
pub(super) fn check(subject: &dyn ConformanceSubject) -> Findings {
    let mut findings = Findings::default();
    let is_heard = |report| subject.play_report(report).is_some();
    let mut tells_more = false;
    for (report, webhooks) in reported(subject) {
        if let Report::Reached(status) = report
            && status > Status::Submitted
            && subject.adapter().capabilities().tells(status)
        {
            tells_more = true;
            let is_told =
                !webhooks.is_empty() || is_heard(report) || !watermarks(subject, status).is_empty();
            findings.check(Promise::Status(status), is_told, || {
                format!("{status} is declared, and no webhook tells it")
            });
        }
        reports(subject, report, &webhooks, &mut findings);
    }
    let fails = reported(subject).iter().any(|(report, webhooks)| {
        matches!(report, Report::Failed(_)) && (!webhooks.is_empty() || is_heard(*report))
    });
    if fails || (tells_more && subject.tells_failures()) {
        findings.check(Promise::Failures, fails, || "no webhook tells a failure".to_owned());
    }
    conversations(subject, &mut findings);
    persons(subject, &mut findings);
    inbound::check(subject, &mut findings);
    for webhook in subject.unrelated() {
        says_nothing(subject, &webhook, &mut findings);
    }
    for webhook in samples(subject) {
        nonsense(subject, &webhook, &mut findings);
        oddities(subject, &webhook, &mut findings);
    }
    findings
}

/// What can be told, and the webhooks that tell it.
fn reported(subject: &dyn ConformanceSubject) -> Vec<(Report, Vec<SampleWebhook>)> {
    let declared = &subject.adapter().capabilities().condition_statuses;
    // What people answer is read also where nobody may wait for it.
    let reply = (!declared.contains(&Status::Replied)).then_some(Status::Replied);
    let reached = declared.iter().copied().chain(reply).map(Report::Reached);
    let failed = [Failure::Rejected, Failure::Undeliverable].map(Report::Failed);
    reached.chain(failed).map(|report| (report, told(subject, report))).collect()
}

/// Genuine webhooks of every kind, before they are signed: one status stands for all.
pub(super) fn samples(subject: &dyn ConformanceSubject) -> Vec<SampleWebhook> {
    let mut reported = reported(subject);
    let is_progress = |report: &Report| match report {
        Report::Reached(status) => *status != Status::Replied,
        Report::Failed(_) => false,
    };
    let highest =
        reported.iter().rposition(|(report, told)| is_progress(report) && !told.is_empty());
    let mut at = 0;
    reported.retain(|(report, _)| {
        at += 1;
        !is_progress(report) || Some(at - 1) == highest
    });
    let told = reported.into_iter().flat_map(|(_, webhooks)| webhooks);
    let covering = Status::ALL.iter().flat_map(|status| watermarks(subject, *status));
    let said = opt_out(subject, false).map_or_else(Vec::new, |told| subject.opt_outs(&told));
    let written = inbound::webhooks(subject, false);
    told.chain(covering).chain(said).chain(written).chain(subject.unrelated()).collect()
}

/// The webhooks that tell a status of everything that was sent in a conversation.
fn watermarks(subject: &dyn ConformanceSubject, status: Status) -> Vec<SampleWebhook> {
    watermark(subject, status).map_or_else(Vec::new, |told| subject.watermarks(&told))
}

/// That everything between a sample's sender and recipient reached a status by now.
fn watermark(subject: &dyn ConformanceSubject, status: Status) -> Option<Watermark> {
    let sample = any_sample(subject)?;
    let sender = ChannelSender { channel: sample.channel, id: sample.from.value().to_owned() };
    Some(Watermark { sender, recipient: sample.to, status, until: NOW })
}

/// What covers a conversation is read as that, and only where it is declared.
fn conversations(subject: &dyn ConformanceSubject, findings: &mut Findings) {
    let can = subject.adapter().capabilities();
    let (mut shapes, promise) = (0, Promise::Watermarks);
    for told in Status::ALL.iter().filter_map(|status| watermark(subject, *status)) {
        for webhook in subject.watermarks(&told) {
            shapes += 1;
            let status = told.status;
            findings.check(promise, can.watermarks, || {
                format!("a webhook tells {status} by a watermark, and none are declared")
            });
            findings.check(promise, can.tells(status), || {
                format!("a watermark tells {status}, which is not declared")
            });
            let webhook = signed(subject, &webhook);
            let outcome = call(subject, &webhook);
            let is_read = outcome.inbound.as_slice() == [Inbound::Watermark(told.clone())];
            findings.check(promise, is_read, || {
                format!("the watermark {told:?} is read as {:?}", outcome.inbound)
            });
            let again = call(subject, &webhook);
            findings.check(promise, again == outcome, || "repeated it reads otherwise".to_owned());
        }
    }
    if can.watermarks {
        findings.check(promise, shapes > 0, || {
            "watermarks are declared, and no webhook tells one".to_owned()
        });
    }
}

/// That a sample's recipient wants no messages of its sender, or wants them again.
fn opt_out(subject: &dyn ConformanceSubject, is_lifted: bool) -> Option<OptOut> {
    let sample = any_sample(subject)?;
    let sender = ChannelSender { channel: sample.channel, id: sample.from.value().to_owned() };
    Some(OptOut { sender, recipient: sample.to, is_lifted })
}

/// What a person wants is read as that, of them alone.
fn persons(subject: &dyn ConformanceSubject, findings: &mut Findings) {
    for told in [false, true].iter().filter_map(|is_lifted| opt_out(subject, *is_lifted)) {
        for webhook in subject.opt_outs(&told) {
            let inbound = call(subject, &signed(subject, &webhook)).inbound;
            let is_it = |one: &Inbound| *one == Inbound::OptOut(told.clone());
            let is_of_them = |one: &Inbound| match one {
                Inbound::OptOut(read) => {
                    read.is_lifted == told.is_lifted && read.recipient == told.recipient
                }
                // The word itself is something that they wrote.
                Inbound::Message(read) => read.from == told.recipient,
                _ => false,
            };
            let is_read = inbound.iter().any(is_it) && inbound.iter().all(is_of_them);
            findings.check(Promise::OptOuts, is_read, || {
                format!("the opt-out {told:?} is read as {inbound:?}")
            });
        }
    }
}

fn told(subject: &dyn ConformanceSubject, report: Report) -> Vec<SampleWebhook> {
    let provider_id = subject.sample_id().to_owned();
    let mut told = subject.webhooks(&ExpectedReport { attempt: attempt(), provider_id, report });
    if report == Report::Reached(Status::Replied) {
        told.extend(inbound::webhooks(subject, true));
    }
    told
}

/// What of ours an item names, and what it says.
fn named(inbound: &Inbound) -> Option<(Option<AttemptId>, Option<&str>, Report)> {
    match inbound {
        Inbound::Receipt(it) => Some((it.attempt, it.provider_id.as_deref(), it.report)),
        Inbound::Message(it) => {
            Some((it.quoted_attempt, it.quoted_id.as_deref(), Report::Reached(Status::Replied)))
        }
        _ => None,
    }
}

/// Each shape gives the one report, with what the adapter declares to be echoed, as often as it
/// comes.
fn reports(
    subject: &dyn ConformanceSubject,
    report: Report,
    webhooks: &[SampleWebhook],
    findings: &mut Findings,
) {
    let promise = promise(report);
    for (shape, webhook) in webhooks.iter().enumerate() {
        let webhook = signed(subject, webhook);
        let outcome = call(subject, &webhook);
        let what = format!("{report:?} in shape {}", shape + 1);
        findings.check(promise, outcome.verdict == Verdict::Understood, || {
            format!("{what} is {:?}", outcome.verdict)
        });
        read_as(subject, &what, (report, subject.sample_id()), &outcome.inbound, findings);
        let again = call(subject, &webhook);
        findings.check(promise, again == outcome, || format!("{what} repeated reads otherwise"));
    }
}

/// The one thing that was read is `report`, of the message that the provider calls `given_id`.
pub(super) fn read_as(
    subject: &dyn ConformanceSubject,
    what: &str,
    (report, given_id): (Report, &str),
    inbound: &[Inbound],
    findings: &mut Findings,
) {
    let promise = promise(report);
    let told = match inbound {
        [one] => named(one),
        _ => None,
    };
    let Some((of_attempt, provider_id, read)) = told else {
        findings
            .check(promise, false, || format!("{what} gives no single report, but {inbound:?}"));
        return;
    };
    findings.check(promise, read == report, || format!("{what} is read as {read:?}"));
    // Who answers names a message as the provider knows it, also where receipts repeat our id.
    let is_reply = report == Report::Reached(Status::Replied);
    let known = provider_id == Some(given_id);
    let is_ours = of_attempt == Some(attempt());
    match subject.adapter().capabilities().correlation {
        Correlation::AttemptId => {
            findings.check(Promise::Correlation, is_ours || (is_reply && known), || {
                format!("our attempt id is declared to come back, and does not in {what}")
            });
        }
        Correlation::ProviderId => findings.check(Promise::Correlation, known, || {
            format!("nothing of ours comes back, and {what} has no provider id either")
        }),
    }
}

/// What a report is the proof of.
pub(super) fn promise(report: Report) -> Promise {
    match report {
        Report::Reached(status) => Promise::Status(status),
        Report::Failed(_) => Promise::Failures,
    }
}

/// What tells nothing of ours is understood, and nothing is made up of it.
fn says_nothing(
    subject: &dyn ConformanceSubject,
    webhook: &SampleWebhook,
    findings: &mut Findings,
) {
    let outcome = call(subject, &signed(subject, webhook));
    let is_read = outcome.verdict == Verdict::Understood && outcome.inbound.is_empty();
    findings.check(Promise::Reading, is_read, || {
        format!(
            "{webhook:?} tells nothing of ours, and is {:?}: {:?}",
            outcome.verdict, outcome.inbound
        )
    });
}

/// Genuine requests that make no sense: the adapter must not panic, must not call them forged, and
/// must answer 2xx, because a repeat would make no more sense; and nothing is made up of them.
fn nonsense(subject: &dyn ConformanceSubject, webhook: &SampleWebhook, findings: &mut Findings) {
    let genuine = content(webhook);
    let mut tells: Vec<_> =
        call(subject, &signed(subject, webhook)).inbound.iter().map(kind).collect();
    // What names a message may stand beside one, and be all that is left.
    tells.extend(subject.adapter().capabilities().watermarks.then_some(WATERMARK));
    let mut survives = |content: &[u8], may_tell: &[u8]| {
        let outcome = call(subject, &signed(subject, &with_content(webhook, content)));
        let answered = outcome.verdict != Verdict::Forged && (200..300).contains(&outcome.status);
        let start = || String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned();
        findings.check(Promise::Reading, answered, || {
            format!("a genuine webhook of {:?} is answered {}", start(), outcome.status)
        });
        if outcome.verdict == Verdict::NotUnderstood {
            findings.check(Promise::Reading, outcome.inbound.is_empty(), || {
                "a webhook that is not understood tells something".to_owned()
            });
        }
        let made_up = outcome.inbound.iter().find(|one| !may_tell.contains(&kind(one)));
        findings.check(Promise::Reading, made_up.is_none(), || {
            format!("of {:?} something is made up: {made_up:?}", start())
        });
    };
    for text in ["", "null", "[]", "{}", "[[]]", "\"", "\u{feff}{}", "=&=%", &"[".repeat(10_000)] {
        survives(text.as_bytes(), &[]);
    }
    for length in 0..genuine.len() {
        survives(&genuine[..length], &tells);
    }
    let mut dice = Dice::new();
    for _ in 0..CHANGES {
        let mut changed = genuine.to_vec();
        for _ in 0..3 {
            let [low, high, byte, ..] = dice.roll();
            let at = usize::from(u16::from_le_bytes([low, high])) % changed.len().max(1);
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
        }
        survives(&changed, &tells);
    }
}

const WATERMARK: u8 = 2;

/// Whether it is a receipt, a person's message, a watermark, an opt-out or something else.
fn kind(inbound: &Inbound) -> u8 {
    match inbound {
        Inbound::Receipt(_) => 0,
        Inbound::Message(_) => 1,
        Inbound::Watermark(_) => WATERMARK,
        Inbound::OptOut(_) => 3,
        _ => 4,
    }
}

/// Where a webhook says what it says: its body, or its query where that is empty.
fn content(webhook: &SampleWebhook) -> &[u8] {
    match webhook.body.is_empty() {
        true => webhook.query().as_bytes(),
        false => &webhook.body,
    }
}

/// The same webhook with something else there.
fn with_content(webhook: &SampleWebhook, content: &[u8]) -> SampleWebhook {
    match webhook.body.is_empty() {
        true => webhook.with_query(&String::from_utf8_lossy(content)),
        false => SampleWebhook { body: content.to_vec(), ..webhook.clone() },
    }
}

/// What is odd where nobody looks must not lose what stands beside it.
fn oddities(subject: &dyn ConformanceSubject, webhook: &SampleWebhook, findings: &mut Findings) {
    let genuine = call(subject, &signed(subject, webhook));
    let mut dice = Dice::new();
    for _ in 0..ODDITIES {
        let with: Vec<_> = (0..6).flat_map(|_| dice.roll()).collect();
        let odd = signed(subject, &webhook.spoiled(&with));
        let outcome = call(subject, &odd);
        findings.check(Promise::Reading, outcome == genuine, || {
            let start: String = format!("{odd:?}").chars().take(400).collect();
            format!("{start} should be read as without what is odd, and is {outcome:?}")
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
