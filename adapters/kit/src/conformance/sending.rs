//! Checks what is sent, and what is made of the answers, over real HTTP.

use std::{io, time::Duration};

use dispatch_contract::{
    Accepted, AdapterError, AttemptId, Content, Correlation, ErrorKind, Fault, Message, Retry,
    SendContext,
};

use super::{
    ConformanceSubject, Findings, NOW, StubAnswer, any_sample, attempt,
    stub::{Behaviour, Stub},
};

const PROVIDER_ID: &str = "11111111-2222-4333-8444-555555555555";
const TIMEOUT: Duration = Duration::from_secs(5);
const SHORT_TIMEOUT: Duration = Duration::from_millis(300);

type ObservedSend = Result<Accepted, AdapterError>;

pub(super) async fn check(subject: &dyn ConformanceSubject, findings: &mut Findings) {
    if let Err(error) = try_check(subject, findings).await {
        findings.check("sending", false, || format!("no loopback socket to test with: {error}"));
    }
}

async fn try_check(subject: &dyn ConformanceSubject, findings: &mut Findings) -> io::Result<()> {
    for kind in &subject.adapter().capabilities().content {
        // That there is one is checked with the content.
        let Some(message) = subject.sample(*kind) else { continue };
        let answer = Behaviour::Answer(subject.accepted(PROVIDER_ID));
        let (sent, request) = send_to(subject, &message, answer, TIMEOUT).await?;
        let accepted = Accepted { provider_id: PROVIDER_ID.to_owned() };
        findings.check("sending", sent.as_ref() == Ok(&accepted), || {
            format!("the sample of {kind} is answered with success, and gives {sent:?}")
        });
        carries_our_id(subject, kind.as_str(), request.as_deref(), findings);
        carries_the_message(subject, &message, request.as_deref().unwrap_or_default(), findings);
    }
    let Some(message) = any_sample(subject) else { return Ok(()) };
    redirects(subject, &message, findings).await?;
    outcomes(subject, &message, findings).await?;
    transport(subject, &message, findings).await?;
    refusals(subject, &message, findings).await?;
    discretion(subject, &message, findings).await?;
    if subject.adapter().capabilities().idempotent_for.is_some() {
        idempotence(subject, &message, findings).await?;
    }
    Ok(())
}

/// A repeat is known as one, and as no other message's; and its answer is the first message.
async fn idempotence(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    let other = AttemptId { number: attempt().number + 1, ..attempt() };
    let mut keys = Vec::new();
    for attempt in [attempt(), attempt(), other] {
        let stub = Stub::start(Behaviour::Answer(subject.accepted(PROVIDER_ID)))?;
        let _ = send_as(subject, attempt, message, &stub.url(), TIMEOUT).await;
        let request = stub.request().unwrap_or_default();
        keys.push(subject.idempotency_key(&request).filter(|key| !key.is_empty()));
    }
    let [first, repeat, other] = keys.as_slice() else { return Ok(()) };
    findings.check("idempotence", first.is_some(), || {
        "idempotent_for is declared, and the request carries no key".to_owned()
    });
    findings.check("idempotence", first == repeat, || {
        "two calls under one attempt carry different keys: two messages would go out".to_owned()
    });
    findings.check("idempotence", first.is_none() || first != other, || {
        "calls of two attempts carry the same key: the second message would not go out".to_owned()
    });
    // That there is one is checked with the declaration.
    let Some(answer) = subject.duplicate(PROVIDER_ID) else { return Ok(()) };
    let (sent, _) = send_to(subject, message, Behaviour::Answer(answer), TIMEOUT).await?;
    let first = Accepted { provider_id: PROVIDER_ID.to_owned() };
    findings.check("idempotence", sent.as_ref() == Ok(&first), || {
        format!("a repeated call's answer means the first message, and gives {sent:?}")
    });
    Ok(())
}

/// What left is the message: to whom, and what it says.
fn carries_the_message(
    subject: &dyn ConformanceSubject,
    message: &Message,
    request: &str,
    findings: &mut Findings,
) {
    let kind = message.content.kind();
    let mut carried = |text: &str, what: &str| {
        findings.check("sending", subject.carries(request, text), || {
            format!("the request for {kind} does not carry {what}")
        });
    };
    carried(message.to.value(), "the recipient");
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
}

/// Whoever answers with another address gets neither the message nor the credential sent there.
async fn redirects(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Stub::start(Behaviour::Answer(subject.accepted(PROVIDER_ID)))?;
        let answer = StubAnswer::new(status, "").with_header("Location", elsewhere.url());
        let (sent, _) = send_to(subject, message, Behaviour::Answer(answer), TIMEOUT).await?;
        findings.check("redirects", sent.is_err() && elsewhere.request().is_none(), || {
            format!("HTTP {status} is followed to another address, and gives {sent:?}")
        });
    }
    Ok(())
}

fn carries_our_id(
    subject: &dyn ConformanceSubject,
    what: &str,
    request: Option<&str>,
    findings: &mut Findings,
) {
    findings.check("sending", request.is_some(), || format!("{what} was not sent"));
    match subject.adapter().capabilities().correlation {
        Correlation::AttemptId => {
            let carried = request.is_some_and(|text| text.contains(&attempt().to_string()));
            findings.check("correlation", carried, || {
                format!("our attempt id is declared to come back, and {what} does not carry it")
            });
        }
        Correlation::ProviderId => {}
    }
}

