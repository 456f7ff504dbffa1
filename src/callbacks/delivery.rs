//! One attempt at one callback: read, render, sign, post, and save what came of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dispatch_contract::UnixMillis;
use reqwest::Url;
use tracing::Level;

use super::{
    Callback, CallbackId, CallbackOptions, DeliveryFailure, DeliveryState, Subject,
    attempt::{AttemptResult, Disposition, EndpointHealth},
    callback_store::CallbackStore,
    client::{CallbackClient, CallbackResponse, NoResponse},
    notification::notifications,
    render,
    signing::{self, SigningInput},
    target::CallbackTarget,
};
use crate::{
    access::Application,
    contents::Unopened,
    machine::{PolicySnapshot, WorkflowId, retry_delay},
    store::StoreError,
};

/// After how long a callback is retried that could not be read or saved.
const AFTER_A_FAULT: Duration = Duration::from_secs(60);

/// A receiver that takes longer than this is slow.
const SLOW: Duration = Duration::from_secs(2);

/// A callback, ready to be posted.
struct CallbackRequest {
    callback: Callback,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Attempts a callback once.
pub(super) async fn attempt(
    store: &Arc<CallbackStore>,
    client: &CallbackClient,
    id: CallbackId,
) -> AttemptResult {
    match attempt_once(store, client, id).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(about = %id.about, %error, "a callback could not be read or saved");
            AttemptResult::failed(Disposition::RetryAt(
                store.context.clock.now().plus(AFTER_A_FAULT),
            ))
        }
    }
}

async fn attempt_once(
    store: &Arc<CallbackStore>,
    client: &CallbackClient,
    id: CallbackId,
) -> Result<AttemptResult, StoreError> {
    let wall = store.context.clock.real_wall();
    let Some(request) = blocking(store, move |store| prepare(store, id, wall)).await? else {
        return Ok(AttemptResult::failed(Disposition::Completed));
    };
    // Real time, as all that concerns sockets.
    let began = Instant::now();
    let response = client.post(&request.url, request.headers, request.body, wall).await;
    let is_slow = began.elapsed() > SLOW;
    let cause = cause(&response);
    let host = Url::parse(&request.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let now = store.context.clock.now();
    let outcome = judge(&store.options.get(), id, request.callback, response, now);
    let (succeeded, disposition, row) = match outcome.clone() {
        DeliveryOutcome::Delivered => (true, Disposition::Completed, None),
        DeliveryOutcome::RetryAt(at, callback) => (false, Disposition::RetryAt(at), Some(callback)),
        DeliveryOutcome::DeadLettered(callback) => (false, Disposition::Completed, Some(callback)),
    };
    blocking(store, move |store| store.save(id, row.as_ref())).await?;
    // Counted and logged once it is saved: what could not be saved is attempted, and reported, again.
    report(store, id, &outcome, host.as_deref().unwrap_or_default(), cause);
    let health = match (is_slow, succeeded) {
        (true, _) => EndpointHealth::Slow,
        (false, true) => EndpointHealth::Healthy,
        (false, false) => EndpointHealth::Unknown,
    };
    Ok(AttemptResult { succeeded, health, disposition })
}

/// Reads and renders it; `None` if there is nothing to deliver any more.
fn prepare(
    store: &CallbackStore,
    id: CallbackId,
    now: UnixMillis,
) -> Result<Option<CallbackRequest>, StoreError> {
    let Some(callback) = store.get(id)? else { return Ok(None) };
    let callback_application = callback.application;
    if let Some(request) = render_request(store, id, callback, now)? {
        return Ok(Some(request));
    }
    // What it is about is past retention or its contents are, or its application is gone or has no webhook by now.
    store.save(id, None)?;
    tracing::info!(
        about = %id.about, application = %callback_application,
        "a callback is dropped: what it is about is past retention or forgotten, or its application has no webhook any more"
    );
    store.context.metrics.callbacks("dropped", 1);
    Ok(None)
}

fn render_request(
    store: &CallbackStore,
    id: CallbackId,
    callback: Callback,
    now: UnixMillis,
) -> Result<Option<CallbackRequest>, StoreError> {
    let Some(application) = store.application(&callback.tenant, callback.application)? else {
        return Ok(None);
    };
    let rendered = match callback.subject {
        Subject::Status | Subject::Report => rendered_status(store, id, &application)?,
        Subject::Inbound => rendered_inbound(store, id, &application)?,
    };
    let Some((target, body)) = rendered else { return Ok(None) };
    let signed = SigningInput {
        id,
        body: &body,
        tenant: &callback.tenant,
        application: callback.application,
        now,
    };
    // What cannot be signed waits: it never goes out without.
    let secret = (store.options.get().secret)(&application).map_err(StoreError::Io)?;
    let headers = signing::headers(&signed, &secret, target.signing).map_err(StoreError::Io)?;
    Ok(Some(CallbackRequest { callback, url: target.url, headers, body }))
}

/// Where what happened to a message goes, and what it says.
fn rendered_status(
    store: &CallbackStore,
    id: CallbackId,
    application: &Application,
) -> Result<Option<(CallbackTarget, Vec<u8>)>, StoreError> {
    let (reader, workflow) = (&store.context.reader, WorkflowId(id.about));
    let Some(record) = reader.record(workflow)? else { return Ok(None) };
    let contents = match store.context.contents.open(&record) {
        Ok(contents) => contents,
        Err(Unopened::Gone) => return Ok(None),
        // It waits, as what cannot be signed does.
        Err(Unopened::Unreadable(why)) => return Err(StoreError::Io(why)),
    };
    let Some(target) = CallbackTarget::of(&record, &contents, application) else {
        return Ok(None);
    };
    let timeline = reader.timeline(workflow)?;
    let notifications = notifications(&record, timeline.iter().map(|row| &**row));
    let Some(notification) = notifications.iter().find(|it| it.sequence == id.sequence) else {
        return Ok(None);
    };
    let body = render::body(&record, &contents, notification, target.payload_version);
    Ok(body.map(|body| (target, body)))
}

/// Where what a person wrote goes, and what it says.
fn rendered_inbound(
    store: &CallbackStore,
    id: CallbackId,
    application: &Application,
) -> Result<Option<(CallbackTarget, Vec<u8>)>, StoreError> {
    let Some(message) = store.context.inbound.get(id.about)? else { return Ok(None) };
    let Some(target) = CallbackTarget::of_inbound(application) else { return Ok(None) };
    let body = render::inbound(&message, target.payload_version);
    Ok(body.map(|body| (target, body)))
}

/// What a response means for its callback.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DeliveryOutcome {
    Delivered,
    RetryAt(UnixMillis, Callback),
    DeadLettered(Callback),
}

