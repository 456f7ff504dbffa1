//! What a stream does next: decided here, and done elsewhere.
//!
//! It is stepped, and waits for nothing. [`StatusFollower::next_step`] says what comes next; whoever steps it does that and
//! asks again. That is the task of a stream, which waits for the disk, its reader and the feed; or a simulator, which
//! lets anything happen in between.

use std::{collections::BTreeMap, fmt, sync::Arc, vec};

use tokio::sync::watch;

use crate::{
    api::token::Position,
    engine::Feed,
    machine::{Fact, WorkflowId},
    store::{Cursor, Reader, Row, StoreError},
};

/// What a stream follows.
#[derive(Clone, Debug)]
pub enum StatusTarget {
    /// One workflow.
    Workflow {
        /// Which.
        id: WorkflowId,
        /// Goes on after the end, for late receipts.
        follow_late: bool,
    },
    /// Every workflow of this tenant, or of all if none is named, with all of these labels, if there are any.
    Many {
        /// Whose.
        tenant: Option<Arc<str>>,
        /// Keys, and the values they must have.
        labels: BTreeMap<String, String>,
    },
}

/// What a stream does next.
#[derive(Debug)]
pub enum StreamStep {
    /// It reads this, and says what was [found](StatusFollower::found).
    Read(JournalRead),
    /// It tells what is [unseen](StatusFollower::unseen) of this row; if its workflow is gone by now, that was
    /// [missed](StatusFollower::missed).
    Tell(Arc<Row>),
    /// All that was found is told, as a bookmark may say. If this `is_all`, it waits for [news](StatusFollower::news).
    Pause {
        /// There was no more when it was looked for.
        is_all: bool,
    },
    /// It is over: all is told.
    Complete,
    /// It is over: there is no such workflow.
    NotFound(WorkflowId),
    /// It is over: retention was faster than the reader, which can go on behind this at the earliest.
    TooOld(Position),
}

/// A read of the store.
#[derive(Clone, Copy, Debug)]
pub enum JournalRead {
    /// All that happened to a workflow.
    Timeline(WorkflowId),
    /// Rows of the journal behind a cursor, so many at most.
    After(Cursor, usize),
}

impl JournalRead {
    /// Reads.
    ///
    /// # Errors
    /// If the store cannot be read, or retention was faster.
    pub fn of(self, reader: &dyn Reader) -> Result<Vec<Arc<Row>>, StoreError> {
        match self {
            JournalRead::Timeline(id) => reader.timeline(id),
            JournalRead::After(cursor, limit) => reader.after(cursor, limit),
        }
    }
}

/// Follows the journal for one stream.
pub struct StatusFollower {
    target: StatusTarget,
    reader: Arc<dyn Reader>,
    news: watch::Receiver<Cursor>,
    /// Behind all that was told, or need not be.
    position: Position,
    /// How many rows are read at once.
    most: usize,
    /// Of many workflows: all up to here was durable when it looked last.
    durable: Cursor,
    /// Of one: it was there when it looked before.
    was_there: bool,
    /// What was found and is not told.
    rows: vec::IntoIter<Arc<Row>>,
    /// What is being told.
    telling: Option<Cursor>,
    /// What comes once all that was found is told.
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Look,
    Pause {
        is_all: bool,
    },
    Complete,
    NotFound(WorkflowId),
    /// What is gone up to here was not told.
    TooOld(Cursor),
}

impl StatusFollower {
    /// Follows `target` behind `position`, `most` rows at once. Nothing that becomes durable from now on is missed.
    pub fn new(
        feed: &Feed,
        reader: Arc<dyn Reader>,
        target: StatusTarget,
        position: Position,
        most: usize,
    ) -> Self {
        // Subscribed before the first look, so that nothing falls between.
        let news = match &target {
            StatusTarget::Workflow { id, .. } => feed.workflow(*id),
            StatusTarget::Many { .. } => feed.everything(),
        };
        StatusFollower {
            target,
            reader,
            news,
            position,
            most,
            durable: Cursor(0),
            was_there: false,
            rows: Vec::new().into_iter(),
            telling: None,
            then: Then::Look,
        }
    }

    /// Where a reader goes on who was told all up to `position`.
    ///
    /// # Errors
    /// Where it can go on at the earliest, if retention was faster. Of one workflow the whole timeline is kept.
    pub fn resume(
        reader: &dyn Reader,
        target: &StatusTarget,
        position: Position,
    ) -> Result<Position, Position> {
        let oldest = reader.oldest();
        match target {
            StatusTarget::Many { .. } if position.cursor < oldest => Err(Position::behind(oldest)),
            StatusTarget::Many { .. } | StatusTarget::Workflow { .. } => Ok(position),
        }
    }

