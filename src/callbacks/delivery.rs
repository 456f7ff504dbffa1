//! One try of one callback: read, render, sign, post, and write down what came of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dispatch_contract::UnixMillis;
use reqwest::Url;
use tracing::Level;

use super::{
    Callback, CallbackId, Options, Problem, State,
    book::Book,
    client::{Answer, CallbackClient, NoAnswer},
    render,
    schedule::{Standing, Then},
    signing::{self, Signed},
    target::Target,
    telling::tellings,
};
use crate::{
    machine::{Terms, retry_delay},
    store::StoreError,
};

/// When a callback is looked at again that could not be read or written.
const AFTER_A_FAULT: Duration = Duration::from_secs(60);

/// Who takes longer than this is slow.
const SLOW: Duration = Duration::from_secs(2);

/// What a try came to.
pub(super) struct Tried {
    /// Whether the receiver took it.
    pub(super) succeeded: bool,
    /// How the receiver did.
    pub(super) standing: Standing,
    /// What becomes of the callback.
    pub(super) then: Then,
}

impl Tried {
    /// It came to no answer, and says nothing of the receiver.
    pub(super) fn in_vain(then: Then) -> Tried {
        Tried { succeeded: false, standing: Standing::Unknown, then }
    }
}

/// A callback, ready to be posted.
struct Post {
    callback: Callback,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Tries a callback once.
pub(super) async fn attempt(book: &Arc<Book>, client: &CallbackClient, id: CallbackId) -> Tried {
    match try_once(book, client, id).await {
        Ok(tried) => tried,
        Err(error) => {
            tracing::error!(workflow = %id.workflow, %error, "a callback could not be read or noted");
            Tried::in_vain(Then::Again(book.engine.clock().now().plus(AFTER_A_FAULT)))
        }
    }
}

async fn try_once(
    book: &Arc<Book>,
    client: &CallbackClient,
    id: CallbackId,
) -> Result<Tried, StoreError> {
    let wall = book.engine.clock().real_wall();
    let Some(post) = blocking(book, move |book| prepare(book, id, wall)).await? else {
        return Ok(Tried::in_vain(Then::Settled));
    };
    // Real time, as all that concerns sockets.
    let began = Instant::now();
    let answer = client.post(&post.url, post.headers, post.body, wall).await;
    let is_slow = began.elapsed() > SLOW;
    let cause = cause(&answer);
    let host = Url::parse(&post.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let now = book.engine.clock().now();
    let verdict = judge(&book.options.get(), id, post.callback, answer, now);
    let (succeeded, then, row) = match verdict.clone() {
        Verdict::Delivered => (true, Then::Settled, None),
        Verdict::Again(at, callback) => (false, Then::Again(at), Some(callback)),
        Verdict::Dead(callback) => (false, Then::Settled, Some(callback)),
    };
    blocking(book, move |book| book.note(id, row.as_ref())).await?;
    // Counted and logged once it is written: what could not be is tried, and told, again.
    tell(book, id, &verdict, host.as_deref().unwrap_or_default(), cause);
    let standing = match (is_slow, succeeded) {
        (true, _) => Standing::Slow,
        (false, true) => Standing::Well,
        (false, false) => Standing::Unknown,
    };
    Ok(Tried { succeeded, standing, then })
}

/// Reads and renders it; `None` if there is nothing to deliver any more.
fn prepare(book: &Book, id: CallbackId, now: UnixMillis) -> Result<Option<Post>, StoreError> {
    let Some(callback) = book.get(id)? else { return Ok(None) };
    let callback_application = callback.application;
    if let Some(post) = render_post(book, id, callback, now)? {
        return Ok(Some(post));
    }
    // Its workflow is past retention, or its application gone or without a webhook by now.
    book.note(id, None)?;
    tracing::info!(
        workflow = %id.workflow, application = %callback_application,
        "a callback is dropped: its workflow is past retention, or its application has no webhook any more"
    );
    book.engine.metrics().callbacks("dropped", 1);
    Ok(None)
}

fn render_post(
    book: &Book,
    id: CallbackId,
    callback: Callback,
    now: UnixMillis,
) -> Result<Option<Post>, StoreError> {
    let reader = book.engine.reader();
    let Some(record) = reader.record(id.workflow)? else { return Ok(None) };
    let Some(application) = book.application(&callback.tenant, callback.application)? else {
        return Ok(None);
    };
    let Some(target) = Target::of(&record, &application) else { return Ok(None) };
    let timeline = reader.timeline(id.workflow)?;
    let told = tellings(&record, timeline.iter().map(|row| &**row));
    let Some(telling) = told.iter().find(|telling| telling.sequence == id.sequence) else {
        return Ok(None);
    };
    let Some(body) = render::body(&record, telling, target.shape) else { return Ok(None) };
    let signed = Signed {
        id,
        body: &body,
        tenant: &callback.tenant,
        application: callback.application,
        now,
    };
    // What cannot be signed waits: it never goes out without.
    let secret = (book.options.get().secret)(&application).map_err(StoreError::Io)?;
    let headers = signing::headers(&signed, &secret, target.signing).map_err(StoreError::Io)?;
    Ok(Some(Post { callback, url: target.url, headers, body }))
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Delivered,
    Again(UnixMillis, Callback),
    Dead(Callback),
}

fn judge(
    options: &Options,
    id: CallbackId,
    callback: Callback,
    answer: Result<Answer, NoAnswer>,
    now: UnixMillis,
) -> Verdict {
    let (problem, retry_after) = match answer {
        Ok(Answer { status: 200..=299, .. }) => return Verdict::Delivered,
        Ok(Answer { status, retry_after }) => (Problem::Answered(status), retry_after),
        Err(NoAnswer { problem, .. }) => (problem, None),
    };
    let tries = callback.tries.saturating_add(1);
    let callback = Callback { tries, problem: Some(problem), ..callback };
    // Gone: its receiver says that nobody will ever be there again.
    if problem == Problem::Answered(410) {
        return Verdict::Dead(callback.died(now, problem));
    }
    let terms = Terms {
        retry_base_ms: options.retry_base.as_millis() as u64,
        retry_max_ms: options.retry_max.as_millis() as u64,
        ..Terms::default()
    };
    let delay = retry_delay(&terms, id.workflow, id.sequence as u16, tries.min(1000) as u16);
    let asked = retry_after.unwrap_or_default().min(options.retry_max);
    let at = now.plus(Duration::from_millis(delay).max(asked));
    if at > callback.since.plus(options.retry_for) {
        return Verdict::Dead(callback.died(now, problem));
    }
    Verdict::Again(at, Callback { state: State::Waiting(at), ..callback })
}

/// Counts what a try came to, and tells the log why, with the host and the cause: only the operator
/// reads that.
fn tell(book: &Book, id: CallbackId, verdict: &Verdict, host: &str, cause: &'static str) {
    let (metrics, limit) = (book.engine.metrics(), book.engine.log_limit());
    let workflow = id.workflow;
    match verdict {
        Verdict::Delivered => metrics.callbacks("delivered", 1),
        Verdict::Again(_, callback) => {
            let (tries, problem) = (callback.tries, callback.problem.map_or("", Problem::as_str));
            if limit.admits(Level::WARN, "callback_retried", host, cause) {
                let tenant = &*callback.tenant;
                tracing::warn!(%workflow, tenant, tries, host, cause, "a callback was not taken and will be repeated{}", hint(callback));
            }
            metrics.callback_retried(problem, cause);
        }
        Verdict::Dead(callback) => {
            if limit.admits(Level::WARN, "callback_dead", host, cause) {
                let (tries, tenant) = (callback.tries, &*callback.tenant);
                tracing::warn!(
                    %workflow, tenant, tries, host, cause,
                    "a callback was given up; `dispatch callbacks resend` sends it once more{}",
                    hint(callback)
                );
            }
            metrics.callbacks("dead", 1);
        }
    }
}

/// What an operator can do about it.
fn hint(callback: &Callback) -> &'static str {
    match callback.problem {
        Some(Problem::NotAllowed) => {
            ": [callbacks] in the configuration does not let it go there (allow_http, allow_networks)"
        }
        Some(
            Problem::Answered(_)
            | Problem::Unreachable
            | Problem::TimedOut
            | Problem::Broken
            | Problem::TooMany,
        )
        | None => "",
    }
}

/// Why a try did not succeed, from a closed list; nothing if it did.
fn cause(answer: &Result<Answer, NoAnswer>) -> &'static str {
    match answer {
        Ok(Answer { status: 200..=299, .. }) => "",
        Ok(Answer { status: 300..=399, .. }) => "answered_3xx",
        Ok(Answer { status: 400..=499, .. }) => "answered_4xx",
        Ok(Answer { status: 500..=599, .. }) => "answered_5xx",
        Ok(_) => "answered",
        Err(NoAnswer { cause, .. }) => cause,
    }
}

