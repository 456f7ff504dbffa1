//! StreamStatus: what happens, as it happens, without a gap and without a repeat.
//!
//! Events are always read from the store; the feed only says that there are new ones. So a slow
//! reader is fed from history and holds nobody up, and a reader that comes back with a token goes
//! on exactly where it was, across restarts.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tonic::Status;

use super::{
    calls::panicked,
    rendered::{RenderedRow, RenderedRows},
};
use crate::{
    access::Denied,
    api::{
        Error, read_for_stream,
        token::{Position, Tokens, audience},
    },
    engine::{Engine, EngineError},
    fair::DiskTurns,
    machine::{Fact, WorkflowId},
    pb::v1::{Bookmark, StreamStatusResponse, stream_status_response::Kind},
    store::{Cursor, Row, StoreError},
};

/// How often an idle stream says where it is.
pub(super) const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
/// How many events may wait for a reader; the rest wait in the store.
pub(super) const STREAM_AHEAD: usize = 64;
/// How many rows are read at once.
const ROWS: usize = 256;

/// What a stream follows.
pub(super) enum Target {
    /// One workflow.
    Workflow {
        /// Which.
        id: WorkflowId,
        /// Goes on after the end, for late receipts.
        follow_late: bool,
    },
    /// Every workflow of whom it follows with all of these labels; all of them if there are none.
    Labels(std::collections::BTreeMap<String, String>),
}

/// What a reader is sent.
pub(super) type StreamItem = Result<StreamStatusResponse, Status>;

/// A stream on its way to its reader.
pub(super) struct StatusStream {
    pub(super) engine: Engine,
    /// The caller's own tenant.
    pub(super) own: Arc<str>,
    /// Whose workflows it follows; everybody's if nobody is named.
    pub(super) whose: Option<Arc<str>>,
    pub(super) tokens: Tokens,
    pub(super) position: Position,
    pub(super) to: mpsc::Sender<StreamItem>,
    /// One reserved slot, so that a terminal error can always be sent; otherwise a stalled client would
    /// mistake the closed stream for the workflow's end.
    pub(super) error_slot: Option<mpsc::OwnedPermit<StreamItem>>,
    /// How long it waits for a reader that takes nothing.
    pub(super) reader_timeout: Duration,
    pub(super) rendered: Arc<RenderedRows>,
    pub(super) turns: DiskTurns,
    /// When the reader is next told where it is, if nothing else tells it.
    pub(super) bookmark_at: Instant,
    /// Dropped with the stream.
    pub(super) _counted: Box<dyn Send>,
}

/// Runs a stream until it ends by itself or its caller is shut out, which `end` is told.
pub(super) fn spawn<T: Send + 'static>(
    engine: Engine,
    reader_timeout: Duration,
    end: mpsc::Sender<Result<T, Status>>,
    run: impl Future<Output = ()> + Send + 'static,
    shut_out: impl Future<Output = Denied> + Send + 'static,
) {
    tokio::spawn(async move {
        let last = tokio::select! {
            followed = AssertUnwindSafe(run).catch_unwind() => match followed {
                Ok(()) => return,
                // A stream that merely ended would say that all was told.
                Err(_) => panicked(&engine),
            },
            denied = shut_out => Error::Denied(denied).into(),
        };
        let _ = tokio::time::timeout(reader_timeout, end.send(Err(last))).await;
    });
}

/// The reader has gone away, or been told of the error that ends the stream.
pub(super) struct StreamEnded;

impl StatusStream {
    /// Follows until the end, or until the reader goes away.
    pub(super) async fn run(mut self, target: Target) {
        let result = match target {
            Target::Workflow { id, follow_late } => self.workflow(id, follow_late).await,
            Target::Labels(labels) => self.everything(&labels).await,
        };
        // Either way the reader knows: by the end of the stream, or because it left.
        let (Ok(()) | Err(StreamEnded)) = result;
    }

    async fn workflow(&mut self, id: WorkflowId, follow_late: bool) -> Result<(), StreamEnded> {
        // Subscribed before the first look, so that nothing falls between.
        let mut updates = self.engine.feed().workflow(id);
        let mut was_there = false;
        loop {
            updates.mark_unchanged();
            let rows = self.read(move |reader| reader.timeline(id)).await?;
            if rows.is_empty() {
                let newest = *updates.borrow();
                // Who has seen all that was heard of has seen all.
                return match was_there {
                    true if newest <= self.position.cursor => Ok(()),
                    true => Err(self.too_old(newest)),
                    false => Err(self.fail(EngineError::NotFound(id).into())),
                };
            }
            was_there = true;
            let is_end = |fact: &Fact| matches!(fact, Fact::Ended(_));
            let has_ended = rows.iter().any(|row| row.facts.iter().any(is_end));
            for row in &rows {
                if self.is_new(row) {
                    let shown = self.shown(row).await?;
                    self.send(row, &shown).await?;
                }
            }
            if has_ended && !follow_late {
                return Ok(());
            }
            self.wait(&mut updates).await?;
        }
    }

