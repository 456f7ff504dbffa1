//! Rows that the writer hands to the journal follower as they become durable, so that following the
//! journal costs no read.
//!
//! Never more than a shortcut: at an overflow everything is dropped, and read from the journal instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{machine::WorkflowId, store::Row};

/// How many rows are buffered at most.
const CAPACITY: usize = 65_536;

/// Rows between the writer and the journal follower.
pub(super) struct HandoffBuffer(Mutex<Buffered>);

#[derive(Default)]
struct Buffered {
    rows: Vec<Arc<Row>>,
    /// Of the workflows created in `rows`, those that have a receiver.
    with_receiver: Vec<WorkflowId>,
    /// Rows were dropped, or none was pushed yet.
    overflowed: bool,
}

/// What was pushed since the last [`take`](HandoffBuffer::take).
pub(super) enum Handoff {
    /// Every row since then, and which of the workflows created in them have a receiver.
    Rows(Vec<Arc<Row>>, Vec<WorkflowId>),
    /// Not every row: the journal has them all. From now on rows are buffered again.
    Overflow,
}

impl HandoffBuffer {
    /// In overflow: the journal comes first.
    pub(super) fn new() -> Self {
        let handoff = HandoffBuffer(Mutex::default());
        handoff.reset();
        handoff
    }

    /// Called by the writer, in the order of the journal.
    pub(super) fn push(&self, rows: &[Arc<Row>], with_receiver: &[WorkflowId]) {
        let mut buffered = self.buffered();
        if buffered.rows.len() + rows.len() > CAPACITY {
            *buffered = Buffered { overflowed: true, ..Buffered::default() };
        } else if !buffered.overflowed {
            buffered.rows.extend_from_slice(rows);
            buffered.with_receiver.extend_from_slice(with_receiver);
        }
    }

    /// Back to overflow, after what was taken got lost: the journal comes first again.
    pub(super) fn reset(&self) {
        *self.buffered() = Buffered { overflowed: true, ..Buffered::default() };
    }

    /// Takes what is buffered.
    pub(super) fn take(&self) -> Handoff {
        let Buffered { rows, with_receiver, overflowed } = std::mem::take(&mut *self.buffered());
        if overflowed { Handoff::Overflow } else { Handoff::Rows(rows, with_receiver) }
    }

    fn buffered(&self) -> MutexGuard<'_, Buffered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        machine::{Fact, Moment},
        store::Cursor,
    };

    fn rows(cursors: std::ops::Range<u64>) -> Vec<Arc<Row>> {
        let row = |cursor| Row {
            cursor: Cursor(cursor),
            tenant: Arc::from("default"),
            workflow: WorkflowId(Uuid::nil()),
            at: Moment::default(),
            sequence: 1,
            facts: vec![Fact::Created],
        };
        cursors.map(|cursor| Arc::new(row(cursor))).collect()
    }

    #[test]
    fn every_row_is_handed_over_or_the_overflow_is_reported() {
        let handoff = HandoffBuffer::new();
        let taken = || match handoff.take() {
            Handoff::Rows(rows, with_receiver) => Some((rows.len(), with_receiver.len())),
            Handoff::Overflow => None,
        };
        handoff.push(&rows(1..3), &[]);
        assert_eq!(taken(), None, "the journal comes first");
        handoff.push(&rows(3..5), &[WorkflowId(Uuid::nil())]);
        handoff.push(&rows(5..6), &[]);
        assert_eq!(taken(), Some((3, 1)));
        assert_eq!(taken(), Some((0, 0)));
        // Too much: nothing is buffered until the overflow was taken.
        let most = rows(6..6 + CAPACITY as u64);
        handoff.push(&most, &[]);
        handoff.push(&most[..1], &[]);
        handoff.push(&most[1..2], &[]);
        assert_eq!(taken(), None);
        handoff.push(&most[2..3], &[]);
        assert_eq!(taken(), Some((1, 0)));
    }
}