/// What every provider's answers mean by their HTTP status alone.
async fn outcomes(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    let throttled = StubAnswer::new(429, "").with_header("Retry-After", "7");
    let after = Some(Duration::from_secs(7));
    for (answer, fault, retry) in [
        (throttled, None, Retry::Temporary { after }),
        (StubAnswer::new(401, "{}"), Some(Fault::Account), Retry::Permanent),
        (StubAnswer::new(403, "{}"), Some(Fault::Account), Retry::Permanent),
        (StubAnswer::new(500, "{}"), Some(Fault::Provider), Retry::Unknown),
        (StubAnswer::new(503, "busy"), Some(Fault::Provider), Retry::Unknown),
        (StubAnswer::new(200, "<html>"), Some(Fault::Provider), Retry::Unknown),
        (StubAnswer::new(200, ""), Some(Fault::Provider), Retry::Unknown),
        (StubAnswer::new(202, "{}"), Some(Fault::Provider), Retry::Unknown),
    ] {
        let what = format!("HTTP {} with {:?}", answer.status, answer.body);
        let (sent, _) = send_to(subject, message, Behaviour::Answer(answer), TIMEOUT).await?;
        failed(&what, &sent, None, fault, retry, findings);
    }
    Ok(())
}

/// What a call without an answer means: whether the request may have left.
async fn transport(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    let provider = Some(Fault::Provider);
    let unreachable = Some(ErrorKind::Unreachable);
    let refused = send(subject, message, &Stub::nobody()?, TIMEOUT).await;
    let temporary = Retry::Temporary { after: None };
    failed("a refused connection", &refused, unreachable, provider, temporary, findings);

    let timeout = Some(ErrorKind::Timeout);
    let (hung, _) = send_to(subject, message, Behaviour::Hang, SHORT_TIMEOUT).await?;
    failed("no answer in time", &hung, timeout, provider, Retry::Unknown, findings);

    let (cut, _) = send_to(subject, message, Behaviour::HangUp, TIMEOUT).await?;
    failed("a connection closed unanswered", &cut, None, provider, Retry::Unknown, findings);
    Ok(())
}

async fn refusals(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    let refusals = subject.refusals();
    findings.check("refusals", !refusals.is_empty(), || "no sample of a refusal".to_owned());
    for refusal in refusals {
        let what = format!("HTTP {} with {:?}", refusal.answer.status, refusal.answer.body);
        let answer = Behaviour::Answer(refusal.answer);
        let (sent, _) = send_to(subject, message, answer, TIMEOUT).await?;
        let (kind, fault) = (Some(refusal.kind), Some(refusal.fault));
        failed(&what, &sent, kind, fault, refusal.retry, findings);
    }
    Ok(())
}

/// No error shows who is written to, what is said, or a secret, even if the provider repeats it.
async fn discretion(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    let account = subject.account("http://127.0.0.1:9");
    let mut private = vec![message.to.value().to_owned()];
    private.extend(account.secrets.values().map(|secret| secret.expose().to_owned()));
    if let Content::Text(text) = &message.content {
        private.push(text.clone());
    }
    let said = private.join(" ");
    for status in [202, 400, 401, 422, 429, 500] {
        let body = format!(
            "{{\"type\":\"x#{said}\",\"title\":\"{said}\",\"detail\":\"{said}\",\"code\":\"{said}\"}}"
        );
        let answer = Behaviour::Answer(StubAnswer::new(status, body));
        let (sent, _) = send_to(subject, message, answer, TIMEOUT).await?;
        let shown = format!("{sent:?}");
        findings.check("discretion", private.iter().all(|text| !shown.contains(text)), || {
            format!("the error for HTTP {status} repeats what the provider said")
        });
    }
    Ok(())
}

fn failed(
    what: &str,
    sent: &ObservedSend,
    kind: Option<ErrorKind>,
    fault: Option<Fault>,
    retry: Retry,
    findings: &mut Findings,
) {
    let holds = sent.as_ref().is_err_and(|error| {
        error.retry == retry
            && kind.is_none_or(|kind| error.kind == kind)
            && fault.is_none_or(|fault| error.fault == fault)
    });
    findings.check("errors", holds, || {
        format!("{what} should be {kind:?} {fault:?} {retry:?}, and gives {sent:?}")
    });
}

async fn send_to(
    subject: &dyn ConformanceSubject,
    message: &Message,
    behaviour: Behaviour,
    timeout: Duration,
) -> io::Result<(ObservedSend, Option<String>)> {
    let stub = Stub::start(behaviour)?;
    let sent = send(subject, message, &stub.url(), timeout).await;
    Ok((sent, stub.request()))
}

async fn send(
    subject: &dyn ConformanceSubject,
    message: &Message,
    base_url: &str,
    timeout: Duration,
) -> ObservedSend {
    send_as(subject, attempt(), message, base_url, timeout).await
}

async fn send_as(
    subject: &dyn ConformanceSubject,
    attempt: AttemptId,
    message: &Message,
    base_url: &str,
    timeout: Duration,
) -> ObservedSend {
    let account = subject.account(base_url);
    let context = SendContext {
        attempt,
        account: &account,
        callback_url: Some("https://dispatch.example/webhooks/main"),
        useful_for: None,
        now: NOW,
        timeout,
    };
    let call = subject.adapter().send(&context, message);
    tokio::time::timeout(timeout + TIMEOUT, call).await.unwrap_or_else(|_| {
        Err(AdapterError::new(
            ErrorKind::Timeout,
            Fault::Content,
            Retry::Permanent,
            "the adapter did not keep to the call's timeout",
        ))
    })
}
