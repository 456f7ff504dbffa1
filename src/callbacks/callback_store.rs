//! The callbacks that are kept: their rows in the store, and an index of them in memory.
//!
//! The index is a projection of the rows: when each is due, and which dead letter is the oldest. Rows
//! change first, the index after, so that a crash in between only repeats an attempt.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dispatch_contract::UnixMillis;
use uuid::Uuid;

use super::{
    Callback, CallbackContext, CallbackId, CallbackOptions, DeliveryFailure, DeliveryState,
    attempt::AttemptResult,
    row::{readable, tenant_number},
    schedule::{ConcurrencyLimits, QueuedCallback, Schedule},
    wake::WakeSignal,
};
use crate::{
    access::Application,
    current::Current,
    store::{self, Kind, SettingChange, StoreError},
};

/// How many rows are read at once.
const ROWS: usize = 512;

/// What the journal follower, the delivery worker and the administrators share.
pub(super) struct CallbackStore {
    pub(super) context: CallbackContext,
    pub(super) options: Current<CallbackOptions>,
    /// Wakes the delivery worker when a new callback waits.
    pub(super) delivery_wake: WakeSignal,
    index: Mutex<CallbackIndex>,
}

struct CallbackIndex {
    schedule: Schedule,
    /// By application, the oldest first.
    dead_letters: HashMap<Uuid, BTreeSet<(UnixMillis, CallbackId)>>,
    dead_letter_count: usize,
}

