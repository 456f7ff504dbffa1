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
    Callback, CallbackId, DeliveryFailure, DeliveryState, Subject,
    callback_store::CallbackStore,
    handoff::{Handoff, HandoffBuffer},
    notification::{NotificationKind, notifications},
    render,
    target::{self, CallbackTarget},
    wake::WakeSignal,
};
use crate::{
    access::Application,
    contents::Unopened,
    machine::{Fact, WorkflowId},
    store::{self, Cursor, Kind, Record, Row, SettingChange, Settings, StoreError},
};

/// How many rows are read at once.
const ROWS: usize = 256;
/// After how many rows that mean no callback, or how long, the cursor is saved all the same: the next start
/// must not think that it missed what retention dropped after it was read.
const SAVE_EVERY: u64 = 1024;
const SAVE_WITHIN: Duration = Duration::from_secs(10);
/// How long the follower pauses after a panic.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);
/// How many workflows without a receiver are remembered.
const WITHOUT_RECEIVER: usize = 262_144;
/// Where the cursor is kept, within its kind.
const KEY: &[u8] = b"cursor";

/// How far the journal was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FollowerProgress {
    cursor: Cursor,
}

/// Follows the journal.
pub(super) struct JournalFollower {
    store: Arc<CallbackStore>,
    cursor: Cursor,
    saved: Cursor,
    saved_at: Instant,
    /// Workflows that nobody is notified of: most, where there are no applications.
    without_receiver: HashSet<WorkflowId>,
    handoff: Arc<HandoffBuffer>,
}

