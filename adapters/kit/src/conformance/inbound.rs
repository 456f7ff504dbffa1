//! Checks what is read of what persons write.

use dispatch_contract::{ChannelSender, Content, Endpoint, Inbound, InboundMessage};

use super::{
    ConformanceSubject, Findings, Promise, SampleWebhook, any_sample, attempt,
    calls::{call, signed},
};

/// A text of a person's that quotes nothing.
pub fn written(id: &str, from: Endpoint, to: ChannelSender, text: &str) -> InboundMessage {
    InboundMessage {
        id: id.to_owned(),
        from,
        to,
        content: vec![Content::Text(text.to_owned())],
        quoted_id: None,
        quoted_attempt: None,
        provider_time: None,
    }
}

/// A text from a sample's recipient to its sender, which quotes a message of ours or does not.
fn asked(subject: &dyn ConformanceSubject, quotes: bool) -> Option<InboundMessage> {
    let sample = any_sample(subject)?;
    let to = ChannelSender { channel: sample.channel, id: sample.from.value().to_owned() };
    // Each under an id of its own, and none under that of the message that is quoted.
    let ours = subject.sample_id();
    let mut id = ours.to_owned();
    let last = id.pop();
    let others = ['7', '8', '9'].into_iter().filter(|other| Some(*other) != last);
    id.extend(others.skip(usize::from(quotes)).take(1));
    Some(InboundMessage {
        quoted_id: quotes.then(|| ours.to_owned()),
        quoted_attempt: quotes.then(attempt),
        ..written(&id, sample.to, to, "Yes.")
    })
}

/// The webhooks that tell of it.
pub(super) fn webhooks(subject: &dyn ConformanceSubject, quotes: bool) -> Vec<SampleWebhook> {
    asked(subject, quotes).map_or_else(Vec::new, |told| subject.inbound_messages(&told))
}

/// What a person wrote is read as that, whether it quotes or not.
pub(super) fn check(subject: &dyn ConformanceSubject, findings: &mut Findings) {
    for told in [false, true].into_iter().filter_map(|quotes| asked(subject, quotes)) {
        for webhook in subject.inbound_messages(&told) {
            let webhook = signed(subject, &webhook);
            let outcome = call(subject, &webhook);
            read_as(&told, &outcome.inbound, findings);
            let again = call(subject, &webhook);
            findings.check(Promise::InboundMessages, again == outcome, || {
                "a person's message that is told again reads otherwise".to_owned()
            });
        }
    }
}

fn read_as(told: &InboundMessage, inbound: &[Inbound], findings: &mut Findings) {
    let [Inbound::Message(read)] = inbound else {
        findings.check(Promise::InboundMessages, false, || {
            format!("a person's message is read as {inbound:?}")
        });
        return;
    };
    // A provider names what is quoted by its own id, by ours, or by both.
    let agrees = (read.quoted_id.is_none() || read.quoted_id == told.quoted_id)
        && (read.quoted_attempt.is_none() || read.quoted_attempt == told.quoted_attempt);
    let quotes = |it: &InboundMessage| it.quoted_id.is_some() || it.quoted_attempt.is_some();
    for (what, is_right) in [
        ("the id", read.id == told.id),
        ("who wrote", read.from == told.from),
        ("whom they wrote to", read.to == told.to),
        ("the text", told.content.iter().all(|part| read.content.contains(part))),
        ("the quote", agrees && quotes(read) == quotes(told)),
    ] {
        findings.check(Promise::InboundMessages, is_right, || {
            format!("{what} of a person's message is read otherwise: {read:?}, and was {told:?}")
        });
    }
}