impl CallbackStore {
    /// Indexes the rows that the store holds.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(super) fn open(
        context: CallbackContext,
        options: CallbackOptions,
    ) -> Result<CallbackStore, StoreError> {
        let limits = ConcurrencyLimits {
            total: options.concurrency,
            per_destination: options.per_destination,
        };
        let index = CallbackIndex {
            schedule: Schedule::new(limits),
            dead_letters: HashMap::new(),
            dead_letter_count: 0,
        };
        let delivery_wake = WakeSignal::new(Arc::clone(&context.clock));
        let options = Current::new(options);
        let store = CallbackStore { context, options, delivery_wake, index: Mutex::new(index) };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = store.context.settings.list(Kind::Callback, after.as_deref(), ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            let mut index = store.index();
            for (id, callback) in readable(&rows) {
                index.insert(id, &callback);
            }
        }
        store.update_metrics();
        Ok(store)
    }

    /// The row of a callback.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(super) fn get(&self, id: CallbackId) -> Result<Option<Callback>, StoreError> {
        let key = id.to_key();
        let row = self.context.settings.get(Kind::Callback, &key)?;
        row.map(|row| Callback::decode(&key, &row).map(|(_, callback)| callback)).transpose()
    }

    /// An application, if it is the tenant's.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(super) fn application(
        &self,
        tenant: &str,
        id: Uuid,
    ) -> Result<Option<Application>, StoreError> {
        let Some(row) = self.context.settings.get(Kind::Application, id.as_bytes())? else {
            return Ok(None);
        };
        let application: Application = store::decode(&row, || format!("application {id}"))?;
        Ok(Some(application).filter(|application| application.tenant == tenant))
    }

    /// Whether a callback may wait, beside `further` that are about to.
    pub(super) fn has_room(&self, callback: &Callback, further: usize) -> bool {
        let waiting = self.index().schedule.waiting_of(callback.application);
        waiting + further < self.options.get().waiting_per_application
    }

    /// Applies other options from now on.
    pub(super) fn reload(&self, options: CallbackOptions) {
        let limits = ConcurrencyLimits {
            total: options.concurrency,
            per_destination: options.per_destination,
        };
        self.options.set(options);
        self.index().schedule.set_limits(limits);
        self.delivery_wake.notify();
    }

    /// Indexes callbacks whose rows are written, and wakes the delivery worker.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn add(&self, made: &[(CallbackId, Callback)]) -> Result<(), StoreError> {
        let mut index = self.index();
        for (id, callback) in made {
            index.insert(*id, callback);
        }
        drop(index);
        self.trim_dead_letters(made.iter().map(|(_, callback)| callback))?;
        self.update_metrics();
        self.delivery_wake.notify();
        Ok(())
    }

    /// The next callback to deliver now.
    pub(super) fn start(&self) -> Option<CallbackId> {
        let now = self.context.clock.now();
        self.index().schedule.start(now)
    }

    /// When the delivery worker must look again.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.index().schedule.next_due()
    }

    /// Frees the permit of an attempt that is over, once its row says so.
    pub(super) fn finish(&self, id: CallbackId, result: AttemptResult) {
        self.index().schedule.finish(id, result);
        self.update_metrics();
    }

    /// Writes what an attempt came to: `None` removes the callback for good.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn save(
        &self,
        id: CallbackId,
        callback: Option<&Callback>,
    ) -> Result<(), StoreError> {
        let change = match callback {
            Some(callback) => callback.put(id)?,
            None => SettingChange::remove(Kind::Callback, id.to_key()),
        };
        self.context.settings.note(vec![change])?;
        let Some(callback) = callback else { return Ok(()) };
        match callback.state {
            DeliveryState::Waiting(_) => Ok(()),
            DeliveryState::DeadLettered(at) => {
                self.index().dead_letter(id, callback.application, at);
                self.trim_dead_letters([callback])
            }
        }
    }

    /// Sends callbacks once more, counting their attempts from 0.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn resend(&self, found: Vec<(CallbackId, Callback)>) -> Result<(), StoreError> {
        let now = self.context.clock.now();
        let renew = |callback: &Callback| Callback {
            attempts_since: now,
            attempt_count: 0,
            state: DeliveryState::Waiting(now),
            ..callback.clone()
        };
        let renewed: Vec<_> = found.iter().map(|(id, callback)| (*id, renew(callback))).collect();
        let changes: Result<_, _> =
            renewed.iter().map(|(id, callback)| callback.put(*id)).collect();
        self.context.settings.write(changes?)?;
        let mut index = self.index();
        for (id, callback) in &found {
            index.remove_dead_letter(*id, callback);
        }
        drop(index);
        self.add(&renewed)
    }

    /// Drops the oldest dead letters of these callbacks' applications where there are too many.
    fn trim_dead_letters<'a>(
        &self,
        of: impl IntoIterator<Item = &'a Callback>,
    ) -> Result<(), StoreError> {
        let mut dropped = Vec::new();
        let most = self.options.get().dead_letters_per_application;
        let mut index = self.index();
        for callback in of {
            let owner = callback.application;
            while let Some(dead_letters) = index.dead_letters.get_mut(&owner)
                && dead_letters.len() > most
            {
                if let Some((_, id)) = dead_letters.pop_first() {
                    dropped.push(SettingChange::remove(Kind::Callback, id.to_key()));
                    index.dead_letter_count -= 1;
                }
            }
        }
        drop(index);
        if dropped.is_empty() {
            return Ok(());
        }
        let count = dropped.len();
        self.context.settings.note(dropped)?;
        self.context.metrics.callbacks("dropped", count);
        Ok(())
    }

    fn update_metrics(&self) {
        let index = self.index();
        let (waiting, oldest) = (index.schedule.len(), index.schedule.oldest());
        self.context.metrics.callbacks_kept(waiting, index.dead_letter_count, oldest);
    }

    /// How many entries each table has.
    pub(super) fn tables(&self) -> Vec<(&'static str, usize)> {
        let index = self.index();
        let dead_letters = ("dead_letters", index.dead_letters.values().map(BTreeSet::len).sum());
        index.schedule.tables().into_iter().chain([dead_letters]).collect()
    }

    // After a panic elsewhere the index is at worst an attempt ahead of the rows.
    fn index(&self) -> MutexGuard<'_, CallbackIndex> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallbackIndex {
    fn insert(&mut self, id: CallbackId, callback: &Callback) {
        let owner = callback.application;
        match callback.state {
            DeliveryState::Waiting(at) => {
                let Callback { create_time, destination, .. } = *callback;
                let tenant = tenant_number(&callback.tenant);
                self.schedule
                    .put(id, QueuedCallback { at, create_time, destination, tenant, owner });
            }
            DeliveryState::DeadLettered(at) => self.dead_letter(id, owner, at),
        }
    }

    fn dead_letter(&mut self, id: CallbackId, owner: Uuid, at: UnixMillis) {
        let dead_letters = self.dead_letters.entry(owner).or_default();
        self.dead_letter_count += usize::from(dead_letters.insert((at, id)));
    }

    fn remove_dead_letter(&mut self, id: CallbackId, callback: &Callback) {
        let dead_letters = self.dead_letters.get_mut(&callback.application);
        if let (Some(dead_letters), DeliveryState::DeadLettered(at)) =
            (dead_letters, callback.state)
        {
            self.dead_letter_count -= usize::from(dead_letters.remove(&(at, id)));
        }
    }
}

impl Callback {
    /// This callback, dead-lettered at `at`.
    pub(super) fn dead_lettered(self, at: UnixMillis, failure: DeliveryFailure) -> Callback {
        Callback { state: DeliveryState::DeadLettered(at), last_failure: Some(failure), ..self }
    }
}
