//! One batch: commands and a time go in, a change set and its effects come out.
//!
//! Plain and synchronous, so that a simulator can step it. Nothing that it returns may happen
//! before its change set is durable.

mod admission;
mod apply;
mod commands;
mod expected_receipts;
mod grace;
mod held_receipts;
mod inbound;
mod recovery;
mod reroute;
mod restore_lock;
mod tables;
mod watermarks;

use expected_receipts::ExpectedReceipts;
pub use grace::Grace;
use held_receipts::HeldReceipts;
use recovery::Recovery;
use restore_lock::RestoreLockState;
use watermarks::Watermarks;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use dispatch_contract::{AttemptId, UnixMillis};

use super::{
    Command, Effects, Responder, Wake,
    permits::{Permits, RouteQueue},
    routes::RouteTable,
};
use crate::{
    machine::{ClockKind, Fact, Moment, Workflow, WorkflowId},
    store::{
        FoundMessage, MessagePart, NameHash, ReceiptKey, Record, RequirementInterner, Store,
        StoreError,
    },
};

/// How many deadlines one batch takes.
const MAX_DUE_PER_BATCH: usize = 1024;

/// Processes one batch of commands after the other: what lasts between them.
pub struct Processor {
    routes: Arc<RouteTable>,
    permits: Permits,
    requirements: RequirementInterner,
    /// What a restart still owes.
    recovery: Recovery,
    held_receipts: HeldReceipts,
    expected_receipts: ExpectedReceipts,
    watermarks: Watermarks,
    /// Workflows that have not yet been told that the routes are others.
    reroute_queue: VecDeque<WorkflowId>,
    is_short_of_space: bool,
    draining: Vec<Responder<()>>,
    is_draining: bool,
    /// Nothing is sent and no timer fires while this is there; see [`restore_lock`].
    restore_lock: Option<RestoreLockState>,
}

/// A workflow while a batch works on it.
struct LoadedWorkflow {
    state: Workflow,
    tenant: Arc<str>,
    record: Option<Arc<Record>>,
    is_new: bool,
    expected: u32,
    facts: Vec<Fact>,
    messages: Vec<(ReceiptKey, MessagePart)>,
}

/// One batch in the making.
struct BatchContext<'a> {
    processor: &'a mut Processor,
    store: &'a dyn Store,
    now: Moment,
    loaded: HashMap<WorkflowId, LoadedWorkflow>,
    order: Vec<WorkflowId>,
    requests: HashMap<(Arc<str>, String), WorkflowId>,
    /// The messages that providers named in this batch, and their parts.
    messages: HashMap<ReceiptKey, FoundMessage>,
    /// What was accepted in this batch, by conversation, and when its first call began, in engine time.
    conversations: HashMap<NameHash, Vec<(UnixMillis, AttemptId)>>,
    effects: Effects,
}

impl Processor {
    /// Looks through what is open for what a restart still owes.
    pub fn new(store: &dyn Store, routes: Arc<RouteTable>, grace: Grace) -> Self {
        let held_receipts = HeldReceipts::of(store.held_receipts(), routes.former_names());
        let mut processor = Processor {
            routes,
            permits: Permits::default(),
            requirements: RequirementInterner::default(),
            recovery: Recovery::new(grace, store.grace_given_ms()),
            held_receipts,
            expected_receipts: ExpectedReceipts::default(),
            watermarks: Watermarks::default(),
            reroute_queue: VecDeque::new(),
            is_short_of_space: false,
            draining: Vec::new(),
            is_draining: false,
            restore_lock: store.restore_lock().map(|_| RestoreLockState::new()),
        };
        processor.permits = processor.fresh_permits();
        if processor.is_restore_locked() {
            processor.permits.pause(true);
        } else {
            processor.start_recovery(store);
        }
        processor
    }

