//! Calls of the adapter's, with the provider played.

use std::{io, time::Duration};

use dispatch_contract::{
    Accepted, AdapterError, AttemptId, ErrorKind, Fault, Message, Retry, SendContext,
};

use super::{Behaviour, ConformanceSubject, Findings, NOW, Promise, attempt};

/// For calls that are answered at once.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// How long after its timeout a call may still take to end.
const GRACE: Duration = Duration::from_secs(2);

/// What a call gave, and the requests that came.
pub(super) struct PlayedCall {
    pub(super) result: Result<Accepted, AdapterError>,
    pub(super) requests: Vec<String>,
    /// What the adapter has to call the message, if it was taken.
    pub(super) provider_id: String,
}

/// What was played; nothing if the provider has no way to do that, which is then named.
pub(super) fn tried<T>(
    played: io::Result<T>,
    promise: Promise,
    what: &str,
    findings: &mut Findings,
) -> io::Result<Option<T>> {
    match played {
        Ok(played) => Ok(Some(played)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            findings.not_tried(promise, format!("{what}: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Sends `message`, with the provider played so.
pub(super) async fn send(
    subject: &dyn ConformanceSubject,
    message: &Message,
    play: Behaviour,
    timeout: Duration,
) -> io::Result<PlayedCall> {
    send_as(subject, attempt(), message, play, timeout).await
}

/// The same as another attempt.
pub(super) async fn send_as(
    subject: &dyn ConformanceSubject,
    attempt: AttemptId,
    message: &Message,
    play: Behaviour,
    timeout: Duration,
) -> io::Result<PlayedCall> {
    let provider = subject.play(play)?;
    let account = subject.account(&provider.address());
    let context = SendContext {
        attempt,
        account: &account,
        callback_url: Some("https://dispatch.example/webhooks/main"),
        useful_for: None,
        now: NOW,
        timeout,
    };
    let call = subject.adapter().send(&context, message);
    let result = tokio::time::timeout(timeout + GRACE, call).await.unwrap_or_else(|_| {
        Err(AdapterError::new(
            ErrorKind::Timeout,
            Fault::Content,
            Retry::Permanent,
            "the adapter did not keep to the call's timeout",
        ))
    });
    let provider_id = provider.given_id().unwrap_or_else(|| subject.sample_id().to_owned());
    Ok(PlayedCall { result, requests: provider.requests(), provider_id })
}
