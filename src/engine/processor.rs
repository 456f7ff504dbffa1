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
mod reroute;
mod restore_lock;
mod tables;

use expected_receipts::ExpectedReceipts;
pub use grace::Grace;
use grace::GraceBudget;
use held_receipts::HeldReceipts;
use restore_lock::RestoreLockState;
pub use restore_lock::ResumePolicy;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use dispatch_contract::{AttemptId, Inbound, UnixMillis};

use super::{
    Wake,
    handle::{Canceled, Created, EngineError},
    permits::{Permits, RouteQueue},
    routes::RouteTable,
};
use crate::{
    machine::{self, ClockKind, Fact, Moment, SendResult, Workflow, WorkflowId},
    store::{ChangeSet, DueWorkflow, Record, RequirementInterner, Store, StoreError},
};

/// Told once, after the batch is durable.
pub type Responder<T> = Box<dyn FnOnce(T) + Send>;

/// A command to the processor.
pub enum Command {
    /// A new workflow, already parsed and checked.
    Create {
        /// What is asked for.
        record: Box<Record>,
        /// Told how it went.
        reply: Responder<Result<Created, EngineError>>,
    },
    /// The caller does not want it any more.
    Cancel {
        /// Whose it is.
        tenant: Arc<str>,
        /// Which.
        id: WorkflowId,
        /// Told how it went.
        reply: Responder<Result<Canceled, EngineError>>,
    },
    /// What a provider told.
    Inbound {
        /// The provider.
        provider: Arc<str>,
        /// The account it concerns.
        account: Arc<str>,
        /// What it told, in order.
        items: Vec<Inbound>,
        /// Told once all of it is durable.
        reply: Responder<Result<(), EngineError>>,
    },
    /// A call came back. Exactly one for each [`SendOrder`].
    SendResult {
        /// The attempt.
        attempt: AttemptId,
        /// Which call of it.
        call: u16,
        /// The route it went by.
        route: Arc<str>,
        /// What it said.
        answer: SendResult,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The restore lock is to be released.
    Resume {
        /// What becomes of what is open.
        open: ResumePolicy,
        /// Told how many were open, or that there is no restore lock.
        reply: Responder<Result<usize, EngineError>>,
    },
    /// The configuration was read anew: other routes, or the same with other limits.
    Routes {
        /// All of them.
        table: RouteTable,
        /// Told once they are in force.
        reply: Responder<Arc<RouteTable>>,
    },
    /// Time may have moved.
    Tick,
    /// Start no further calls, and tell when none is out.
    Drain {
        /// Told when no call is out.
        reply: Responder<()>,
    },
    /// The writer stops after this batch.
    Stop,
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct SendOrder {
    /// The attempt.
    pub attempt: AttemptId,
    /// Which call of it.
    pub call: u16,
    /// The step whose message it is.
    pub step: u8,
    /// For how many milliseconds the message is of use; see
    /// [`Workflow::useful_for_ms`](crate::machine::Workflow::useful_for_ms).
    pub useful_for_ms: Option<u64>,
    /// The route it goes by.
    pub route: Arc<str>,
    /// What was asked for, if it is at hand.
    pub record: Option<Arc<Record>>,
}

/// What follows from a batch of commands.
#[derive(Default)]
pub struct Effects {
    /// To be made durable first.
    pub change_set: ChangeSet,
    /// Answers to callers.
    pub acks: Vec<Box<dyn FnOnce() + Send>>,
    /// Calls to providers.
    pub sends: Vec<SendOrder>,
    /// Receipts that belong to nothing here; other systems may share the account.
    pub unmatched: usize,
    /// Receipts of attempts that were not STARTED under the account that told.
    pub foreign: Option<ForeignReceipts>,
    /// Invariants found broken.
    pub broken: Vec<machine::BrokenInvariant>,
    /// How many creates were refused, by the route that could not have started them in time.
    pub refused: BTreeMap<Arc<str>, u64>,
    /// How many wait for a permit, by route and [priority](machine::Priority::ALL), where that changed.
    pub queues: Vec<(Arc<str>, [usize; machine::Priority::ALL.len()])>,
}

/// Receipts that name an attempt of ours, and came by another account than it was STARTED under: they
/// change nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignReceipts {
    /// How many there were in this batch.
    pub count: usize,
    /// The account that told, of the first of them, as `provider/name`.
    pub reported_by: Arc<str>,
    /// The account that its attempt was STARTED under.
    pub started_under: Arc<str>,
}

/// How many deadlines one batch takes.
const MAX_DUE_PER_BATCH: usize = 1024;

/// Processes one batch of commands after the other: what lasts between them.
pub struct Processor {
    routes: Arc<RouteTable>,
    permits: Permits,
    requirements: RequirementInterner,
    grace: Grace,
    grace_budget: GraceBudget,
    /// What was overdue at the start, in engine time, and does not wait for receipts.
    overdue: VecDeque<DueWorkflow>,
    /// During the grace, what is due of workflows that it hides.
    deferred: BTreeSet<(UnixMillis, WorkflowId)>,
    deferred_by_workflow: HashMap<WorkflowId, UnixMillis>,
    /// What the last life of the service left behind.
    open_workflows: VecDeque<WorkflowId>,
    /// No permit is given out until what the last life left behind is settled.
    is_rebuilding_queues: bool,
    held_receipts: HeldReceipts,
    expected_receipts: ExpectedReceipts,
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
    messages: Vec<(Arc<str>, String, u16)>,
}

/// One batch in the making.
struct BatchContext<'a> {
    processor: &'a mut Processor,
    store: &'a dyn Store,
    now: Moment,
    loaded: HashMap<WorkflowId, LoadedWorkflow>,
    order: Vec<WorkflowId>,
    requests: HashMap<(Arc<str>, String), WorkflowId>,
    /// The messages that providers named in this batch.
    messages: HashMap<(Arc<str>, String), AttemptId>,
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
            grace,
            grace_budget: GraceBudget::new(store.grace_given_ms()),
            overdue: VecDeque::new(),
            deferred: BTreeSet::new(),
            deferred_by_workflow: HashMap::new(),
            open_workflows: VecDeque::new(),
            is_rebuilding_queues: false,
            held_receipts,
            expected_receipts: ExpectedReceipts::default(),
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
        !self.open_workflows.is_empty()
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
            batch.processor.grace.started_at
        };
        let expired = batch.processor.held_receipts.take_expired(now.engine, began);
        batch.effects.unmatched += expired.len();
        batch.effects.change_set.release_receipts.extend(expired);
        batch.charge_grace();
        Ok(batch.finish())
    }

    /// When something is due next by itself.
    pub fn next_due(&self, store: &dyn Store, now: Moment) -> Wake {
        if !self.overdue.is_empty() || self.is_recovering() {
            return Wake::at(now.engine);
        }
        if self.is_restore_locked() {
            return Wake::NEVER;
        }
        if !self.reroute_queue.is_empty() {
            return Wake::at(now.engine);
        }
        let wall = store.next_due(ClockKind::Wall, None);
        if now.engine >= self.grace.until {
            return Wake { engine: store.next_due(ClockKind::Engine, None), wall };
        }
        let grace_defers_any = self.grace_defers_any(store);
        let fresh = store.next_due(ClockKind::Engine, Some(self.grace_cutoff()));
        let deferred = self.deferred.first().map(|(at, _)| *at);
        let charge = grace_defers_any.then(|| self.grace_budget.next_charge(&self.grace));
        Wake { engine: fresh.into_iter().chain(deferred).chain(charge).min(), wall }
    }

    /// Whether the grace holds anything.
    fn grace_defers_any(&self, store: &dyn Store) -> bool {
        let first = store.next_due(ClockKind::Engine, None);
        first.is_some_and(|at| at < self.grace.started_at)
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

    /// Remembers what is due of a workflow that the grace hides: the store tells only the earliest
    /// of its timers, and of those before the start none. Appointments are not hidden.
    fn track_deferred(&mut self, state: &Workflow, now: Moment) {
        let id = state.id;
        if let Some(at) = self.deferred_by_workflow.remove(&id) {
            self.deferred.remove(&(at, id));
        }
        let started_at = self.grace.started_at;
        let is_hidden = || state.deadlines().timer.is_some_and(|first| first.at < started_at);
        if now.engine < self.grace.until
            && is_hidden()
            && let Some(next) = state.deadlines_behind(started_at).timer
        {
            self.deferred_by_workflow.insert(id, next.at);
            self.deferred.insert((next.at, id));
        }
    }

    fn grace_cutoff(&self) -> (UnixMillis, WorkflowId) {
        let before = UnixMillis(self.grace.started_at.0.saturating_sub(1));
        (before, WorkflowId(uuid::Uuid::max()))
    }
}
