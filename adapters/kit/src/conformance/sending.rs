//! Checks that what leaves is the message, once, and what a repeat comes to.

use std::io;

use dispatch_contract::{
    Accepted, AdapterError, AttemptId, Content, ContentKind, Correlation, Message, UnixMillis,
};

use super::{
    Behaviour, ConformanceSubject, Findings, NOW, Promise, any_sample, attempt,
    played::{PlayedCall, TIMEOUT, send, send_as},
};

/// Each kind of content is sent.
pub(super) async fn check(subject: &dyn ConformanceSubject) -> io::Result<Findings> {
    let mut findings = Findings::default();
    for kind in &subject.adapter().capabilities().content {
        // That there is one is checked with the content.
        let Some(message) = subject.sample(*kind) else { continue };
        let answer = Behaviour::Answer(subject.accepted(subject.sample_id()));
        let sent = send(subject, &message, answer, TIMEOUT).await?;
        let PlayedCall { result, requests, provider_id } = sent;
        let mut say = |holds, problem: String| {
            findings.check(Promise::Content(*kind), holds, || problem);
        };
        say(
            is_under(&result, &[&provider_id]),
            format!("the sample is answered with success, and gives {result:?}"),
        );
        let [request] = requests.as_slice() else {
            say(false, format!("one message is one request, and {} came", requests.len()));
            continue;
        };
        say(true, String::new());
        carries_our_id(subject, request, &mut findings);
        carries_the_message(subject, &message, request, &mut findings);
    }
    parts(subject, &mut findings).await?;
    clock(subject, &mut findings).await?;
    Ok(findings)
}

/// Whether a call was accepted under these ids.
fn is_under(result: &Result<Accepted, AdapterError>, provider_ids: &[&str]) -> bool {
    result.as_ref().is_ok_and(|accepted| accepted.provider_ids == provider_ids)
}

/// A message that was accepted in parts is told under all their ids.
async fn parts(subject: &dyn ConformanceSubject, findings: &mut Findings) -> io::Result<()> {
    if !subject.adapter().capabilities().parts {
        return Ok(());
    }
    let provider_ids = ["part-1", "part-2", "part-3"];
    let (message, answer) = (any_sample(subject), subject.accepted_in_parts(&provider_ids));
    let has_sample = message.is_some() && answer.is_some();
    findings.check(Promise::Parts, has_sample, || {
        "parts are declared, and no sample of their answer is there".to_owned()
    });
    let (Some(message), Some(answer)) = (message, answer) else { return Ok(()) };
    let played = send(subject, &message, Behaviour::Answer(answer), TIMEOUT).await?;
    findings.check(Promise::Parts, is_under(&played.result, &provider_ids), || {
        format!("three parts were accepted, and told is {:?}", played.result)
    });
    Ok(())
}

/// Whose watermarks are read by the provider's clock has to tell how that stands.
async fn clock(subject: &dyn ConformanceSubject, findings: &mut Findings) -> io::Result<()> {
    if !subject.adapter().capabilities().watermarks || !subject.speaks_http() {
        return Ok(());
    }
    let Some(message) = any_sample(subject) else { return Ok(()) };
    // A day before the suite's own time.
    let answer =
        subject.accepted(subject.sample_id()).with_header("date", "Mon, 13 Nov 2023 22:13:20 GMT");
    let played = send(subject, &message, Behaviour::Answer(answer), TIMEOUT).await?;
    let told = played.result.as_ref().ok().and_then(|accepted| accepted.provider_time);
    let is_told = told == Some(UnixMillis(NOW.0 - 86_400_000));
    findings.check(Promise::Watermarks, is_told, || {
        format!("the answer's Date is not told as the provider's time, but {told:?}")
    });
    Ok(())
}

