//! Makes callbacks of what the journal says.
//!
//! It keeps a cursor, and writes the callbacks that rows mean together with the cursor behind those
//! rows. That is not durable at once: after a crash it looks at some rows again, and makes the same
//! callbacks under the same ids. One whose row is still there is left as it is.
//!
//! While it keeps up, the writer hands rows over; else it reads the journal.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use dispatch_contract::Busy;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::{
    Callback, CallbackId, Problem, State, Subject,
    bell::Bell,
    book::Book,
    handed::{Handed, Taken},
    render,
    target::Target,
    telling::{News, tellings},
};
use crate::{
    machine::{Fact, WorkflowId},
    store::{self, Cursor, Kind, Row, SettingChange, Settings, StoreError},
};

/// How many rows are read at once.
const ROWS: usize = 256;
/// After how many rows that mean no callback, or how long, the cursor is written all the same: the next life
/// must not think that it missed what retention dropped after it was seen.
const NOTE_EVERY: u64 = 1024;
const NOTE_WITHIN: Duration = Duration::from_secs(10);
/// How long it waits after a panic.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);
/// How many workflows that nobody is told of are remembered.
const NOBODY: usize = 262_144;
/// Where the cursor is kept, within its kind.
const KEY: &[u8] = b"cursor";

/// How far the journal was looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    cursor: Cursor,
}

/// Follows the journal.
pub(super) struct Follower {
    book: Arc<Book>,
    cursor: Cursor,
    noted: Cursor,
    noted_at: Instant,
    /// Workflows that nobody is told of: most, where there are no applications.
    nobody: HashSet<WorkflowId>,
    handed: Arc<Handed>,
}

