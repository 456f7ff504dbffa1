//! StreamStatus: what happens, as it happens, without a gap and without a repeat.
//!
//! Events are always read from the store; the feed only says that there are new ones. So a slow
//! reader is fed from history and holds nobody up, and a reader that comes back with a token goes
//! on exactly where it was, across restarts.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tonic::Status;

use super::{
    errors::Error,
    reads::read_for_stream,
    render,
    rendered::{Rendered, Shown},
    token::{Position, Tokens, audience},
};
use crate::{
    engine::Engine,
    machine::{Fact, Workflow, WorkflowId},
    pb::v1::{Bookmark, Event, StreamStatusResponse, stream_status_response::Kind},
    store::{Cursor, Record, Row, StoreError},
};

/// How often an idle stream says where it is.
pub(super) const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
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
pub(super) type Told = Result<StreamStatusResponse, Status>;

/// A stream on its way to its reader.
pub(super) struct Follower {
    pub(super) engine: Engine,
    /// The caller's own tenant.
    pub(super) own: Arc<str>,
    /// Whose workflows it follows; everybody's if nobody is named.
    pub(super) whose: Option<Arc<str>>,
    pub(super) tokens: Tokens,
    pub(super) position: Position,
    pub(super) to: mpsc::Sender<Told>,
    /// A place kept for the error that ends the stream, so that even a reader that takes nothing
    /// does not take the end for the workflow's.
    pub(super) last_word: Option<mpsc::OwnedPermit<Told>>,
    /// How long it waits for a reader that takes nothing.
    pub(super) patience: Duration,
    pub(super) rendered: Arc<Rendered>,
    /// When the reader is next told where it is, if nothing else tells it.
    pub(super) bookmark_at: Instant,
    /// Dropped with the stream.
    pub(super) _counted: Box<dyn Send>,
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
    async fn send(&mut self, row: &Arc<Row>) -> Result<(), Over> {
        if Position::behind(row.cursor) <= self.position {
            return Ok(());
        }
        let seen = if row.cursor == self.position.cursor { self.position.seen } else { 0 };
        let Some(shown) = self.shown(row).await? else { return self.missed(row) };
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
                // Rendered for its tenant, and read by whoever looks at several.
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

    /// The row's workflow was forgotten while the row was on its way here: if the row itself is past
    /// retention now, the reader is told, and not left with a silent gap.
    fn missed(&mut self, row: &Row) -> Result<(), Over> {
        let oldest = self.engine.reader().oldest();
        if row.cursor > oldest {
            // A late receipt of a workflow that is gone: there is nothing left to tell it of.
            return Ok(());
        }
        let oldest = self.tokens.resume(audience(&self.whose), Position::behind(oldest));
        Err(self.fail(Error::TokenTooOld { oldest }))
    }

    async fn wants(
        &mut self,
        row: &Arc<Row>,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Result<bool, Over> {
        if self.whose.as_ref().is_some_and(|tenant| row.tenant != *tenant) {
            return Ok(false);
        }
        if labels.is_empty() {
            return Ok(true);
        }
        let shown = self.shown(row).await?;
        Ok(shown.is_some_and(|shown| {
            labels.iter().all(|(key, value)| shown.labels.get(key) == Some(value))
        }))
    }

    /// A row as it is told; `None` if its workflow is gone.
    async fn shown(&mut self, row: &Arc<Row>) -> Result<Option<Arc<Shown>>, Over> {
        let rendered = Arc::clone(&self.rendered);
        match rendered.row(&self.engine, &self.tokens, row).await {
            Ok(shown) => Ok(shown),
            Err(error) => Err(self.fail(error)),
        }
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
                        Err(_) => Err(self.fail(crate::engine::EngineError::Unavailable.into())),
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
                    return Err(self.fail(crate::engine::EngineError::Unavailable.into()));
                }
            }
        }
    }

    async fn bookmark(&mut self) -> Result<(), Over> {
        let resume_token = self.tokens.resume(audience(&self.whose), self.position);
        self.deliver(Kind::Bookmark(Bookmark { resume_token })).await
    }

    async fn deliver(&mut self, kind: Kind) -> Result<(), Over> {
        self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
        let response = StreamStatusResponse { kind: Some(kind) };
        match tokio::time::timeout(self.patience, self.to.send(Ok(response))).await {
            Ok(sent) => sent.map_err(|_| Over),
            // It takes nothing, though its connection lives: its last token will do as well later.
            Err(_) => Err(self.fail(Error::ReaderStuck)),
        }
    }

    async fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&dyn crate::store::Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Over> {
        match read_for_stream(&self.engine, &self.own, read).await {
            Ok(value) => Ok(value),
            Err(Error::Store(StoreError::Trimmed(oldest))) => {
                let oldest = self.tokens.resume(audience(&self.whose), Position::behind(oldest));
                Err(self.fail(Error::TokenTooOld { oldest }))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: Error) -> Over {
        if let Some(place) = self.last_word.take() {
            place.send(Err(error.into()));
        }
        Over
    }
}

/// The events of a row, each with the token that goes on behind it, for readers of the tenant `reader`.
///
/// `workflow` may be newer than the row: what is taken from it never changes.
pub(super) fn events(
    row: &Row,
    record: &Record,
    workflow: &Workflow,
    tokens: &Tokens,
    reader: &str,
) -> Vec<Event> {
    let last = row.facts.len() as u32;
    let seen = |index: u32| if index == last { u32::MAX } else { index };
    let mut events: Vec<_> = (1_u32..)
        .zip(row.numbered())
        .map(|(index, (sequence, fact))| {
            let position = Position { cursor: row.cursor, seen: seen(index) };
            let token = tokens.resume(reader, position);
            render::event(record, row.at, sequence, fact, token)
        })
        .collect();
    render::locate(&mut events, record, workflow);
    events
}
