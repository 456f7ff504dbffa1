//! Those who follow the journal, from one cursor to the next, across deaths.

use std::sync::Arc;

use dispatch::store::{Cursor, Reader, Row, StoreError};

use crate::judge::{Broken, Fine, READERS};

/// A reader that remembers where it was.
pub struct Follower {
    /// It looks every so many turns.
    every: u64,
    /// And takes so many rows at once.
    most: usize,
    cursor: Cursor,
    /// How many rows of the journal lie behind it.
    passed: usize,
}

impl Follower {
    pub fn new(every: u64, most: usize) -> Follower {
        Follower { every, most, cursor: Cursor(0), passed: 0 }
    }

    /// Reads on. `journal` is all that ever was durable; what is older than `past` may be gone.
    pub fn look(
        &mut self,
        reader: &dyn Reader,
        journal: &[Arc<Row>],
        turn: u64,
        past: u64,
        all: bool,
    ) -> Fine {
        if !all && !turn.is_multiple_of(self.every) {
            return Ok(());
        }
        loop {
            let rows = match reader.after(self.cursor, self.most) {
                Ok(rows) => rows,
                Err(StoreError::Trimmed(oldest)) => {
                    let gone = journal[self.passed..].iter().take_while(|row| row.cursor <= oldest);
                    let young = gone.clone().find(|row| row.at.engine.0 >= past);
                    self.want(young.is_none(), || format!("{young:?} is gone before its time"))?;
                    self.passed += gone.count();
                    self.want(oldest > self.cursor, || format!("trimmed at {oldest:?}"))?;
                    self.cursor = oldest;
                    continue;
                }
                Err(error) => return Err(self.broken(error.to_string())),
            };
            let expected = &journal[self.passed..journal.len().min(self.passed + self.most)];
            self.want(rows == expected, || format!("{rows:?}, and it should be {expected:?}"))?;
            for row in &rows {
                let found =
                    reader.record(row.workflow).map_err(|error| self.broken(error.to_string()))?;
                self.want(found.is_some(), || format!("{row:?}, and its workflow is gone"))?;
            }
            self.passed += rows.len();
            let Some(last) = rows.last() else { return Ok(()) };
            self.cursor = last.cursor;
            if !all {
                return Ok(());
            }
        }
    }

    fn want(&self, holds: bool, detail: impl FnOnce() -> String) -> Fine {
        if holds { Ok(()) } else { Err(self.broken(detail())) }
    }

    fn broken(&self, detail: String) -> Broken {
        let detail = format!("behind {:?}: {detail}", self.cursor);
        Broken { rule: READERS, detail, workflow: None }
    }
}