    /// What comes next, once what was said before is done.
    pub fn next_step(&mut self) -> StreamStep {
        if let Some(told) = self.telling.take() {
            self.pass(told);
        }
        while let Some(row) = self.rows.next() {
            if self.is_to_be_told(&row) {
                self.telling = Some(row.cursor);
                return StreamStep::Tell(row);
            }
            self.pass(row.cursor);
        }
        match self.then {
            Then::Look => StreamStep::Read(self.look()),
            Then::Pause { is_all } => {
                self.then = Then::Look;
                if is_all {
                    self.pass(self.durable);
                }
                StreamStep::Pause { is_all }
            }
            Then::TooOld(missed) => {
                let oldest = Position::behind(self.reader.oldest().max(missed));
                StreamStep::TooOld(oldest)
            }
            Then::Complete => StreamStep::Complete,
            Then::NotFound(id) => StreamStep::NotFound(id),
        }
    }

    fn look(&mut self) -> JournalRead {
        // What is news by now will be found; what comes later is news again.
        self.news.mark_unchanged();
        match &self.target {
            StatusTarget::Workflow { id, .. } => JournalRead::Timeline(*id),
            StatusTarget::Many { .. } => {
                self.durable = self.reader.newest();
                // A row that was seen in part is read again, and its seen part skipped.
                let from = match self.position.seen {
                    u32::MAX => self.position.cursor,
                    _ => Cursor(self.position.cursor.0.saturating_sub(1)),
                };
                JournalRead::After(from, self.most)
            }
        }
    }

    /// What was asked to be read.
    ///
    /// # Errors
    /// The store's, unless it is one that streams know what to do about.
    pub fn found(&mut self, read: Result<Vec<Arc<Row>>, StoreError>) -> Result<(), StoreError> {
        let rows = match read {
            Ok(rows) => rows,
            Err(StoreError::Trimmed(missed)) => {
                self.then = Then::TooOld(missed);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.then = match self.target {
            StatusTarget::Many { .. } => Then::Pause { is_all: rows.len() < self.most },
            StatusTarget::Workflow { id, .. } if rows.is_empty() => self.vanished(id),
            StatusTarget::Workflow { follow_late: true, .. } => Then::Pause { is_all: true },
            StatusTarget::Workflow { follow_late: false, .. } => {
                let is_end = |fact: &Fact| matches!(fact, Fact::Ended(_));
                match rows.iter().any(|row| row.facts.iter().any(is_end)) {
                    true => Then::Complete,
                    false => Then::Pause { is_all: true },
                }
            }
        };
        self.was_there = true;
        self.rows = rows.into_iter();
        Ok(())
    }

    /// The workflow of the row that is to be told is gone: it was past retention, and so is the reader.
    pub fn missed(&mut self) {
        if let Some(missed) = self.telling.take() {
            self.rows = Vec::new().into_iter();
            self.then = Then::TooOld(missed);
        }
    }

    /// Of a row that is to be told, whose workflow has these labels: which facts the reader has not seen, by their index,
    /// each with the position behind it.
    pub fn unseen<'row>(
        &self,
        row: &'row Row,
        labels: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (usize, Position)> + use<'row> {
        let seen = match &self.target {
            StatusTarget::Many { labels: wanted, .. }
                if wanted.iter().any(|(key, value)| labels.get(key) != Some(value)) =>
            {
                u32::MAX
            }
            _ if row.cursor == self.position.cursor => self.position.seen,
            _ => 0,
        };
        (seen..row.facts.len() as u32)
            .map(|index| (index as usize, Position::within(row, index + 1)))
    }

    /// Changes when there is something to look at.
    pub fn news(&mut self) -> &mut watch::Receiver<Cursor> {
        &mut self.news
    }

    /// At a pause: a place with nothing before it that was not told.
    pub fn position(&self) -> Position {
        self.position
    }

    fn pass(&mut self, cursor: Cursor) {
        self.position = self.position.max(Position::behind(cursor));
    }

    /// Whether something of it may be unseen that the reader asked for.
    fn is_to_be_told(&self, row: &Row) -> bool {
        let is_asked_for = match &self.target {
            StatusTarget::Workflow { .. } => true,
            StatusTarget::Many { tenant, .. } => {
                tenant.as_ref().is_none_or(|tenant| row.tenant == *tenant)
            }
        };
        is_asked_for && Position::behind(row.cursor) > self.position
    }

    /// The workflow has no timeline.
    fn vanished(&self, id: WorkflowId) -> Then {
        let newest = *self.news.borrow();
        match self.was_there {
            false => Then::NotFound(id),
            // Who has seen all that was heard of has seen all.
            true if newest <= self.position.cursor => Then::Complete,
            true => Then::TooOld(newest),
        }
    }
}

impl fmt::Debug for StatusFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusFollower")
    }
}
