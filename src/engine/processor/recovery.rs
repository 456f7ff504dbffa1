//! What a restart owes, and how it is paid.
//!
//! Attempts that the last life left STARTED are unknown now, and those it left PLANNED wait for permits
//! again: all of them are looked at before anything else is handled. Timers that came due meanwhile fire,
//! but waits for receipts only after a [grace](super::grace): the receipts may be on their way.

use std::collections::{BTreeSet, HashMap, VecDeque};

use dispatch_contract::UnixMillis;

use super::{BatchContext, Grace, MAX_DUE_PER_BATCH, Processor, grace::GraceBudget};
use crate::{
    machine::{ClockKind, Event, Moment, Workflow, WorkflowId},
    store::{DueWorkflow, Store, StoreError},
};

/// What is still owed of it.
pub(super) struct Recovery {
    grace: Grace,
    budget: GraceBudget,
    /// Timers that were overdue at the start, in engine time, and do not wait for receipts.
    overdue: VecDeque<DueWorkflow>,
    /// During the grace: the next timer of workflows whose earliest one the grace defers.
    deferred: BTreeSet<(UnixMillis, WorkflowId)>,
    deferred_by_workflow: HashMap<WorkflowId, UnixMillis>,
    /// Open workflows that are still to be looked at.
    open_workflows: VecDeque<WorkflowId>,
    /// No permit is given out until the queues for them are as they were.
    is_rebuilding_queues: bool,
}

impl Recovery {
    /// Nothing is owed yet. Earlier lives gave `given_ms` of grace.
    pub(super) fn new(grace: Grace, given_ms: u64) -> Self {
        Recovery {
            grace,
            budget: GraceBudget::new(given_ms),
            overdue: VecDeque::new(),
            deferred: BTreeSet::new(),
            deferred_by_workflow: HashMap::new(),
            open_workflows: VecDeque::new(),
            is_rebuilding_queues: false,
        }
    }

    /// As of a life that starts now: its grace is as long as it was, and is charged anew.
    pub(super) fn restart(&mut self, now: UnixMillis) {
        let length = self.grace.until.since(self.grace.started_at);
        self.grace = Grace { started_at: now, until: now.plus(length) };
        self.budget = self.budget.anew();
    }

    /// Queues overdue timers and open workflows.
    fn begin(&mut self, store: &dyn Store) {
        let before = UnixMillis(self.grace.started_at.0.saturating_sub(1));
        let overdue = store.due(ClockKind::Engine, None, before, usize::MAX);
        self.overdue = overdue.into_iter().filter(|row| !row.kind.awaits_receipt()).collect();
        self.open_workflows = store.open_ids(None, usize::MAX).into();
    }

    /// When this life began, in engine time: what was due before was due while the service was down.
    pub(super) fn started_at(&self) -> UnixMillis {
        self.grace.started_at
    }

    /// Whether every open workflow was looked at.
    pub(super) fn is_settled(&self) -> bool {
        self.open_workflows.is_empty()
    }

    /// Whether overdue timers are still to fire.
    pub(super) fn has_overdue(&self) -> bool {
        !self.overdue.is_empty()
    }

    fn in_grace(&self, now: UnixMillis) -> bool {
        now < self.grace.until
    }

    /// The engine time at which a timer fires or grace is charged next.
    pub(super) fn next_due(&self, store: &dyn Store, now: UnixMillis) -> Option<UnixMillis> {
        if !self.in_grace(now) {
            return store.next_due(ClockKind::Engine, None);
        }
        let fresh = store.next_due(ClockKind::Engine, Some(self.grace_cutoff()));
        let deferred = self.deferred.first().map(|(at, _)| *at);
        let charge = self.defers_any(store).then(|| self.budget.next_charge(&self.grace));
        fresh.into_iter().chain(deferred).chain(charge).min()
    }

    /// Charges this life for what the grace defers. The new sum of all lives, if it is another one.
    pub(super) fn charge(&mut self, store: &dyn Store, now: UnixMillis) -> Option<u64> {
        // The store is asked once a second at most: this is called for every batch.
        let mut budget = self.budget;
        let given_ms = budget.charge(&self.grace, now, || self.defers_any(store));
        self.budget = budget;
        given_ms
    }