    async fn everything(
        &mut self,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), StreamEnded> {
        let mut updates = self.engine.feed().everything();
        loop {
            updates.mark_unchanged();
            // A row that was seen in part is read again, and its seen part skipped.
            let from = match self.position.seen {
                u32::MAX => self.position.cursor,
                _ => Cursor(self.position.cursor.0.saturating_sub(1)),
            };
            let newest = self.engine.reader().newest();
            let rows = self.read(move |reader| reader.after(from, ROWS)).await?;
            for row in &rows {
                if self.is_new(row) && self.is_of_whom_it_follows(row) {
                    let shown = self.shown(row).await?;
                    if labels.iter().all(|(key, value)| shown.labels.get(key) == Some(value)) {
                        self.send(row, &shown).await?;
                    }
                }
                self.position = self.position.max(Position::behind(row.cursor));
            }
            let is_all = rows.len() < ROWS;
            if is_all {
                self.position = self.position.max(Position::behind(newest));
            }
            // Where much happens that the reader did not ask for, it must hear where it is all the same.
            if Instant::now() >= self.bookmark_at {
                self.bookmark().await?;
            }
            if is_all {
                self.wait(&mut updates).await?;
            }
        }
    }

    /// Sends the facts of a row that the reader has not seen.
    async fn send(&mut self, row: &Row, shown: &RenderedRow) -> Result<(), StreamEnded> {
        let seen = if row.cursor == self.position.cursor { self.position.seen } else { 0 };
        let last = row.facts.len() as u32;
        for (index, event) in (1_u32..).zip(&shown.events) {
            if index > seen {
                let position = Position {
                    cursor: row.cursor,
                    seen: if index == last { u32::MAX } else { index },
                };
                let mut event = event.clone();
                if row.tenant != self.own {
                    event.tenant = row.tenant.to_string();
                }
                // RenderedRows for its tenant, and read by whoever looks at several.
                let audience = audience(&self.whose);
                if *row.tenant != *audience {
                    event.resume_token = self.tokens.resume(audience, position);
                }
                self.deliver(Kind::Event(event)).await?;
                self.position = position;
            }
        }
        Ok(())
    }

    /// Retention was faster than this reader, which goes on behind `missed` at the earliest.
    fn too_old(&mut self, missed: Cursor) -> StreamEnded {
        let oldest = Position::behind(self.engine.reader().oldest().max(missed));
        let oldest = self.tokens.resume(audience(&self.whose), oldest);
        self.fail(Error::TokenTooOld { oldest })
    }

    /// Whether the reader has not seen all of it.
    fn is_new(&self, row: &Row) -> bool {
        Position::behind(row.cursor) > self.position
    }

    fn is_of_whom_it_follows(&self, row: &Row) -> bool {
        self.whose.as_ref().is_none_or(|tenant| row.tenant == *tenant)
    }

    /// A row as it is told. Where its workflow was forgotten while it was on its way here, the row is past
    /// retention, and so is the reader.
    async fn shown(&mut self, row: &Arc<Row>) -> Result<Arc<RenderedRow>, StreamEnded> {
        let rendered = Arc::clone(&self.rendered);
        match rendered.row(&self.turns, &self.engine, &self.tokens, row).await {
            Ok(Some(shown)) => Ok(shown),
            Ok(None) => Err(self.too_old(row.cursor)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Waits for updates; says where the stream is when there are none for a while.
    async fn wait(&mut self, updates: &mut watch::Receiver<Cursor>) -> Result<(), StreamEnded> {
        loop {
            tokio::select! {
                changed = updates.changed() => {
                    return changed.map_err(|_| self.fail(EngineError::Unavailable.into()));
                }
                () = self.to.closed() => return Err(StreamEnded),
                () = tokio::time::sleep_until(self.bookmark_at) => self.bookmark().await?,
                _ = self.engine.stopped() => {
                    return Err(self.fail(EngineError::Unavailable.into()));
                }
            }
        }
    }

    async fn bookmark(&mut self) -> Result<(), StreamEnded> {
        let resume_token = self.tokens.resume(audience(&self.whose), self.position);
        self.deliver(Kind::Bookmark(Bookmark { resume_token })).await
    }

    async fn deliver(&mut self, kind: Kind) -> Result<(), StreamEnded> {
        self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
        let response = StreamStatusResponse { kind: Some(kind) };
        match tokio::time::timeout(self.reader_timeout, self.to.send(Ok(response))).await {
            Ok(sent) => sent.map_err(|_| StreamEnded),
            // It takes nothing, though its connection lives: its last token will do as well later.
            Err(_) => Err(self.fail(Error::ReaderStuck)),
        }
    }

    async fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&dyn crate::store::Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StreamEnded> {
        match read_for_stream(&self.turns, &self.engine, &self.own, read).await {
            Ok(value) => Ok(value),
            Err(Error::Store(StoreError::Trimmed(oldest))) => Err(self.too_old(oldest)),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: Error) -> StreamEnded {
        if let Some(slot) = self.error_slot.take() {
            slot.send(Err(error.into()));
        }
        StreamEnded
    }
}
