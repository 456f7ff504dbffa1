//! The callbacks that are kept, in the store and as the courier sees them.
//!
//! The store has them all; what is in memory is a projection of it: when each is due, and which of the
//! dead is the oldest. Rows change first, memory after, so that a death in between only repeats.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dispatch_contract::UnixMillis;
use uuid::Uuid;

use super::{
    Callback, CallbackId, Options, Problem, State,
    bell::Bell,
    delivery::Tried,
    row::{readable, tenant_number},
    schedule::{Limits, Schedule, Waiting},
};
use crate::{
    access::Application,
    current::Current,
    engine::Engine,
    store::{self, Kind, SettingChange, StoreError},
};

/// How many rows are read at once.
const ROWS: usize = 512;

/// What the follower, the courier and the administrators share.
pub(super) struct Book {
    pub(super) engine: Engine,
    pub(super) options: Current<Options>,
    /// Rung when something new waits.
    pub(super) news: Bell,
    kept: Mutex<Kept>,
}

struct Kept {
    schedule: Schedule,
    dead: HashMap<Uuid, BTreeSet<(UnixMillis, CallbackId)>>,
    dead_count: usize,
}

impl Book {
    /// Opens the book on what the store holds.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(super) fn open(engine: Engine, options: Options) -> Result<Book, StoreError> {
        let limits = Limits { total: options.concurrency, per_lane: options.per_destination };
        let kept = Kept { schedule: Schedule::new(limits), dead: HashMap::new(), dead_count: 0 };
        let news = Bell::new(Arc::clone(engine.clock()));
        let options = Current::new(options);
        let book = Book { engine, options, news, kept: Mutex::new(kept) };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = book.engine.settings().list(Kind::Callback, after.as_deref(), ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            let mut kept = book.kept();
            for (id, callback) in readable(&rows) {
                kept.take_in(id, &callback);
            }
        }
        book.tell_metrics();
        Ok(book)
    }

    /// The row of a callback.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(super) fn get(&self, id: CallbackId) -> Result<Option<Callback>, StoreError> {
        let key = id.to_key();
        let row = self.engine.settings().get(Kind::Callback, &key)?;
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
        let Some(row) = self.engine.settings().get(Kind::Application, id.as_bytes())? else {
            return Ok(None);
        };
        let application: Application = store::decode(&row, || format!("application {id}"))?;
        Ok(Some(application).filter(|application| application.tenant == tenant))
    }

    /// Whether a callback may wait, beside `further` that are about to.
    pub(super) fn has_room(&self, callback: &Callback, further: usize) -> bool {
        let waiting = self.kept().schedule.waiting_of(callback.application);
        waiting + further < self.options.get().waiting_per_application
    }

    /// Goes by other options from now on.
    pub(super) fn reload(&self, options: Options) {
        let limits = Limits { total: options.concurrency, per_lane: options.per_destination };
        self.options.set(options);
        self.kept().schedule.set_limits(limits);
        self.news.ring();
    }

    /// Takes in callbacks whose rows are written.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn add(&self, made: &[(CallbackId, Callback)]) -> Result<(), StoreError> {
        let mut kept = self.kept();
        for (id, callback) in made {
            kept.take_in(*id, callback);
        }
        drop(kept);
        self.bury_the_oldest(made.iter().map(|(_, callback)| callback))?;
        self.tell_metrics();
        self.news.ring();
        Ok(())
    }

    /// The next callback that goes out now.
    pub(super) fn start(&self) -> Option<CallbackId> {
        let now = self.engine.clock().now();
        self.kept().schedule.start(now)
    }

    /// When the courier must look again.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.kept().schedule.next_due()
    }

    /// A try is over, and the row says so.
    pub(super) fn finish(&self, id: CallbackId, tried: Tried) {
        let Tried { succeeded, standing, then } = tried;
        self.kept().schedule.finish(id, succeeded, standing, then);
        self.tell_metrics();
    }

    /// Writes what a try came to: `None` if the callback is gone for good.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn note(
        &self,
        id: CallbackId,
        callback: Option<&Callback>,
    ) -> Result<(), StoreError> {
        let change = match callback {
            Some(callback) => callback.put(id)?,
            None => SettingChange::remove(Kind::Callback, id.to_key()),
        };
        self.engine.settings().note(vec![change])?;
        let Some(callback) = callback else { return Ok(()) };
        match callback.state {
            State::Waiting(_) => Ok(()),
            State::Dead(at) => {
                self.kept().bury(id, callback.application, at);
                self.bury_the_oldest([callback])
            }
        }
    }

    /// Sends callbacks once more, from the first try on.
    ///
    /// # Errors
    /// If the store failed.
    pub(super) fn resend(&self, found: Vec<(CallbackId, Callback)>) -> Result<(), StoreError> {
        let now = self.engine.clock().now();
        let renew = |callback: &Callback| Callback {
            since: now,
            tries: 0,
            state: State::Waiting(now),
            ..callback.clone()
        };
        let renewed: Vec<_> = found.iter().map(|(id, callback)| (*id, renew(callback))).collect();
        let changes: Result<_, _> =
            renewed.iter().map(|(id, callback)| callback.put(*id)).collect();
        self.engine.settings().write(changes?)?;
        let mut kept = self.kept();
        for (id, callback) in &found {
            kept.forget_dead(*id, callback);
        }
        drop(kept);
        self.add(&renewed)
    }

    /// Drops the oldest of the dead where there are too many.
    fn bury_the_oldest<'a>(
        &self,
        of: impl IntoIterator<Item = &'a Callback>,
    ) -> Result<(), StoreError> {
        let mut dropped = Vec::new();
        let most = self.options.get().dead_per_application;
        let mut kept = self.kept();
        for callback in of {
            let owner = callback.application;
            while let Some(dead) = kept.dead.get_mut(&owner)
                && dead.len() > most
            {
                if let Some((_, id)) = dead.pop_first() {
                    dropped.push(SettingChange::remove(Kind::Callback, id.to_key()));
                    kept.dead_count -= 1;
                }
            }
        }
        drop(kept);
        if dropped.is_empty() {
            return Ok(());
        }
        let count = dropped.len();
        self.engine.settings().note(dropped)?;
        self.engine.metrics().callbacks("dropped", count);
        Ok(())
    }

    fn tell_metrics(&self) {
        let kept = self.kept();
        let (waiting, oldest) = (kept.schedule.len(), kept.schedule.oldest());
        self.engine.metrics().callbacks_kept(waiting, kept.dead_count, oldest);
    }

    // A panic elsewhere leaves a projection that is at worst a try too many.
    /// How many entries each table has.
    pub(super) fn tables(&self) -> Vec<(&'static str, usize)> {
        let kept = self.kept();
        let dead = ("dead", kept.dead.values().map(BTreeSet::len).sum());
        kept.schedule.tables().into_iter().chain([dead]).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take_in(&mut self, id: CallbackId, callback: &Callback) {
        let owner = callback.application;
        match callback.state {
            State::Waiting(at) => {
                let Callback { made_at, lane, .. } = *callback;
                let tenant = tenant_number(&callback.tenant);
                self.schedule.put(id, Waiting { at, made_at, lane, tenant, owner });
            }
            State::Dead(at) => self.bury(id, owner, at),
        }
    }

    fn bury(&mut self, id: CallbackId, owner: Uuid, at: UnixMillis) {
        let dead = self.dead.entry(owner).or_default();
        self.dead_count += usize::from(dead.insert((at, id)));
    }

    fn forget_dead(&mut self, id: CallbackId, callback: &Callback) {
        let dead = self.dead.get_mut(&callback.application);
        if let (Some(dead), State::Dead(at)) = (dead, callback.state) {
            self.dead_count -= usize::from(dead.remove(&(at, id)));
        }
    }
}

impl Callback {
    /// Given up now.
    pub(super) fn died(self, at: UnixMillis, problem: Problem) -> Callback {
        Callback { state: State::Dead(at), problem: Some(problem), ..self }
    }
}
