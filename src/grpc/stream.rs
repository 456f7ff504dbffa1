//! StreamStatus: what happens, as it happens, without a gap and without a repeat.
//!
//! Events are always read from the store; the feed only says that there are new ones. So a slow
//! reader is fed from history and holds nobody up, and a reader that comes back with a token goes
//! on exactly where it was, across restarts.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tonic::Status;

use super::{errors::Error, render, token::Position};
use crate::{
    engine::Engine,
    machine::{Fact, Workflow, WorkflowId},
    pb::v1::{Bookmark, Event, StreamStatusResponse, stream_status_response::Kind},
    store::{Cursor, Incarnation, Record, Row, StoreError},
};

/// How often an idle stream says where it is.
pub(super) const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
/// How many rows are read at once.
const ROWS: usize = 256;
/// How many workflows' records a stream remembers.
const RECORDS: usize = 1024;

/// What a stream follows.
pub(super) enum Target {
    /// One workflow.
    Workflow {
        /// Which.
        id: WorkflowId,
        /// Goes on after the end, for late receipts.
        follow_late: bool,
    },
    /// Every workflow of the tenant with all of these labels; all of them if there are none.
    Labels(std::collections::BTreeMap<String, String>),
}

/// A stream on its way to its reader.
pub(super) struct Follower {
    pub(super) engine: Engine,
    pub(super) tenant: Arc<str>,
    pub(super) position: Position,
    pub(super) to: mpsc::Sender<Result<StreamStatusResponse, Status>>,
    pub(super) records: HashMap<WorkflowId, Option<Arc<Record>>>,
    /// When the reader is next told where it is, if nothing else tells it.
    pub(super) bookmark_at: Instant,
}

/// The reader has gone away, or been told of the error that ends the stream.
struct Over;

impl Follower {
    /// Follows until the end, or until the reader goes away.
    pub(super) async fn run(mut self, target: Target) {
        let result = match target {
            Target::Workflow { id, follow_late } => self.workflow(id, follow_late).await,
            Target::Labels(labels) => self.everything(&labels).await,
        };
        // Either way the reader knows: by the end of the stream, or because it left.
        let (Ok(()) | Err(Over)) = result;
    }

    async fn workflow(&mut self, id: WorkflowId, follow_late: bool) -> Result<(), Over> {
        // Subscribed before the first look, so that nothing falls between.
        let mut news = self.engine.feed().workflow(id);
        loop {
            news.mark_unchanged();
            let rows = self.read(move |reader| reader.timeline(id)).await?;
            let mut has_ended = false;
            for row in &rows {
                has_ended |= row.facts.iter().any(|fact| matches!(fact, Fact::Ended(_)));
                self.send(row).await?;
            }
            if has_ended && !follow_late {
                return Ok(());
            }
            self.wait(&mut news, None).await?;
        }
    }

    async fn everything(
        &mut self,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), Over> {
        let mut news = self.engine.feed().everything();
        loop {
            news.mark_unchanged();
            // A row that was seen in part is read again, and its seen part skipped.
            let from = match self.position.seen {
                u32::MAX => self.position.cursor,
                _ => Cursor(self.position.cursor.0.saturating_sub(1)),
            };
            let newest = self.engine.reader().newest();
            let rows = self.read(move |reader| reader.after(from, ROWS)).await?;
            for row in &rows {
                if self.wants(row, labels).await? {
                    self.send(row).await?;
                }
                self.position = self.position.max(Position::behind(row.cursor));
            }
            // Where much happens that the reader did not ask for, it must hear where it is all the same.
            if Instant::now() >= self.bookmark_at {
                self.bookmark().await?;
            }
            if rows.len() < ROWS {
                self.wait(&mut news, Some(newest)).await?;
            }
        }
    }

    /// Sends the facts of a row that the reader has not seen.
    async fn send(&mut self, row: &Row) -> Result<(), Over> {
        if Position::behind(row.cursor) <= self.position {
            return Ok(());
        }
        let seen = if row.cursor == self.position.cursor { self.position.seen } else { 0 };
        let Some(record) = self.record(row.workflow).await? else { return self.missed(row).await };
        let id = row.workflow;
        let workflow = self.read(move |reader| reader.workflow(id)).await?;
        let Some(workflow) = workflow else { return self.missed(row).await };
        let incarnation = self.engine.reader().incarnation();
        let last = row.facts.len() as u32;
        for (index, event) in (1_u32..).zip(events(row, &record, &workflow, incarnation)) {
            if index > seen {
                let position = Position {
                    cursor: row.cursor,
                    seen: if index == last { u32::MAX } else { index },
                };
                self.deliver(Kind::Event(event)).await?;
                self.position = position;
            }
        }
        Ok(())
    }