    fn fresh_permits(&self) -> Permits {
        let routes = self.routes.iter();
        let capacities = routes.map(|route| (Arc::clone(&route.name), route.concurrency));
        Permits::new(capacities, Arc::clone(self.routes.weights()))
    }

    /// Whether what the last life left behind is not yet settled. Until it is, nothing else may be
    /// handled: a call of this life would be taken for one that was lost.
    pub fn is_recovering(&self) -> bool {
        !self.recovery.is_settled()
            || self.restore_lock.as_ref().is_some_and(RestoreLockState::is_resuming)
    }

    /// Handles `commands` and what is due at `now`. While [recovering](Self::is_recovering) there must
    /// be no commands.
    ///
    /// # Errors
    /// If the store cannot be read: fatal, as a failed commit is.
    pub fn run(
        &mut self,
        store: &dyn Store,
        now: Moment,
        commands: Vec<Command>,
    ) -> Result<Effects, StoreError> {
        let mut batch = BatchContext {
            processor: self,
            store,
            now,
            loaded: HashMap::new(),
            order: Vec::new(),
            requests: HashMap::new(),
            messages: HashMap::new(),
            conversations: HashMap::new(),
            effects: Effects::default(),
        };
        // The lanes put creates last; what is due goes between. Routes go first: whatever starts in this
        // batch is called by those that are in force at its end.
        let (routes, commands): (Vec<_>, Vec<_>) =
            commands.into_iter().partition(|command| matches!(command, Command::Routes { .. }));
        let are_others = !routes.is_empty();
        for command in routes {
            batch.command(command)?;
        }
        if are_others {
            batch.dispatch_all_waiting()?;
        }
        batch.recover()?;
        batch.reroute()?;
        let (creates, others): (Vec<_>, Vec<_>) =
            commands.into_iter().partition(|command| matches!(command, Command::Create { .. }));
        batch.load_ahead(&others)?;
        batch.read_ahead(&creates, &others)?;
        for command in others {
            batch.command(command)?;
        }
        if !batch.processor.is_recovering() && !batch.processor.is_restore_locked() {
            batch.handle_due()?;
        }
        for command in creates {
            batch.command(command)?;
        }
        // Last: what came with it is still locked.
        batch.release_restore_lock()?;
        // Under a restore lock receipts wait for answers that only come after its release.
        let began = if batch.processor.is_restore_locked() {
            now.engine
        } else {
            batch.processor.recovery.started_at()
        };
        let expired = batch.processor.held_receipts.take_expired(now.engine, began);
        batch.effects.unmatched += expired.len();
        batch.effects.change_set.release_receipts.extend(expired);
        if !batch.processor.is_restore_locked() && !batch.processor.is_recovering() {
            let charged = batch.processor.recovery.charge(store, now.engine);
            batch.effects.change_set.grace_given_ms = charged;
        }
        Ok(batch.finish())
    }

    /// When something is due next by itself.
    pub fn next_due(&self, store: &dyn Store, now: Moment) -> Wake {
        if self.recovery.has_overdue() || self.is_recovering() {
            return Wake::at(now.engine);
        }
        if self.is_restore_locked() {
            return Wake::NEVER;
        }
        if !self.reroute_queue.is_empty() {
            return Wake::at(now.engine);
        }
        let engine = self.recovery.next_due(store, now.engine);
        Wake { engine, wall: store.next_due(ClockKind::Wall, None) }
    }

    /// The routes that are in force.
    pub fn routes(&self) -> &Arc<RouteTable> {
        &self.routes
    }

    /// Who waits for permits, by route.
    pub fn queues(&self, now: UnixMillis) -> Vec<RouteQueue> {
        self.permits.queues(now)
    }

    /// Whether creates are refused because there is hardly room for more on the disk.
    pub fn set_short_of_space(&mut self, is_short: bool) {
        self.is_short_of_space = is_short;
    }

    /// How many calls are out.
    pub fn calls_in_flight(&self) -> u32 {
        self.permits.in_use()
    }
}