impl JournalFollower {
    /// Goes on from the saved cursor. A store that was never followed is followed from now on, and that
    /// is durable when this returns: nothing that happens later is missed.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn new(
        store: Arc<CallbackStore>,
        handoff: Arc<HandoffBuffer>,
    ) -> Result<JournalFollower, StoreError> {
        let (settings, newest) = (&store.context.settings, store.context.reader.newest());
        let cursor = match read_progress(&**settings)? {
            // A store restored from a backup may be behind what is kept beside it.
            Some(progress) => progress.cursor.min(newest),
            None => {
                settings.write(vec![FollowerProgress { cursor: newest }.put()?])?;
                newest
            }
        };
        let (saved, saved_at) = (cursor, Instant::now());
        Ok(JournalFollower {
            store,
            cursor,
            saved,
            saved_at,
            without_receiver: HashSet::new(),
            handoff,
        })
    }

    /// Follows until `stop`, or until the store fails.
    pub(super) async fn run(self, wake: Arc<WakeSignal>, stop: CancellationToken) {
        let (store, handoff) = (Arc::clone(&self.store), Arc::clone(&self.handoff));
        let mut follower = Some(self);
        wake.notify();
        loop {
            let busy: Option<Busy> = tokio::select! {
                busy = wake.notified() => busy,
                () = save_is_due(follower.as_ref()) => None,
                () = stop.cancelled() => break,
            };
            let (store, handoff) = (Arc::clone(&store), Arc::clone(&handoff));
            let last = follower.take();
            let metrics = Arc::clone(&store.context.metrics);
            let caught_up = tokio::task::spawn_blocking(move || {
                let mut follower = match last {
                    Some(follower) => follower,
                    None => {
                        handoff.reset();
                        JournalFollower::new(store, handoff)?
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
                        "making callbacks panicked; it goes on from what was saved last"
                    );
                    drop(busy);
                    let _ = stop.run_until_cancelled(tokio::time::sleep(AFTER_A_PANIC)).await;
                    wake.notify();
                    continue;
                }
                // The end of the runtime.
                Err(_) => return,
            }
            drop(busy);
        }
        if let Some(Err(error)) = follower.map(|mut follower| follower.save_cursor()) {
            tracing::warn!(%error, "the next start looks at some rows again");
        }
    }

    /// Makes what all that is durable by now means.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn catch_up(&mut self) -> Result<(), StoreError> {
        let (rows, with_receiver) = match self.handoff.take() {
            Handoff::Rows(rows, with_receiver) => (rows, with_receiver),
            Handoff::Overflow => return self.read_on(),
        };
        let with_receiver: HashSet<_> = with_receiver.into_iter().collect();
        for rows in rows.chunks(ROWS) {
            for row in rows {
                if row.facts.first() == Some(&Fact::Created)
                    && !with_receiver.contains(&row.workflow)
                {
                    self.mark_without_receiver(row.workflow);
                }
            }
            // Those that were read from the journal meanwhile are handed over all the same.
            let known = self.cursor;
            let made = self.make_all(rows.iter().filter(|row| row.cursor > known).cloned())?;
            self.cursor = rows.last().map_or(self.cursor, |row| row.cursor.max(self.cursor));
            self.save(&made)?;
        }
        self.save(&[])
    }

    /// Reads the journal to its end.
    fn read_on(&mut self) -> Result<(), StoreError> {
        loop {
            // Behind the last row there may be cursors without a row: retention carried them to the right.
            let newest = self.store.context.reader.newest();
            let rows = match self.store.context.reader.after(self.cursor, ROWS) {
                Ok(rows) => rows,
                Err(StoreError::Trimmed(oldest)) => {
                    let missed = oldest.0.saturating_sub(self.cursor.0);
                    tracing::warn!(
                        missed,
                        "retention was faster than the callbacks; they go on behind it"
                    );
                    self.store.context.metrics.callback_rows_missed(missed);
                    self.cursor = oldest;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let made = self.make_all(rows.iter().cloned())?;
            let is_last = rows.len() < ROWS;
            let read_to = if is_last { Some(newest) } else { None };
            self.cursor = rows.last().map(|row| row.cursor).max(read_to).unwrap_or(self.cursor);
            self.save(&made)?;
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
                // One workflow that cannot be read must not stop the callbacks of all others.
                Ok(Err(error @ StoreError::Corrupt { .. })) => {
                    tracing::error!(workflow = %row.workflow, %error, "no callback can be made");
                }
                Ok(Err(error)) => return Err(error),
                // A bug, which must not stop those of all others either.
                Err(_) => {
                    let context = &self.store.context;
                    context.metrics.callbacks_panicked();
                    if context.log_limit.admits(Level::ERROR, "callback_panicked", "", "") {
                        tracing::error!(workflow = %row.workflow, "no callback can be made: a panic");
                    }
                }
            }
        }
        Ok(made)
    }

    /// Remembers that nobody is notified of this workflow.
    fn mark_without_receiver(&mut self, id: WorkflowId) {
        if self.without_receiver.len() >= WITHOUT_RECEIVER {
            self.without_receiver.clear();
        }
        self.without_receiver.insert(id);
    }

    fn save(&mut self, made: &[(CallbackId, Callback)]) -> Result<(), StoreError> {
        let is_far = self.cursor.0 - self.saved.0 >= SAVE_EVERY;
        if made.is_empty() {
            let is_due = is_far || self.saved_at.elapsed() >= SAVE_WITHIN;
            return if is_due { self.save_cursor() } else { Ok(()) };
        }
        let changes = made.iter().map(|(id, callback)| callback.put(*id));
        let mut changes = changes.collect::<Result<Vec<_>, _>>()?;
        changes.push(FollowerProgress { cursor: self.cursor }.put()?);
        self.store.context.settings.note(changes)?;
        (self.saved, self.saved_at) = (self.cursor, Instant::now());
        let metrics = &self.store.context.metrics;
        metrics.callbacks("made", made.len());
        let is_dead = |(_, callback): &&(_, Callback)| {
            matches!(callback.state, DeliveryState::DeadLettered(_))
        };
        metrics.callbacks("dead_lettered", made.iter().filter(is_dead).count());
        self.store.add(made)
    }

    /// Keeps how far it is.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn save_cursor(&mut self) -> Result<(), StoreError> {
        if self.cursor != self.saved {
            let progress = FollowerProgress { cursor: self.cursor };
            self.store.context.settings.note(vec![progress.put()?])?;
        }
        (self.saved, self.saved_at) = (self.cursor, Instant::now());
        Ok(())
    }

    /// Makes the callbacks that one row means.
    fn make(
        &mut self,
        row: &Row,
        made: &mut Vec<(CallbackId, Callback)>,
    ) -> Result<(), StoreError> {
        if self.without_receiver.contains(&row.workflow) || !row.facts.iter().any(may_notify) {
            return Ok(());
        }
        let reader = &self.store.context.reader;
        // Gone: past retention.
        let Some(record) = reader.record(row.workflow)? else { return Ok(()) };
        let requester = &record.requester;
        let Some(id) = requester.application else {
            self.mark_without_receiver(row.workflow);
            return Ok(());
        };
        let Some(application) = self.store.application(&record.tenant, id)? else { return Ok(()) };
        let Some(destination) = self.destination(&record, &application) else { return Ok(()) };
        let timeline = reader.timeline(row.workflow)?;
        let facts = row.sequence..row.sequence + row.facts.len() as u32;
        for notification in notifications(&record, timeline.iter().map(|row| &**row)) {
            if !facts.contains(&notification.sequence) {
                continue;
            }
            let subject = match notification.kind {
                NotificationKind::Status { .. } => Subject::Status,
                NotificationKind::Report { .. } if render::wants_report(requester.dialect) => {
                    Subject::Report
                }
                NotificationKind::Report { .. } => continue,
            };
            let id = CallbackId { about: record.id.0, sequence: notification.sequence };
            if self.store.get(id)?.is_some() {
                continue;
            }
            let callback = Callback {
                tenant: Arc::clone(&record.tenant),
                application: application.id,
                subject,
                destination,
                create_time: row.at.engine,
                attempts_since: row.at.engine,
                attempt_count: 0,
                state: DeliveryState::Waiting(row.at.engine),
                last_failure: None,
            };
            let has_room = self.store.has_room(&callback, made.len());
            let callback = if has_room { callback } else { self.dead_letter(callback) };
            made.push((id, callback));
        }
        Ok(())
    }

    /// Where the callbacks of a workflow go; `None` if nobody is to be told any more.
    fn destination(&self, record: &Record, application: &Application) -> Option<u64> {
        match self.store.context.contents.open(record) {
            Ok(contents) => {
                let target = CallbackTarget::of(record, &contents, application)?;
                Some(target.destination(&record.tenant, application.id))
            }
            Err(Unopened::Gone) => {
                self.store.context.metrics.callbacks("dropped", 1);
                None
            }
            // It is made all the same, and waits until that can be read.
            Err(Unopened::Unreadable(why)) => {
                tracing::error!(workflow = %record.id, why, "it could not be read where callbacks go");
                Some(target::destination(&record.tenant, application.id, ""))
            }
        }
    }

    /// Dead-letters at once: its application's receiver has been away for so long that no further
    /// callback may wait.
    fn dead_letter(&self, callback: Callback) -> Callback {
        callback.dead_lettered(self.store.context.clock.now(), DeliveryFailure::TooMany)
    }
}