    /// Remembers what is due of a workflow whose earliest timer the grace defers: the store tells only the
    /// earliest, and of those before the start none. Appointments are not deferred.
    pub(super) fn track_deferred(&mut self, state: &Workflow, now: Moment) {
        let id = state.id;
        if let Some(at) = self.deferred_by_workflow.remove(&id) {
            self.deferred.remove(&(at, id));
        }
        let started_at = self.grace.started_at;
        let is_hidden = || state.deadlines().timer.is_some_and(|first| first.at < started_at);
        if self.in_grace(now.engine)
            && is_hidden()
            && let Some(next) = state.deadlines_behind(started_at).timer
        {
            self.deferred_by_workflow.insert(id, next.at);
            self.deferred.insert((next.at, id));
        }
    }

    fn next_deferred(&mut self, now: UnixMillis) -> Option<WorkflowId> {
        let (at, id) = *self.deferred.first().filter(|(at, _)| *at <= now)?;
        self.deferred.remove(&(at, id));
        self.deferred_by_workflow.remove(&id);
        Some(id)
    }

    fn defers_any(&self, store: &dyn Store) -> bool {
        let first = store.next_due(ClockKind::Engine, None);
        first.is_some_and(|at| at < self.grace.started_at)
    }

    /// The last of the store's timers that the grace defers.
    fn grace_cutoff(&self) -> (UnixMillis, WorkflowId) {
        let before = UnixMillis(self.grace.started_at.0.saturating_sub(1));
        (before, WorkflowId(uuid::Uuid::max()))
    }

    /// How many entries each of its tables has.
    pub(super) fn tables(&self) -> [(&'static str, usize); 3] {
        [
            ("overdue", self.overdue.len()),
            ("deferred_timers", self.deferred.len()),
            ("open_to_recover", self.open_workflows.len()),
        ]
    }
}

impl Processor {
    /// Queues what a restart owes; no permit is given out before the queues for them are rebuilt.
    pub(super) fn start_recovery(&mut self, store: &dyn Store) {
        self.recovery.begin(store);
        // They are told of the routes with it.
        self.reroute_queue.clear();
        // A drain gives out no permit after it either.
        self.recovery.is_rebuilding_queues = !self.is_draining;
        self.permits.pause(true);
    }
}

impl BatchContext<'_> {
    /// What the last life of the service left STARTED is unknown now; what it left PLANNED goes on. No
    /// permit is given out before all that wait for one are known.
    pub(super) fn recover(&mut self) -> Result<(), StoreError> {
        for _ in 0..MAX_DUE_PER_BATCH {
            let Some(id) = self.processor.recovery.open_workflows.pop_front() else { break };
            let Some(loaded) = self.load(id)? else { continue };
            for attempt in loaded.state.unanswered() {
                self.event(id, Event::Lost { attempt })?;
            }
            self.event(id, Event::Rerouted)?;
        }
        let recovery = &mut self.processor.recovery;
        if recovery.is_rebuilding_queues && recovery.is_settled() {
            recovery.is_rebuilding_queues = false;
            self.processor.permits.pause(false);
            for route in self.processor.permits.routes() {
                self.dispatch_waiting(&route)?;
            }
        }
        Ok(())
    }

    /// Fires timers that are due, and keeps appointments.
    pub(super) fn handle_due(&mut self) -> Result<(), StoreError> {
        let now = self.now;
        let (up_since, hold) =
            (self.processor.recovery.started_at(), self.processor.recovery.in_grace(now.engine));
        let wake = || Event::Wake { up_since, hold };
        for _ in 0..MAX_DUE_PER_BATCH {
            let Some(row) = self.processor.recovery.overdue.pop_front() else { break };
            self.event(row.id, wake())?;
        }
        if hold {
            for _ in 0..MAX_DUE_PER_BATCH {
                let next = self.processor.recovery.next_deferred(now.engine);
                let Some(id) = next else { break };
                self.event(id, wake())?;
            }
        } else {
            self.processor.recovery.deferred.clear();
            self.processor.recovery.deferred_by_workflow.clear();
        }
        let after = hold.then(|| self.processor.recovery.grace_cutoff());
        let timers = self.store.due(ClockKind::Engine, after, now.engine, MAX_DUE_PER_BATCH);
        let appointments = self.store.due(ClockKind::Wall, None, now.wall, MAX_DUE_PER_BATCH);
        for row in timers.into_iter().chain(appointments) {
            self.event(row.id, wake())?;
        }
        Ok(())
    }
}
