//! Checks that an accepted message is taken back where that is declared, and that nobody is asked where it is
//! not.

use std::{io, time::Duration};

use dispatch_contract::{AdapterError, Recall, Retry, SendContext};

use super::{
    Behaviour, ConformanceSubject, Findings, NOW, Promise, StubAnswer, attempt,
    played::{TIMEOUT, tried},
};

/// For a recall that is not answered, and how long after it the call may still take to end.
const SHORT_TIMEOUT: Duration = Duration::from_millis(300);
const GRACE: Duration = Duration::from_secs(2);

/// What a recall gave, if it ended in time, and the requests that came.
struct PlayedRecall {
    result: Option<Result<Recall, AdapterError>>,
    requests: Vec<String>,
    /// Which message it was about.
    provider_id: String,
}

pub(super) async fn check(subject: &dyn ConformanceSubject) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let mut say = |holds, problem: String| findings.check(Promise::Recall, holds, || problem);
    if !subject.adapter().capabilities().recall {
        let asked = Behaviour::Answer(subject.accepted(subject.sample_id()));
        let PlayedRecall { result, requests, .. } = recalled(subject, asked, TIMEOUT).await?;
        let is_refused =
            result.is_some_and(|result| result.is_err_and(|error| error.retry == Retry::Permanent));
        say(
            is_refused && requests.is_empty(),
            "it is not declared, so a call of it must fail for good and ask nobody".to_owned(),
        );
        return Ok(findings);
    }
    let samples = subject.recalls();
    let is_recalled = samples.iter().any(|sample| sample.recall == Recall::Recalled);
    say(is_recalled, "it is declared, and there is no sample of a message taken back".to_owned());
    let is_late = samples.iter().any(|sample| sample.recall != Recall::Recalled);
    say(is_late, "it is declared, and there is no sample of one that was too late".to_owned());
    for sample in samples {
        let what = format!("{} with {:?}", sample.answer.status, sample.answer.body);
        let answer = Behaviour::Answer(sample.answer);
        let PlayedRecall { result, requests, provider_id } =
            recalled(subject, answer, TIMEOUT).await?;
        say(
            matches!(&result, Some(Ok(recall)) if *recall == sample.recall),
            format!("{what} should be {:?}, and gives {result:?}", sample.recall),
        );
        // One that takes the message back; where its answer does not say what came of it, one more that asks.
        let is_few = matches!(requests.as_slice(), [_] | [_, _]);
        say(is_few, format!("a recall is one request, or two, and {} came", requests.len()));
        say(
            requests.iter().all(|request| subject.carries(request, &provider_id)),
            "a request does not say which message".to_owned(),
        );
    }
    let mut unknown = vec![
        ("a connection closed unanswered", Behaviour::HangUp, TIMEOUT),
        ("no answer in time", Behaviour::Hang, SHORT_TIMEOUT),
    ];
    if subject.speaks_http() {
        unknown.push(("HTTP 500", Behaviour::Answer(StubAnswer::new(500, "{}")), TIMEOUT));
        unknown.push(("HTTP 401", Behaviour::Answer(StubAnswer::new(401, "{}")), TIMEOUT));
    }
    for (what, play, timeout) in unknown {
        let asked = recalled(subject, play, timeout).await;
        let Some(asked) = tried(asked, Promise::Recall, what, &mut findings)? else { continue };
        let result = asked.result;
        findings.check(Promise::Recall, matches!(&result, Some(Err(_))), || {
            format!("{what} takes nothing back, and gives {result:?}")
        });
    }
    Ok(findings)
}

async fn recalled(
    subject: &dyn ConformanceSubject,
    play: Behaviour,
    timeout: Duration,
) -> io::Result<PlayedRecall> {
    let provider = subject.play_recall(play)?;
    let provider_id = provider.given_id().unwrap_or_else(|| subject.sample_id().to_owned());
    let account = subject.account(&provider.address());
    let context = SendContext {
        attempt: attempt(),
        account: &account,
        callback_url: None,
        useful_for: None,
        now: NOW,
        timeout,
    };
    let call = subject.adapter().recall(&context, &provider_id);
    let result = tokio::time::timeout(timeout + GRACE, call).await.ok();
    Ok(PlayedRecall { result, requests: provider.requests(), provider_id })
}
