//! Takes callbacks to their receivers: starts what is due and has a place, and learns what came of it.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use dispatch_contract::{Busy, UnixMillis};
use futures_util::FutureExt;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    CallbackId,
    book::Book,
    client::CallbackClient,
    delivery::{self, Tried},
    schedule::Then,
};
use crate::current::Current;

/// How long a stop waits for callbacks that are out. Those that are not back are made again.
const DRAIN: Duration = Duration::from_secs(2);
/// When a callback is tried again whose try panicked.
const AFTER_A_PANIC: Duration = Duration::from_secs(600);

/// Delivers callbacks.
pub(super) struct Courier {
    pub(super) book: Arc<Book>,
    pub(super) client: Arc<Current<CallbackClient>>,
    /// Those that are out, so that one whose try panics is known.
    pub(super) out: HashMap<Id, CallbackId>,
    pub(super) tries: JoinSet<(Tried, Busy)>,
}

impl Courier {
    /// Delivers until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // Kept until all that it woke us for was started, and our next time is known to the clock.
        let mut busy: Option<Busy> = None;
        loop {
            while let Some(id) = self.book.start() {
                self.send(id);
            }
            let book = Arc::clone(&self.book);
            let mut due = pin!(at(&book, book.next_due()));
            let is_due = due.as_mut().now_or_never();
            drop(busy);
            busy = match is_due {
                Some(busy) => Some(busy),
                None => tokio::select! {
                    () = stop.cancelled() => break,
                    busy = book.news.heard() => busy,
                    Some(done) = self.tries.join_next_with_id() => self.finish(done),
                    busy = due => Some(busy),
                },
            };
            // Between that sleep and the next, too: the clock might jump over what is due.
            busy.get_or_insert_with(|| self.book.engine.clock().busy());
        }
        let back = async {
            while let Some(done) = self.tries.join_next_with_id().await {
                self.finish(done);
            }
        };
        if tokio::time::timeout(DRAIN, back).await.is_err() {
            tracing::info!("callbacks are still out; they are made again at the next start");
        }
    }

    fn send(&mut self, id: CallbackId) {
        let (book, client) = (Arc::clone(&self.book), self.client.get());
        let busy = self.book.engine.clock().busy();
        let task = self.tries.spawn(async move {
            let tried = delivery::attempt(&book, &client, id).await;
            (tried, busy)
        });
        self.out.insert(task.id(), id);
    }

    fn finish(
        &mut self,
        done: Result<(Id, (Tried, Busy)), tokio::task::JoinError>,
    ) -> Option<Busy> {
        let (task, tried, busy) = match done {
            Ok((task, (tried, busy))) => (task, tried, Some(busy)),
            Err(error) => {
                let at = self.book.engine.clock().now().plus(AFTER_A_PANIC);
                (error.id(), Tried::in_vain(Then::Again(at)), None)
            }
        };
        if let Some(id) = self.out.remove(&task) {
            self.book.finish(id, tried);
        }
        busy
    }
}

/// Returns at `wait`; never, if there is nothing to wait for.
async fn at(book: &Book, wait: Option<UnixMillis>) -> Busy {
    match wait {
        Some(at) => book.engine.clock().sleep_until(at).await,
        None => std::future::pending().await,
    }
}