/// Returns when the cursor has not been saved for too long.
async fn save_is_due(follower: Option<&JournalFollower>) {
    match follower {
        Some(follower) if follower.cursor != follower.saved => {
            tokio::time::sleep_until((follower.saved_at + SAVE_WITHIN).into()).await;
        }
        Some(_) | None => std::future::pending().await,
    }
}

impl FollowerProgress {
    fn put(&self) -> Result<SettingChange, StoreError> {
        Ok(SettingChange::put(Kind::CallbackState, KEY, store::encode(self)?))
    }
}

fn read_progress(settings: &dyn Settings) -> Result<Option<FollowerProgress>, StoreError> {
    let row = settings.get(Kind::CallbackState, KEY)?;
    row.map(|row| store::decode(&row, || "the cursor of callbacks".to_owned())).transpose()
}

/// Whether a fact may mean a notification: the cheap question, asked of every row.
fn may_notify(fact: &Fact) -> bool {
    match fact {
        Fact::AttemptAccepted { .. }
        | Fact::AttemptRejected { .. }
        | Fact::StatusReached { .. }
        | Fact::StatusFailed { .. }
        | Fact::StepFailed { .. }
        | Fact::Ended(_)
        | Fact::LateStatus { .. }
        | Fact::LateFailure { .. }
        | Fact::LateSendResult { .. } => true,
        Fact::Created
        | Fact::StepStarted { .. }
        | Fact::AttemptPlanned { .. }
        | Fact::AttemptStarted { .. }
        | Fact::AttemptRetryScheduled { .. }
        | Fact::AttemptUnknown { .. }
        | Fact::AttemptRepeated { .. }
        | Fact::AttemptDue { .. }
        | Fact::StepMet { .. }
        | Fact::StepExpired { .. }
        | Fact::StepSkipped { .. }
        | Fact::StepCanceled { .. }
        | Fact::LateSuccess { .. }
        | Fact::RecallStarted { .. }
        | Fact::RecallEnded { .. }
        | Fact::ContentsErased { .. }
        // What a part costs is told with the end; what is charged after that stands in the timeline alone.
        | Fact::PartReached { .. } => false,
    }
}