fn judge(
    options: &CallbackOptions,
    id: CallbackId,
    callback: Callback,
    response: Result<CallbackResponse, NoResponse>,
    now: UnixMillis,
) -> DeliveryOutcome {
    let (failure, retry_after) = match response {
        Ok(CallbackResponse { status: 200..=299, .. }) => return DeliveryOutcome::Delivered,
        Ok(CallbackResponse { status, retry_after }) => {
            (DeliveryFailure::Answered(status), retry_after)
        }
        Err(NoResponse { failure, .. }) => (failure, None),
    };
    let attempt_count = callback.attempt_count.saturating_add(1);
    let callback = Callback { attempt_count, last_failure: Some(failure), ..callback };
    // Gone: its receiver says that nobody will ever be there again.
    if failure == DeliveryFailure::Answered(410) {
        return DeliveryOutcome::DeadLettered(callback.dead_lettered(now, failure));
    }
    let policy = PolicySnapshot {
        retry_base_ms: options.retry_base.as_millis() as u64,
        retry_max_ms: options.retry_max.as_millis() as u64,
        ..PolicySnapshot::default()
    };
    let delay = retry_delay(
        &policy,
        WorkflowId(id.about),
        id.sequence as u16,
        attempt_count.min(1000) as u16,
    );
    let asked = retry_after.unwrap_or_default().min(options.retry_max);
    let at = now.plus(Duration::from_millis(delay).max(asked));
    if at > callback.attempts_since.plus(options.retry_for) {
        return DeliveryOutcome::DeadLettered(callback.dead_lettered(now, failure));
    }
    DeliveryOutcome::RetryAt(at, Callback { state: DeliveryState::Waiting(at), ..callback })
}

/// Counts what an attempt came to, and logs why, with the host and the cause: only the operator reads
/// the log.
fn report(
    store: &CallbackStore,
    id: CallbackId,
    outcome: &DeliveryOutcome,
    host: &str,
    cause: &'static str,
) {
    let (metrics, limit) = (&store.context.metrics, &store.context.log_limit);
    let about = id.about;
    match outcome {
        DeliveryOutcome::Delivered => metrics.callbacks("delivered", 1),
        DeliveryOutcome::RetryAt(_, callback) => {
            let (attempts, failure) =
                (callback.attempt_count, callback.last_failure.map_or("", DeliveryFailure::as_str));
            if limit.admits(Level::WARN, "callback_retried", host, cause) {
                let tenant = &*callback.tenant;
                tracing::warn!(%about, tenant, attempts, host, cause, "a callback was not taken and will be repeated{}", hint(callback));
            }
            metrics.callback_retried(failure, cause);
        }
        DeliveryOutcome::DeadLettered(callback) => {
            if limit.admits(Level::WARN, "callback_dead", host, cause) {
                let (attempts, tenant) = (callback.attempt_count, &*callback.tenant);
                tracing::warn!(
                    %about, tenant, attempts, host, cause,
                    "a callback was given up; `dispatch callbacks resend` sends it once more{}",
                    hint(callback)
                );
            }
            metrics.callbacks("dead_lettered", 1);
        }
    }
}

