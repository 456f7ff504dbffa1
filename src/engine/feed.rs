//! Tells subscribers that there is something new. What it is they read from the store, so that a
//! slow reader misses nothing and holds nobody up.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use crate::{
    machine::WorkflowId,
    store::{Cursor, Row},
};

/// Where subscribers learn that the journal has grown.
#[derive(Debug)]
pub struct Feed {
    newest: watch::Sender<Cursor>,
    workflows: Mutex<HashMap<WorkflowId, watch::Sender<Cursor>>>,
    /// At how many entries to look for those without a subscriber.
    purge_at: AtomicUsize,
    on_commit: CommitHook,
}

/// A callback that the writer's thread calls after each commit.
#[derive(Default)]
struct CommitHook(OnceLock<OnCommit>);

/// Takes rows that became durable, and the workflows made in them whose requester is to be told of them.
pub type OnCommit = Box<dyn Fn(&[Arc<Row>], &[WorkflowId]) + Send + Sync>;

impl Feed {
    pub(super) fn new(newest: Cursor) -> Self {
        Feed {
            newest: watch::Sender::new(newest),
            workflows: Mutex::default(),
            purge_at: AtomicUsize::new(64),
            on_commit: CommitHook::default(),
        }
    }

    /// How many workflows somebody follows or followed lately.
    pub(super) fn workflows(&self) -> usize {
        self.workflows.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Changes with every row.
    pub fn everything(&self) -> watch::Receiver<Cursor> {
        self.newest.subscribe()
    }

    /// Changes with every row of one workflow, and when it is forgotten.
    pub fn workflow(&self, id: WorkflowId) -> watch::Receiver<Cursor> {
        let mut workflows = self.workflows.lock().unwrap_or_else(PoisonError::into_inner);
        // Most streams end with their workflow, after whose last row nothing is published.
        if workflows.len() >= self.purge_at.load(Ordering::Relaxed) {
            workflows.retain(|_, sender| sender.receiver_count() > 0);
            self.purge_at.store(2 * workflows.len() + 64, Ordering::Relaxed);
        }
        workflows.entry(id).or_insert_with(|| watch::Sender::new(Cursor(0))).subscribe()
    }

    /// Calls `hook` with every change, before the writer goes on: for a follower that a test clock waits
    /// for. It must be quick. There is room for one; a second is not called.
    pub fn on_commit(&self, hook: OnCommit) {
        let _ = self.on_commit.0.set(hook);
    }

    /// Workflows are gone: whoever follows one looks, and finds it so.
    pub(super) fn forgotten(&self, ids: &[WorkflowId]) {
        let workflows = self.workflows.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in ids.iter().filter_map(|id| workflows.get(id)) {
            sender.send_modify(|_| {});
        }
    }

    pub(super) fn publish(&self, rows: &[Arc<Row>], subscribed: &[WorkflowId]) {
        let Some(last) = rows.last() else { return };
        let mut workflows = self.workflows.lock().unwrap_or_else(PoisonError::into_inner);
        if !workflows.is_empty() {
            for row in rows {
                if let Some(sender) = workflows.get(&row.workflow)
                    && sender.send(row.cursor).is_err()
                {
                    // Its last subscriber is gone.
                    workflows.remove(&row.workflow);
                }
            }
        }
        drop(workflows);
        self.newest.send_replace(last.cursor);
        if let Some(hook) = self.on_commit.0.get() {
            hook(rows, subscribed);
        }
    }
}

impl fmt::Debug for CommitHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitHook")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn streams_that_are_over_leave_nothing_behind() {
        let feed = Feed::new(Cursor(0));
        let kept = feed.workflow(WorkflowId(Uuid::max()));
        for number in 0..10_000 {
            drop(feed.workflow(WorkflowId(Uuid::from_u128(number))));
        }
        let workflows = feed.workflows.lock().unwrap();
        assert!(workflows.len() < 200, "{} entries for one subscriber", workflows.len());
        assert!(workflows.contains_key(&WorkflowId(Uuid::max())));
        drop(kept);
    }
}