/// Reads and writes beside the runtime's own threads: either may wait for the disk.
async fn blocking<T: Send + 'static>(
    book: &Arc<Book>,
    work: impl FnOnce(&Book) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let book = Arc::clone(book);
    match tokio::task::spawn_blocking(move || work(&book)).await {
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
    use crate::{callbacks::Subject, machine::WorkflowId};

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const HOUR: u64 = 3_600_000;

    fn id() -> CallbackId {
        CallbackId { workflow: WorkflowId(Uuid::from_u128(7)), sequence: 3 }
    }

    fn callback(tries: u32, age_ms: u64) -> Callback {
        Callback {
            tenant: Arc::from("default"),
            application: Uuid::from_u128(9),
            subject: Subject::Status,
            lane: 1,
            made_at: NOW,
            since: UnixMillis(NOW.0 - age_ms),
            tries,
            state: State::Waiting(NOW),
            problem: None,
        }
    }

    fn answered(status: u16, retry_after: Option<u64>) -> Result<Answer, NoAnswer> {
        Ok(Answer { status, retry_after: retry_after.map(Duration::from_secs) })
    }

    fn delay(tries: u32, answer: Result<Answer, NoAnswer>) -> u64 {
        match judge(&Options::default(), id(), callback(tries, 0), answer, NOW) {
            Verdict::Again(at, _) => at.0 - NOW.0,
            verdict @ (Verdict::Delivered | Verdict::Dead(_)) => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn any_2xx_is_a_delivery_and_nothing_else_is() {
        for status in [200, 202, 204, 299] {
            let verdict =
                judge(&Options::default(), id(), callback(0, 0), answered(status, None), NOW);
            assert_eq!(verdict, Verdict::Delivered, "{status}");
        }
        for status in [100, 301, 302, 307, 400, 401, 404, 429, 500, 503] {
            assert!(delay(0, answered(status, None)) > 0, "{status}");
        }
        for problem in [Problem::Unreachable, Problem::TimedOut, Problem::NotAllowed] {
            assert!(delay(0, Err(NoAnswer { problem, cause: "" })) > 0, "{problem:?}");
        }
    }

    #[test]
    fn the_wait_doubles_from_five_seconds_to_half_an_hour_with_jitter() {
        for (tries, whole) in
            [(0, 5_000), (1, 10_000), (4, 80_000), (9, 1_800_000), (500, 1_800_000)]
        {
            let delay = delay(tries, answered(500, None));
            assert!((whole / 2..=whole).contains(&delay), "{tries}: {delay}");
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
        let last =
            judge(&Options::default(), id(), callback(60, 24 * HOUR), answered(500, None), NOW);
        assert!(matches!(last, Verdict::Dead(Callback { state: State::Dead(NOW), tries: 61, .. })));
        let gone = judge(&Options::default(), id(), callback(0, 0), answered(410, None), NOW);
        assert!(matches!(gone, Verdict::Dead(_)));
    }
}
