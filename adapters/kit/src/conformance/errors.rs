//! Checks what is made of a call that fails: whether it may be made again, whose fault it was, and that nobody
//! reads in it what is private.

use std::{io, time::Duration};

use dispatch_contract::{Content, ErrorKind, Fault, Message, Retry};

use super::{
    Behaviour, ConformanceSubject, Findings, Promise, StubAnswer, any_sample,
    played::{PlayedCall, TIMEOUT, send, tried},
};

/// For calls that are not answered. Another protocol may need several words until then.
const SHORT_TIMEOUT: Duration = Duration::from_millis(300);
const LONGER_TIMEOUT: Duration = Duration::from_secs(2);
const TEMPORARY: Retry = Retry::Temporary { after: None };

/// What an error has to be.
struct Expected(Option<ErrorKind>, Option<Fault>, Retry);

pub(super) async fn check(subject: &dyn ConformanceSubject) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let Some(message) = any_sample(subject) else { return Ok(findings) };
    transport(subject, &message, &mut findings).await?;
    refusals(subject, &message, &mut findings).await?;
    if subject.speaks_http() {
        outcomes(subject, &message, &mut findings).await?;
        redirects(subject, &message, &mut findings).await?;
    }
    discretion(subject, &message, &mut findings).await?;
    Ok(findings)
}

/// What a call without an answer means: whether the request may have left.
async fn transport(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    let provider = Some(Fault::Provider);
    let unknown = |kind| Expected(kind, provider, Retry::Unknown);
    let soon = if subject.speaks_http() { SHORT_TIMEOUT } else { LONGER_TIMEOUT };
    // What takes its time takes it at once.
    let slow = Behaviour::Trickle(subject.accepted(subject.sample_id()));
    let (silent, slow) = tokio::join!(
        send(subject, message, Behaviour::Hang, soon),
        send(subject, message, slow, soon),
    );
    let timeout = unknown(Some(ErrorKind::Timeout));
    let unreachable = Expected(Some(ErrorKind::Unreachable), provider, TEMPORARY);
    let absent = send(subject, message, Behaviour::Absent, TIMEOUT).await;
    let cut = send(subject, message, Behaviour::HangUp, TIMEOUT).await;
    for (promise, what, sent, expected) in [
        (Promise::Timeouts, "no answer in time", silent, &timeout),
        (Promise::Timeouts, "an answer that trickles in", slow, &unknown(None)),
        (Promise::Errors, "a refused connection", absent, &unreachable),
        (Promise::Errors, "a connection closed unanswered", cut, &unknown(None)),
    ] {
        if let Some(sent) = tried(sent, promise, what, findings)? {
            failed(promise, what, &sent, expected, findings);
        }
    }
    Ok(())
}

/// What every provider's answers mean by their HTTP status alone.
async fn outcomes(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    let throttled = StubAnswer::new(429, "").with_header("Retry-After", "7");
    let after = Some(Duration::from_secs(7));
    let (account, provider) = (Some(Fault::Account), Some(Fault::Provider));
    for (answer, fault, retry) in [
        (throttled, None, Retry::Temporary { after }),
        (StubAnswer::new(401, "{}"), account, Retry::Permanent),
        (StubAnswer::new(403, "{}"), account, Retry::Permanent),
        (StubAnswer::new(500, "{}"), provider, Retry::Unknown),
        (StubAnswer::new(503, "busy"), provider, Retry::Unknown),
        (StubAnswer::new(200, "<html>"), provider, Retry::Unknown),
        (StubAnswer::new(200, ""), provider, Retry::Unknown),
        (StubAnswer::new(202, "{}"), provider, Retry::Unknown),
    ] {
        let what = format!("HTTP {} with {:?}", answer.status, answer.body);
        let sent = send(subject, message, Behaviour::Answer(answer), TIMEOUT).await?;
        failed(Promise::Errors, &what, &sent, &Expected(None, fault, retry), findings);
    }
    Ok(())
}

async fn refusals(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    let refusals = subject.refusals();
    let are_some = !refusals.is_empty();
    findings.check(Promise::Errors, are_some, || "there is no sample of a refusal".to_owned());
    for refusal in refusals {
        let what = format!("{} with {:?}", refusal.answer.status, refusal.answer.body);
        let sent = send(subject, message, Behaviour::Answer(refusal.answer), TIMEOUT).await;
        let Some(sent) = tried(sent, Promise::Errors, &what, findings)? else { continue };
        let expected = Expected(Some(refusal.kind), Some(refusal.fault), refusal.retry);
        failed(Promise::Errors, &what, &sent, &expected, findings);
    }
    Ok(())
}

/// Whoever answers with another address gets neither the message nor the credential sent there.
async fn redirects(
    subject: &dyn ConformanceSubject,
    message: &Message,
    findings: &mut Findings,
) -> io::Result<()> {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = subject.play(Behaviour::Answer(subject.accepted(subject.sample_id())))?;
        let answer = StubAnswer::new(status, "").with_header("Location", elsewhere.address());
        let PlayedCall { result, .. } =
            send(subject, message, Behaviour::Answer(answer), TIMEOUT).await?;
        let is_kept = result.is_err() && elsewhere.requests().is_empty();
        findings.check(Promise::Redirects, is_kept, || {
            format!("HTTP {status} is followed to another address, and gives {result:?}")
        });
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
    let body = format!(
        "{{\"type\":\"x#{said}\",\"title\":\"{said}\",\"detail\":\"{said}\",\"code\":\"{said}\"}}"
    );
    let statuses: &[u16] =
        if subject.speaks_http() { &[202, 400, 401, 422, 429, 500] } else { &[] };
    let by_status = statuses.iter().map(|status| StubAnswer::new(*status, body.clone()));
    let refused = subject.refusals().into_iter().map(|refusal| StubAnswer {
        body: format!("{} {said}", refusal.answer.body),
        ..refusal.answer
    });
    for answer in by_status.chain(refused) {
        let status = answer.status;
        let sent = send(subject, message, Behaviour::Answer(answer), TIMEOUT).await;
        let what = "an answer that repeats what is private";
        let Some(sent) = tried(sent, Promise::Discretion, what, findings)? else { continue };
        let shown = format!("{:?}", sent.result);
        let is_kept = private.iter().all(|text| !shown.contains(text));
        findings.check(Promise::Discretion, is_kept, || {
            format!("the error for {status} repeats what the provider said")
        });
    }
    Ok(())
}

fn failed(
    promise: Promise,
    what: &str,
    sent: &PlayedCall,
    expected: &Expected,
    findings: &mut Findings,
) {
    let Expected(kind, fault, retry) = expected;
    let holds = sent.result.as_ref().is_err_and(|error| {
        error.retry == *retry
            && kind.is_none_or(|kind| error.kind == kind)
            && fault.is_none_or(|fault| error.fault == fault)
    });
    findings.check(promise, holds, || {
        format!("{what} should be {kind:?} {fault:?} {retry:?}, and gives {:?}", sent.result)
    });
}