    /// The row's workflow was forgotten while the row was on its way here: if the row itself is past
    /// retention now, the reader is told, and not left with a silent gap.
    async fn missed(&self, row: &Row) -> Result<(), Over> {
        let oldest = self.engine.reader().oldest();
        if row.cursor > oldest {
            // A late receipt of a workflow that is gone: there is nothing left to tell it of.
            return Ok(());
        }
        let oldest = Position::behind(oldest).to_token(self.engine.reader().incarnation());
        Err(self.fail(Error::TokenTooOld { oldest }).await)
    }

    async fn wants(
        &mut self,
        row: &Row,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Result<bool, Over> {
        if row.tenant != self.tenant {
            return Ok(false);
        }
        if labels.is_empty() {
            return Ok(true);
        }
        let record = self.record(row.workflow).await?;
        Ok(record.is_some_and(|record| {
            labels.iter().all(|(key, value)| record.plan.labels.get(key) == Some(value))
        }))
    }

    async fn record(&mut self, id: WorkflowId) -> Result<Option<Arc<Record>>, Over> {
        if let Some(record) = self.records.get(&id) {
            return Ok(record.clone());
        }
        let record = self.read(move |reader| reader.record(id)).await?;
        if self.records.len() >= RECORDS {
            self.records.clear();
        }
        self.records.insert(id, record.clone());
        Ok(record)
    }

    /// Waits for news; says where the stream is when there are none for a while.
    async fn wait(
        &mut self,
        news: &mut watch::Receiver<Cursor>,
        read_to: Option<Cursor>,
    ) -> Result<(), Over> {
        loop {
            tokio::select! {
                changed = news.changed() => {
                    return match changed {
                        Ok(()) => Ok(()),
                        Err(_) => Err(self.fail(crate::engine::EngineError::Unavailable.into()).await),
                    };
                }
                () = self.to.closed() => return Err(Over),
                () = tokio::time::sleep_until(self.bookmark_at) => {
                    if let Some(read_to) = read_to {
                        self.position = self.position.max(Position::behind(read_to));
                    }
                    self.bookmark().await?;
                }
                _ = self.engine.stopped() => {
                    return Err(self.fail(crate::engine::EngineError::Unavailable.into()).await);
                }
            }
        }
    }

    async fn bookmark(&mut self) -> Result<(), Over> {
        let resume_token = self.position.to_token(self.engine.reader().incarnation());
        self.deliver(Kind::Bookmark(Bookmark { resume_token })).await
    }

    async fn deliver(&mut self, kind: Kind) -> Result<(), Over> {
        self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
        let response = StreamStatusResponse { kind: Some(kind) };
        self.to.send(Ok(response)).await.map_err(|_| Over)
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn crate::store::Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Over> {
        match super::read(&self.engine, read).await {
            Ok(value) => Ok(value),
            Err(Error::Store(StoreError::Trimmed(oldest))) => {
                let oldest = Position::behind(oldest).to_token(self.engine.reader().incarnation());
                Err(self.fail(Error::TokenTooOld { oldest }).await)
            }
            Err(error) => Err(self.fail(error).await),
        }
    }

    async fn fail(&self, error: Error) -> Over {
        let _ = self.to.send(Err(error.into())).await;
        Over
    }
}

/// The events of a row, each with the token that goes on behind it.
///
/// `workflow` may be newer than the row: what is taken from it never changes.
pub(super) fn events(
    row: &Row,
    record: &Record,
    workflow: &Workflow,
    incarnation: Incarnation,
) -> Vec<Event> {
    let last = row.facts.len() as u32;
    let seen = |index: u32| if index == last { u32::MAX } else { index };
    let mut events: Vec<_> = (1_u32..)
        .zip(row.numbered())
        .map(|(index, (sequence, fact))| {
            let position = Position { cursor: row.cursor, seen: seen(index) };
            render::event(record, row.at, sequence, fact, position.to_token(incarnation))
        })
        .collect();
    render::locate(&mut events, record, workflow);
    events
}