/// What left is the message: to whom, on which channel, and what it says.
fn carries_the_message(
    subject: &dyn ConformanceSubject,
    message: &Message,
    request: &str,
    findings: &mut Findings,
) {
    let kind = message.content.kind();
    let mut carried = |text: &str, what: &str| {
        findings.check(Promise::Content(kind), subject.carries(request, text), || {
            format!("the request does not carry {what}")
        });
    };
    carried(message.to.value(), "the recipient");
    if let Some(why) = subject.hidden_content() {
        findings
            .not_tried(Promise::Content(kind), format!("that what leaves is the message: {why}"));
        return;
    }
    match &message.content {
        Content::Text(text) => carried(text, "the text"),
        Content::Image(media)
        | Content::Audio(media)
        | Content::Video(media)
        | Content::File(media) => {
            carried(&media.url, "the file's URL");
            if let Some(caption) = &media.caption {
                carried(caption, "the caption");
            }
        }
        Content::Location { latitude, longitude, .. } => {
            carried(latitude, "the latitude");
            carried(longitude, "the longitude");
        }
        Content::Template { name, parameters } => {
            carried(name, "the template's name");
            parameters.iter().for_each(|text| carried(text, "a parameter"));
        }
        Content::Code { code, .. } => carried(code, "the code"),
        Content::Custom(_) => {}
    }
    let Some(understood) = subject.understood(request) else { return };
    if let Some(channel) = understood.channel {
        let ours = subject.adapter().channel();
        findings.check(Promise::Content(kind), channel == *ours, || {
            format!("a message on {ours} goes out on {channel}")
        });
    }
    // A code is what the channel makes of it: a text, a template.
    let is_so = match kind {
        ContentKind::Code => understood.content.len() == 1,
        _ => understood.content == [kind],
    };
    findings.check(Promise::Content(kind), is_so, || {
        format!("the provider understands {:?}", understood.content)
    });
}

fn carries_our_id(subject: &dyn ConformanceSubject, request: &str, findings: &mut Findings) {
    match subject.adapter().capabilities().correlation {
        Correlation::AttemptId => {
            let carried = subject.carries(request, &attempt().to_string());
            findings.check(Promise::Correlation, carried, || {
                "our attempt id is declared to come back, and the request does not carry it"
                    .to_owned()
            });
        }
        Correlation::ProviderId => {}
    }
}

/// A repeat is known as one, and as no other message's; and its answer is the first message.
pub(super) async fn idempotence(subject: &dyn ConformanceSubject) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let is_declared = subject.adapter().capabilities().idempotent_for.is_some();
    let Some(message) = any_sample(subject).filter(|_| is_declared) else { return Ok(findings) };
    let mut check = |holds, problem: &dyn Fn() -> String| {
        findings.check(Promise::Idempotence, holds, problem);
    };
    let other = AttemptId { number: attempt().number + 1, ..attempt() };
    let mut keys = Vec::new();
    for attempt in [attempt(), attempt(), other] {
        let accepted = Behaviour::Answer(subject.accepted(subject.sample_id()));
        let sent = send_as(subject, attempt, &message, accepted, TIMEOUT).await?;
        let request = sent.requests.first().map_or("", String::as_str);
        keys.push(subject.idempotency_key(request).filter(|key| !key.is_empty()));
    }
    let [first, repeat, other] = keys.as_slice() else { return Ok(findings) };
    check(first.is_some(), &|| {
        "idempotent_for is declared, and the request carries no key".to_owned()
    });
    check(first == repeat, &|| {
        "two calls under one attempt carry different keys: two messages would go out".to_owned()
    });
    check(first.is_none() || first != other, &|| {
        "calls of two attempts carry the same key: the second message would not go out".to_owned()
    });
    let Some(answer) = subject.duplicate(subject.sample_id()) else {
        check(false, &|| "there is no sample of the answer to a repeated call".to_owned());
        return Ok(findings);
    };
    let PlayedCall { result, provider_id, .. } =
        send(subject, &message, Behaviour::Answer(answer), TIMEOUT).await?;
    check(is_under(&result, &[&provider_id]), &|| {
        format!("a repeated call's answer means the first message, and gives {result:?}")
    });
    Ok(findings)
}
