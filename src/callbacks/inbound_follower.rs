//! Makes callbacks of what persons write to senders: one for each message, to the application that is told of it.
//!
//! As with the journal it keeps a position, and writes callbacks together with it. That is not durable at once: after a
//! crash it looks at some messages again, and makes the same callbacks under the same ids.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use dispatch_contract::Busy;
use tokio_util::sync::CancellationToken;

use super::{
    Callback, CallbackId, DeliveryFailure, DeliveryState, Subject, callback_store::CallbackStore,
    target::CallbackTarget, wake::WakeSignal,
};
use crate::{
    access::inbound_receiver,
    engine::ReceivedMessage,
    store::{self, Cursor, Kind, SettingChange, StoreError},
};

/// How many messages are looked at once.
const AT_ONCE: usize = 64;
/// After how many messages that nobody is told of the position is saved all the same.
const SAVE_EVERY: u64 = 1024;
/// Where the position is kept, within its kind.
const KEY: &[u8] = b"inbound";

/// Follows what persons write.
pub(super) struct InboundFollower {
    store: Arc<CallbackStore>,
    /// The number of the last message that was looked at.
    position: u64,
    /// The one that a start would go on behind.
    saved: u64,
}

impl InboundFollower {
    /// Goes on from the saved position. Messages that were never followed are followed from now on, and that is durable
    /// when this returns.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn new(store: Arc<CallbackStore>) -> Result<InboundFollower, StoreError> {
        let newest = store.context.inbound.kept().borrow().last;
        let settings = &store.context.settings;
        let position = match settings.get(Kind::CallbackState, KEY)? {
            // A store restored from a backup may be behind.
            Some(row) => {
                let saved: u64 =
                    store::decode(&row, || "the position of inbound messages".to_owned())?;
                saved.min(newest)
            }
            None => {
                settings.write(vec![saved_at(newest)?])?;
                newest
            }
        };
        Ok(InboundFollower { store, position, saved: position })
    }

    /// Follows until `stop`, or until the store fails.
    pub(super) async fn run(mut self, wake: Arc<WakeSignal>, stop: CancellationToken) {
        let metrics = Arc::clone(&self.store.context.metrics);
        wake.notify();
        loop {
            let busy: Option<Busy> = tokio::select! {
                busy = wake.notified() => busy,
                () = stop.cancelled() => break,
            };
            let caught_up = tokio::task::spawn_blocking(move || self.catch_up().map(|()| self));
            match caught_up.await {
                Ok(Ok(back)) => self = back,
                Ok(Err(error)) => {
                    tracing::error!(%error, "no application is told of inbound messages until the next start");
                    return;
                }
                // One over a message is caught where it is.
                Err(error) if error.is_panic() => {
                    metrics.callbacks_panicked();
                    tracing::error!(
                        "telling of inbound messages panicked; no application is told until the next start"
                    );
                    return;
                }
                // The end of the runtime.
                Err(_) => return,
            }
            drop(busy);
        }
        // Who is told later of what comes then is not told of what came before.
        if let Err(error) = self.save_position() {
            tracing::warn!(%error, "the next start looks at some inbound messages again");
        }
    }

    /// Looks at what is new, to its end.
    pub(super) fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let messages = Arc::clone(&self.store.context.inbound);
            let page = match messages.after(None, self.position, AT_ONCE) {
                Ok(page) => page,
                Err(StoreError::Trimmed(Cursor(gone))) => {
                    let missed = gone.saturating_sub(self.position);
                    tracing::warn!(
                        missed,
                        "inbound messages went before an application was told of them"
                    );
                    self.position = gone;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if page.until == self.position {
                return Ok(());
            }
            let mut made = Vec::new();
            for (_, message) in &page.messages {
                made.extend(self.readable_callback(message, made.len())?);
            }
            self.position = page.until;
            let is_saved_seldom = made.is_empty() && self.position - self.saved < SAVE_EVERY;
            if !is_saved_seldom {
                self.save(&made)?;
            }
        }
    }

    /// Keeps how far it came, if that is not kept yet.
    pub(super) fn save_position(&mut self) -> Result<(), StoreError> {
        if self.position == self.saved { Ok(()) } else { self.save(&[]) }
    }

    fn save(&mut self, made: &[(CallbackId, Callback)]) -> Result<(), StoreError> {
        let changes = made.iter().map(|(id, callback)| callback.put(*id));
        let mut changes = changes.collect::<Result<Vec<_>, _>>()?;
        changes.push(saved_at(self.position)?);
        self.store.context.settings.note(changes)?;
        self.saved = self.position;
        let metrics = &self.store.context.metrics;
        metrics.callbacks("made", made.len());
        let is_dead =
            |callback: &Callback| matches!(callback.state, DeliveryState::DeadLettered(_));
        metrics.callbacks("dead_lettered", made.iter().filter(|(_, it)| is_dead(it)).count());
        self.store.add(made)
    }

    /// The callback of a message, if there is one to make: a message that cannot be told of, or a bug over it, must not stop the callbacks of all others.
    fn readable_callback(
        &self,
        message: &ReceivedMessage,
        room_taken: usize,
    ) -> Result<Option<(CallbackId, Callback)>, StoreError> {
        match catch_unwind(AssertUnwindSafe(|| self.callback(message, room_taken))) {
            Ok(Err(error @ StoreError::Corrupt { .. })) => {
                tracing::error!(message = %message.id, %error, "no application is told of an inbound message");
                Ok(None)
            }
            Ok(made) => made,
            Err(_) => {
                self.store.context.metrics.callbacks_panicked();
                tracing::error!(message = %message.id, "no application is told of an inbound message: a panic");
                Ok(None)
            }
        }
    }

    /// The callback of a message, if an application is told of it.
    fn callback(
        &self,
        message: &ReceivedMessage,
        room_taken: usize,
    ) -> Result<Option<(CallbackId, Callback)>, StoreError> {
        let context = &self.store.context;
        let id = CallbackId { about: message.id, sequence: 0 };
        let tenant = &message.tenant;
        let told = inbound_receiver(&*context.settings, tenant, &message.applications)?;
        let Some(application) = told else {
            return Ok(None);
        };
        let Some(target) = CallbackTarget::of_inbound(&application) else { return Ok(None) };
        if self.store.get(id)?.is_some() {
            return Ok(None);
        }
        let now = context.clock.now();
        let callback = Callback {
            tenant: Arc::clone(tenant),
            application: application.id,
            subject: Subject::Inbound,
            destination: target.destination(tenant, application.id),
            create_time: now,
            attempts_since: now,
            attempt_count: 0,
            state: DeliveryState::Waiting(now),
            last_failure: None,
        };
        let has_room = self.store.has_room(&callback, room_taken);
        let callback = match has_room {
            true => callback,
            false => callback.dead_lettered(now, DeliveryFailure::TooMany),
        };
        Ok(Some((id, callback)))
    }
}

fn saved_at(position: u64) -> Result<SettingChange, StoreError> {
    Ok(SettingChange::put(Kind::CallbackState, KEY, store::encode(&position)?))
}
