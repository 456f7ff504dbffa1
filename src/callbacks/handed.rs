//! Rows that the writer hands over as they become durable, so that following it costs no read.
//!
//! Never more than a shortcut: what is too much is dropped, and read from the journal instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{machine::WorkflowId, store::Row};

/// How many rows wait at most.
const MOST: usize = 65_536;

/// What waits.
pub(super) struct Handed(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    rows: Vec<Arc<Row>>,
    told: Vec<WorkflowId>,
    /// Something was dropped, or nothing was handed over yet.
    has_gap: bool,
}

/// What was handed over since the last time.
pub(super) enum Taken {
    /// Every row since then, and which of the workflows made in them somebody is told of.
    Rows(Vec<Arc<Row>>, Vec<WorkflowId>),
    /// Not every row: the journal has them all. From now on they are handed over again.
    Gap,
}

impl Handed {
    /// Nothing yet: the journal comes first.
    pub(super) fn new() -> Self {
        let handed = Handed(Mutex::default());
        handed.lose();
        handed
    }

    /// Called by the writer, in the order of the journal.
    pub(super) fn over(&self, rows: &[Arc<Row>], told: &[WorkflowId]) {
        let mut waiting = self.waiting();
        if waiting.rows.len() + rows.len() > MOST {
            *waiting = Waiting { has_gap: true, ..Waiting::default() };
        } else if !waiting.has_gap {
            waiting.rows.extend_from_slice(rows);
            waiting.told.extend_from_slice(told);
        }
    }

    /// What was taken is lost: the journal comes first again.
    pub(super) fn lose(&self) {
        *self.waiting() = Waiting { has_gap: true, ..Waiting::default() };
    }

    /// Takes what waits.
    pub(super) fn take(&self) -> Taken {
        let Waiting { rows, told, has_gap } = std::mem::take(&mut *self.waiting());
        if has_gap { Taken::Gap } else { Taken::Rows(rows, told) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
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
    fn every_row_is_handed_over_or_the_gap_is_told() {
        let handed = Handed::new();
        let taken = || match handed.take() {
            Taken::Rows(rows, told) => Some((rows.len(), told.len())),
            Taken::Gap => None,
        };
        handed.over(&rows(1..3), &[]);
        assert_eq!(taken(), None, "the journal comes first");
        handed.over(&rows(3..5), &[WorkflowId(Uuid::nil())]);
        handed.over(&rows(5..6), &[]);
        assert_eq!(taken(), Some((3, 1)));
        assert_eq!(taken(), Some((0, 0)));
        // Too much: nothing is handed over until that was heard.
        let most = rows(6..6 + MOST as u64);
        handed.over(&most, &[]);
        handed.over(&most[..1], &[]);
        handed.over(&most[1..2], &[]);
        assert_eq!(taken(), None);
        handed.over(&most[2..3], &[]);
        assert_eq!(taken(), Some((1, 0)));
    }
}