/// What an operator can do about it.
fn hint(callback: &Callback) -> &'static str {
    match callback.last_failure {
        Some(DeliveryFailure::NotAllowed) => {
            ": [callbacks] in the configuration does not let it go there (allow_http, allow_networks)"
        }
        Some(
            DeliveryFailure::Answered(_)
            | DeliveryFailure::Unreachable
            | DeliveryFailure::TimedOut
            | DeliveryFailure::Broken
            | DeliveryFailure::TooMany,
        )
        | None => "",
    }
}

/// Why an attempt failed, from a closed list; empty if it succeeded.
fn cause(response: &Result<CallbackResponse, NoResponse>) -> &'static str {
    match response {
        Ok(CallbackResponse { status: 200..=299, .. }) => "",
        Ok(CallbackResponse { status: 300..=399, .. }) => "answered_3xx",
        Ok(CallbackResponse { status: 400..=499, .. }) => "answered_4xx",
        Ok(CallbackResponse { status: 500..=599, .. }) => "answered_5xx",
        Ok(_) => "answered",
        Err(NoResponse { cause, .. }) => cause,
    }
}

/// Reads and writes on the blocking pool: either may wait for the disk.
async fn blocking<T: Send + 'static>(
    store: &Arc<CallbackStore>,
    work: impl FnOnce(&CallbackStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = Arc::clone(store);
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(result) => result,
        // Only at shutdown, or after a panic that is in the log.
        Err(_) => Err(StoreError::Io("the work on a callback was broken off".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const HOUR: u64 = 3_600_000;

    fn id() -> CallbackId {
        CallbackId { about: Uuid::from_u128(7), sequence: 3 }
    }

    fn callback(attempt_count: u32, age_ms: u64) -> Callback {
        Callback {
            tenant: Arc::from("default"),
            application: Uuid::from_u128(9),
            subject: Subject::Status,
            destination: 1,
            create_time: NOW,
            attempts_since: UnixMillis(NOW.0 - age_ms),
            attempt_count,
            state: DeliveryState::Waiting(NOW),
            last_failure: None,
        }
    }

    fn answered(status: u16, retry_after: Option<u64>) -> Result<CallbackResponse, NoResponse> {
        Ok(CallbackResponse { status, retry_after: retry_after.map(Duration::from_secs) })
    }

    fn delay(attempt_count: u32, response: Result<CallbackResponse, NoResponse>) -> u64 {
        match judge(&CallbackOptions::default(), id(), callback(attempt_count, 0), response, NOW) {
            DeliveryOutcome::RetryAt(at, _) => at.0 - NOW.0,
            outcome @ (DeliveryOutcome::Delivered | DeliveryOutcome::DeadLettered(_)) => {
                panic!("{outcome:?}")
            }
        }
    }

    #[test]
    fn any_2xx_is_a_delivery_and_nothing_else_is() {
        for status in [200, 202, 204, 299] {
            let outcome = judge(
                &CallbackOptions::default(),
                id(),
                callback(0, 0),
                answered(status, None),
                NOW,
            );
            assert_eq!(outcome, DeliveryOutcome::Delivered, "{status}");
        }
        for status in [100, 301, 302, 307, 400, 401, 404, 429, 500, 503] {
            assert!(delay(0, answered(status, None)) > 0, "{status}");
        }
        for failure in
            [DeliveryFailure::Unreachable, DeliveryFailure::TimedOut, DeliveryFailure::NotAllowed]
        {
            assert!(delay(0, Err(NoResponse { failure, cause: "" })) > 0, "{failure:?}");
        }
    }

    #[test]
    fn the_wait_doubles_from_five_seconds_to_half_an_hour_with_jitter() {
        for (attempts, whole) in
            [(0, 5_000), (1, 10_000), (4, 80_000), (9, 1_800_000), (500, 1_800_000)]
        {
            let delay = delay(attempts, answered(500, None));
            assert!((whole / 2..=whole).contains(&delay), "{attempts}: {delay}");
        }
    }

    #[test]
    fn retry_after_is_honoured_within_bounds() {
        assert_eq!(delay(0, answered(503, Some(60))), 60_000);
        assert_eq!(delay(0, answered(503, Some(1_000_000))), 1_800_000);
        assert!(delay(0, answered(503, Some(0))) >= 2_500);
    }

    #[test]
    fn it_is_given_up_after_a_day_or_when_the_receiver_is_gone() {
        let last = judge(
            &CallbackOptions::default(),
            id(),
            callback(60, 24 * HOUR),
            answered(500, None),
            NOW,
        );
        assert!(matches!(
            last,
            DeliveryOutcome::DeadLettered(Callback {
                state: DeliveryState::DeadLettered(NOW),
                attempt_count: 61,
                ..
            })
        ));
        let gone =
            judge(&CallbackOptions::default(), id(), callback(0, 0), answered(410, None), NOW);
        assert!(matches!(gone, DeliveryOutcome::DeadLettered(_)));
    }
}
