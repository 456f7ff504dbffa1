//! StreamStatus: what happens, as it happens, without a gap and without a repeat.
//!
//! Events are always read from the store; the feed only says that there are new ones. So a slow
//! reader is fed from history and holds nobody up, and a reader that comes back with a token goes
//! on exactly where it was, across restarts. What comes next is decided in [`follower`]; here it is done.

pub(super) mod follower;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{sync::mpsc, time::Instant};
use tonic::Status;

use super::{calls::panicked, rendered::RenderedRows};
use crate::{
    access::Denied,
    api::{Error, read_for_stream, token::Tokens},
    engine::{Engine, EngineError},
    fair::DiskTurns,
    pb::v1::{Bookmark, StreamStatusResponse, stream_status_response::Kind},
    store::{Reader, Row},
};
use follower::{JournalRead, StatusFollower, StreamStep};
/// How often an idle stream says where it is.
pub(super) const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
/// How many events may wait for a reader; the rest wait in the store.
pub(super) const STREAM_AHEAD: usize = 64;
/// How many rows are read at once.
pub(super) const ROWS: usize = 256;

/// What a reader is sent.
pub(super) type StreamItem = Result<StreamStatusResponse, Status>;

/// A stream on its way to its reader.
pub(super) struct StatusStream {
    pub(super) engine: Engine,
    /// The caller's own tenant.
    pub(super) own: Arc<str>,
    /// Whom tokens are sealed for.
    pub(super) audience: Arc<str>,
    pub(super) tokens: Tokens,
    /// Decides what is told, and where the stream is.
    pub(super) follower: StatusFollower,
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
    pub(super) async fn run(mut self) {
        // Either way the reader knows: by the end of the stream, or because it left.
        let (Ok(()) | Err(StreamEnded)) = self.follow().await;
    }

    async fn follow(&mut self) -> Result<(), StreamEnded> {
        loop {
            match self.follower.next_step() {
                StreamStep::Read(read) => self.read(read).await?,
                StreamStep::Tell(row) => self.tell(&row).await?,
                StreamStep::Pause { is_all } => {
                    // Where much happens that the reader did not ask for, it must hear where it is all the same.
                    if Instant::now() >= self.bookmark_at {
                        self.bookmark().await?;
                    }
                    if is_all {
                        self.wait().await?;
                    }
                }
                StreamStep::Complete => return Ok(()),
                StreamStep::NotFound(id) => {
                    return Err(self.fail(EngineError::NotFound(id).into()));
                }
                StreamStep::TooOld(oldest) => {
                    let oldest = self.tokens.resume(&self.audience, oldest);
                    return Err(self.fail(Error::TokenTooOld { oldest }));
                }
            }
        }
    }

    async fn read(&mut self, read: JournalRead) -> Result<(), StreamEnded> {
        let read = move |reader: &dyn Reader| Ok(read.of(reader));
        let read = read_for_stream(&self.turns, &self.engine, &self.own, read).await;
        let found = read.and_then(|read| self.follower.found(read).map_err(Error::Store));
        found.map_err(|error| self.fail(error))
    }

    /// Sends the facts of a row that the reader has not seen.
    async fn tell(&mut self, row: &Arc<Row>) -> Result<(), StreamEnded> {
        let rendered = Arc::clone(&self.rendered);
        let shown = match rendered.row(&self.turns, &self.engine, &self.tokens, row).await {
            Ok(Some(shown)) => shown,
            Ok(None) => {
                self.follower.missed();
                return Ok(());
            }
            Err(error) => return Err(self.fail(error)),
        };
        for (index, position) in self.follower.unseen(row, &shown.labels) {
            let mut event = shown.events[index].clone();
            if row.tenant != self.own {
                event.tenant = row.tenant.to_string();
            }
            // Rendered for its tenant, and read by whoever looks at several.
            if row.tenant != self.audience {
                event.resume_token = self.tokens.resume(&self.audience, position);
            }
            self.deliver(Kind::Event(event)).await?;
        }
        Ok(())
    }

    /// Waits for news; says where the stream is when there are none for a while.
    async fn wait(&mut self) -> Result<(), StreamEnded> {
        loop {
            tokio::select! {
                changed = self.follower.news().changed() => {
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
        let resume_token = self.tokens.resume(&self.audience, self.follower.position());
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

    fn fail(&mut self, error: Error) -> StreamEnded {
        if let Some(slot) = self.error_slot.take() {
            slot.send(Err(error.into()));
        }
        StreamEnded
    }
}
