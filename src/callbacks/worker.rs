//! Delivers callbacks: starts an attempt for each that is due and has a permit, and applies its result.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use dispatch_contract::{Busy, UnixMillis};
use futures_util::FutureExt;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    CallbackId,
    attempt::{AttemptResult, Disposition},
    callback_store::CallbackStore,
    client::CallbackClient,
    delivery,
};
use crate::current::Current;

/// How long a stop waits for attempts in flight. The next start repeats those that are not back.
const DRAIN: Duration = Duration::from_secs(2);
/// After how long a callback is retried whose attempt panicked.
const AFTER_A_PANIC: Duration = Duration::from_secs(600);

/// Delivers callbacks.
pub(super) struct DeliveryWorker {
    pub(super) store: Arc<CallbackStore>,
    pub(super) client: Arc<Current<CallbackClient>>,
    /// By task, so that the callback of an attempt that panicked is known.
    pub(super) in_flight: HashMap<Id, CallbackId>,
    pub(super) attempts: JoinSet<(AttemptResult, Busy)>,
}

impl DeliveryWorker {
    /// Delivers until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // Kept until all that it woke us for was started, and our next time is known to the clock.
        let mut busy: Option<Busy> = None;
        loop {
            while let Some(id) = self.store.start() {
                self.send(id);
            }
            let store = Arc::clone(&self.store);
            let mut due = pin!(at(&store, store.next_due()));
            let is_due = due.as_mut().now_or_never();
            drop(busy);
            busy = match is_due {
                Some(busy) => Some(busy),
                None => tokio::select! {
                    () = stop.cancelled() => break,
                    busy = store.delivery_wake.notified() => busy,
                    Some(done) = self.attempts.join_next_with_id() => self.finish(done),
                    busy = due => Some(busy),
                },
            };
            // Between that sleep and the next, too: the clock might jump over what is due.
            busy.get_or_insert_with(|| self.store.context.clock.busy());
        }
        let back = async {
            while let Some(done) = self.attempts.join_next_with_id().await {
                self.finish(done);
            }
        };
        if tokio::time::timeout(DRAIN, back).await.is_err() {
            tracing::info!(
                "callbacks are still in flight; they are sent again after the next start"
            );
        }
    }

    fn send(&mut self, id: CallbackId) {
        let (store, client) = (Arc::clone(&self.store), self.client.get());
        let busy = self.store.context.clock.busy();
        let task = self.attempts.spawn(async move {
            let result = delivery::attempt(&store, &client, id).await;
            (result, busy)
        });
        self.in_flight.insert(task.id(), id);
    }

    fn finish(
        &mut self,
        done: Result<(Id, (AttemptResult, Busy)), tokio::task::JoinError>,
    ) -> Option<Busy> {
        let (task, result, busy) = match done {
            Ok((task, (result, busy))) => (task, result, Some(busy)),
            Err(error) => {
                let at = self.store.context.clock.now().plus(AFTER_A_PANIC);
                (error.id(), AttemptResult::failed(Disposition::RetryAt(at)), None)
            }
        };
        if let Some(id) = self.in_flight.remove(&task) {
            self.store.finish(id, result);
        }
        busy
    }
}

/// Returns at `wait`; never, if there is nothing to wait for.
async fn at(store: &CallbackStore, wait: Option<UnixMillis>) -> Busy {
    match wait {
        Some(at) => store.context.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