impl Follower {
    /// Goes on where the last life was. A store that was never followed is followed from now on, and
    /// that is durable when this returns: nothing that happens later is missed.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn new(book: Arc<Book>, handed: Arc<Handed>) -> Result<Follower, StoreError> {
        let (settings, newest) = (book.engine.settings(), book.engine.reader().newest());
        let cursor = match kept(&**settings)? {
            // A store restored from a backup may be behind what is kept beside it.
            Some(progress) => progress.cursor.min(newest),
            None => {
                settings.write(vec![Progress { cursor: newest }.put()?])?;
                newest
            }
        };
        let (noted, noted_at) = (cursor, Instant::now());
        Ok(Follower { book, cursor, noted, noted_at, nobody: HashSet::new(), handed })
    }

    /// Follows until `stop`, or until the store fails.
    pub(super) async fn run(self, bell: Arc<Bell>, stop: CancellationToken) {
        let (book, handed) = (Arc::clone(&self.book), Arc::clone(&self.handed));
        let mut follower = Some(self);
        bell.ring();
        loop {
            let busy: Option<Busy> = tokio::select! {
                busy = bell.heard() => busy,
                () = rests_too_long(follower.as_ref()) => None,
                () = stop.cancelled() => break,
            };
            let (book, handed) = (Arc::clone(&book), Arc::clone(&handed));
            let last = follower.take();
            let metrics = Arc::clone(book.engine.metrics());
            let caught_up = tokio::task::spawn_blocking(move || {
                let mut follower = match last {
                    Some(follower) => follower,
                    None => {
                        handed.lose();
                        Follower::new(book, handed)?
                    }
                };
                follower.catch_up()?;
                Ok::<_, StoreError>(follower)
            });
            match caught_up.await {
                Ok(Ok(back)) => follower = Some(back),
                Ok(Err(error)) => {
                    tracing::error!(%error, "no further callbacks are made until the next start");
                    return;
                }
                Err(error) if error.is_panic() => {
                    metrics.callbacks_panicked();
                    tracing::error!(
                        "making callbacks panicked; it goes on from what was noted last"
                    );
                    drop(busy);
                    let _ = stop.run_until_cancelled(tokio::time::sleep(AFTER_A_PANIC)).await;
                    bell.ring();
                    continue;
                }
                // The end of the runtime.
                Err(_) => return,
            }
            drop(busy);
        }
        if let Some(Err(error)) = follower.map(|mut follower| follower.note_cursor()) {
            tracing::warn!(%error, "the next start looks at some rows again");
        }
    }

    fn catch_up(&mut self) -> Result<(), StoreError> {
        let (rows, told) = match self.handed.take() {
            Taken::Rows(rows, told) => (rows, told),
            Taken::Gap => return self.read_on(),
        };
        let told: HashSet<_> = told.into_iter().collect();
        for rows in rows.chunks(ROWS) {
            for row in rows {
                if row.facts.first() == Some(&Fact::Created) && !told.contains(&row.workflow) {
                    self.is_nobody_s(row.workflow);
                }
            }
            // Those that were read from the journal meanwhile are handed over all the same.
            let known = self.cursor;
            let made = self.make_all(rows.iter().filter(|row| row.cursor > known).cloned())?;
            self.cursor = rows.last().map_or(self.cursor, |row| row.cursor.max(self.cursor));
            self.note(&made)?;
        }
        self.note(&[])
    }

    /// Reads the journal to its end.
    fn read_on(&mut self) -> Result<(), StoreError> {
        loop {
            // Behind the last row there may be what is no row: carried to the right by retention.
            let newest = self.book.engine.reader().newest();
            let rows = match self.book.engine.reader().after(self.cursor, ROWS) {
                Ok(rows) => rows,
                Err(StoreError::Trimmed(oldest)) => {
                    let missed = oldest.0.saturating_sub(self.cursor.0);
                    tracing::warn!(
                        missed,
                        "retention was faster than the callbacks; they go on behind it"
                    );
                    self.book.engine.metrics().callback_rows_missed(missed);
                    self.cursor = oldest;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let made = self.make_all(rows.iter().cloned())?;
            let is_last = rows.len() < ROWS;
            let read_to = if is_last { Some(newest) } else { None };
            self.cursor = rows.last().map(|row| row.cursor).max(read_to).unwrap_or(self.cursor);
            self.note(&made)?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn make_all(
        &mut self,
        rows: impl Iterator<Item = Arc<Row>>,
    ) -> Result<Vec<(CallbackId, Callback)>, StoreError> {
        let mut made = Vec::new();
        for row in rows {
            match catch_unwind(AssertUnwindSafe(|| self.make(&row, &mut made))) {
                Ok(Ok(())) => {}
                // One that cannot be read is the store's trouble, and not that of all others.
                Ok(Err(error @ StoreError::Corrupt { .. })) => {
                    tracing::error!(workflow = %row.workflow, %error, "no callback can be made");
                }
                Ok(Err(error)) => return Err(error),
                // A bug, and not all others' trouble either.
                Err(_) => {
                    let engine = &self.book.engine;
                    engine.metrics().callbacks_panicked();
                    if engine.log_limit().admits(Level::ERROR, "callback_panicked", "", "") {
                        tracing::error!(workflow = %row.workflow, "no callback can be made: a panic");
                    }
                }
            }
        }
        Ok(made)
    }

    /// Nobody is told of this workflow.
    fn is_nobody_s(&mut self, id: WorkflowId) {
        if self.nobody.len() >= NOBODY {
            self.nobody.clear();
        }
        self.nobody.insert(id);
    }

    fn note(&mut self, made: &[(CallbackId, Callback)]) -> Result<(), StoreError> {
        let is_far = self.cursor.0 - self.noted.0 >= NOTE_EVERY;
        if made.is_empty() {
            let is_due = is_far || self.noted_at.elapsed() >= NOTE_WITHIN;
            return if is_due { self.note_cursor() } else { Ok(()) };
        }
        let changes = made.iter().map(|(id, callback)| callback.put(*id));
        let mut changes = changes.collect::<Result<Vec<_>, _>>()?;
        changes.push(Progress { cursor: self.cursor }.put()?);
        self.book.engine.settings().note(changes)?;
        (self.noted, self.noted_at) = (self.cursor, Instant::now());
        let metrics = self.book.engine.metrics();
        metrics.callbacks("made", made.len());
        let is_dead = |(_, callback): &&(_, Callback)| matches!(callback.state, State::Dead(_));
        metrics.callbacks("dead", made.iter().filter(is_dead).count());
        self.book.add(made)
    }

    fn note_cursor(&mut self) -> Result<(), StoreError> {
        if self.cursor != self.noted {
            let progress = Progress { cursor: self.cursor };
            self.book.engine.settings().note(vec![progress.put()?])?;
        }
        (self.noted, self.noted_at) = (self.cursor, Instant::now());
        Ok(())
    }

    /// Makes the callbacks that one row means.
    fn make(
        &mut self,
        row: &Row,
        made: &mut Vec<(CallbackId, Callback)>,
    ) -> Result<(), StoreError> {
        if self.nobody.contains(&row.workflow) || !row.facts.iter().any(may_tell) {
            return Ok(());
        }
        let reader = self.book.engine.reader();
        // Gone: past retention.
        let Some(record) = reader.record(row.workflow)? else { return Ok(()) };
        let asked = &record.requester;
        let Some(id) = asked.application else {
            self.is_nobody_s(row.workflow);
            return Ok(());
        };
        let Some(application) = self.book.application(&record.tenant, id)? else { return Ok(()) };
        let Some(target) = Target::of(&record, &application) else { return Ok(()) };
        let timeline = reader.timeline(row.workflow)?;
        let facts = row.sequence..row.sequence + row.facts.len() as u32;
        for telling in tellings(&record, timeline.iter().map(|row| &**row)) {
            if !facts.contains(&telling.sequence) {
                continue;
            }
            let subject = match telling.news {
                News::Status { .. } => Subject::Status,
                News::Report { .. } if render::wants_report(asked.facade) => Subject::Report,
                News::Report { .. } => continue,
            };
            let id = CallbackId { workflow: record.id, sequence: telling.sequence };
            if self.book.get(id)?.is_some() {
                continue;
            }
            let callback = Callback {
                tenant: Arc::clone(&record.tenant),
                application: application.id,
                subject,
                lane: target.lane(&record),
                made_at: row.at.engine,
                since: row.at.engine,
                tries: 0,
                state: State::Waiting(row.at.engine),
                problem: None,
            };
            let has_room = self.book.has_room(&callback, made.len());
            let callback = if has_room { callback } else { self.give_up(callback) };
            made.push((id, callback));
        }
        Ok(())
    }

    /// Its application's receiver has been away for so long that no further callback may wait.
    fn give_up(&self, callback: Callback) -> Callback {
        callback.died(self.book.engine.clock().now(), Problem::TooMany)
    }
}

/// Returns when what was seen has not been noted for too long.
async fn rests_too_long(follower: Option<&Follower>) {
    match follower {
        Some(follower) if follower.cursor != follower.noted => {
            tokio::time::sleep_until((follower.noted_at + NOTE_WITHIN).into()).await;
        }
        Some(_) | None => std::future::pending().await,
    }
}

impl Progress {
    fn put(&self) -> Result<SettingChange, StoreError> {
        Ok(SettingChange::put(Kind::CallbackState, KEY, store::encode(self)?))
    }
}

fn kept(settings: &dyn Settings) -> Result<Option<Progress>, StoreError> {
    let row = settings.get(Kind::CallbackState, KEY)?;
    row.map(|row| store::decode(&row, || "the cursor of callbacks".to_owned())).transpose()
}

/// Whether a fact may be something to tell: the cheap question, asked of every row.
fn may_tell(fact: &Fact) -> bool {
    match fact {
        Fact::AttemptAccepted { .. }
        | Fact::AttemptRefused { .. }
        | Fact::StatusReached { .. }
        | Fact::StatusFailed { .. }
        | Fact::StepFailed { .. }
        | Fact::Ended(_)
        | Fact::LateStatus { .. }
        | Fact::LateFailure { .. }
        | Fact::LateAnswer { .. } => true,
        Fact::Created
        | Fact::StepStarted { .. }
        | Fact::AttemptPlanned { .. }
        | Fact::AttemptStarted { .. }
        | Fact::AttemptDeferred { .. }
        | Fact::AttemptUnknown { .. }
        | Fact::AttemptRepeated { .. }
        | Fact::AttemptDue { .. }
        | Fact::StepMet { .. }
        | Fact::StepExpired { .. }
        | Fact::StepSkipped { .. }
        | Fact::StepCanceled { .. }
        | Fact::LateSuccess { .. } => false,
    }
}
