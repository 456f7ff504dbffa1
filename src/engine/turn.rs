//! One turn: inputs and a time go in, a batch and its effects come out.
//!
//! Plain and synchronous, so that a simulator can step it. Nothing that it returns may happen
//! before its batch is durable.

mod follow;
mod inputs;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use dispatch_contract::{AttemptId, Inbound, UnixMillis};

use super::{
    handle::{Canceled, Created, EngineError},
    routes::RouteTable,
    slots::Slots,
};
use crate::{
    machine::{self, Answer, Fact, Workflow, WorkflowId},
    store::{Batch, DueRow, Needs, Parked, Record, Store, StoreError},
};

/// Told once, after the batch is durable.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What a turn is given.
pub enum Input {
    /// A new workflow, already parsed and checked.
    Create {
        /// What is asked for.
        record: Box<Record>,
        /// Told how it went.
        reply: Reply<Result<Created, EngineError>>,
    },
    /// The caller does not want it any more.
    Cancel {
        /// Whose it is.
        tenant: Arc<str>,
        /// Which.
        id: WorkflowId,
        /// Told how it went.
        reply: Reply<Result<Canceled, EngineError>>,
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
        reply: Reply<Result<(), EngineError>>,
    },
    /// A call came back. Exactly one for each [`SendOrder`].
    Answer {
        /// The attempt.
        attempt: AttemptId,
        /// Which call of it.
        call: u16,
        /// The route it went by.
        route: Arc<str>,
        /// What it said.
        answer: Answer,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// Time may have moved.
    Tick,
    /// Start no further calls, and tell when none is out.
    Drain {
        /// Told when no call is out.
        reply: Reply<()>,
    },
    /// The writer stops after this turn.
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
    /// The route it goes by.
    pub route: Arc<str>,
    /// What was asked for, if it is at hand.
    pub record: Option<Arc<Record>>,
}

/// What a turn gives back.
#[derive(Default)]
pub struct Outbox {
    /// To be made durable first.
    pub batch: Batch,
    /// Answers to callers.
    pub acks: Vec<Box<dyn FnOnce() + Send>>,
    /// Calls to providers.
    pub sends: Vec<SendOrder>,
    /// Receipts that belong to nothing here; other systems may share the account.
    pub unmatched: usize,
    /// Invariants found broken.
    pub broken: Vec<machine::Broken>,
}

/// After a start, overdue waits for receipts are given this much longer, because the receipts may
/// be on their way: an outage is not a mass failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// What was due before this came due while the service was down.
    pub started_at: UnixMillis,
    /// Until when it waits.
    pub until: UnixMillis,
}

/// How long a parked receipt waits for its attempt, in milliseconds.
const PARK_MS: u64 = 10 * 60 * 1000;
/// How many may wait.
const PARK_MOST: usize = 10_000;
/// How many deadlines one turn takes.
const DUE_A_TURN: usize = 1024;

/// What lasts from turn to turn.
pub struct Turn {
    routes: Arc<RouteTable>,
    slots: Slots,
    needs: Needs,
    grace: Grace,
    /// What was overdue at the start and does not wait for receipts.
    overdue: VecDeque<DueRow>,
    /// What the last life of the service left behind.
    owed: VecDeque<WorkflowId>,
    next_park: u64,
    /// Workflows with an attempt whose outcome is unknown or was.
    uncertain: HashSet<WorkflowId>,
    draining: Vec<Reply<()>>,
    is_draining: bool,
}

/// A workflow while a turn works on it.
struct Working {
    state: Workflow,
    tenant: Arc<str>,
    record: Option<Arc<Record>>,
    is_new: bool,
    expected: u32,
    facts: Vec<Fact>,
    messages: Vec<(Arc<str>, String, u16)>,
}

/// One turn's work.
struct Work<'a> {
    turn: &'a mut Turn,
    store: &'a dyn Store,
    now: UnixMillis,
    working: HashMap<WorkflowId, Working>,
    order: Vec<WorkflowId>,
    requests: HashMap<(Arc<str>, String), WorkflowId>,
    parked: Vec<Parked>,
    out: Outbox,
}

impl Turn {
    /// The first turn's beginning: looks through what is open for what a restart still owes.
    pub fn new(store: &dyn Store, routes: Arc<RouteTable>, grace: Grace) -> Self {
        let slots =
            Slots::new(routes.iter().map(|route| (Arc::clone(&route.name), route.concurrency)));
        let before = UnixMillis(grace.started_at.0.saturating_sub(1));
        let overdue = store.due(None, before, usize::MAX);
        let overdue = overdue.into_iter().filter(|row| !row.due.awaits_receipt()).collect();
        let owed = store.open_ids(None, usize::MAX).into();
        let next_park = store.parked().last().map_or(1, |parked| parked.key + 1);
        Turn {
            routes,
            slots,
            needs: Needs::default(),
            grace,
            overdue,
            owed,
            next_park,
            uncertain: HashSet::new(),
            draining: Vec::new(),
            is_draining: false,
        }
    }

    /// Whether what the last life left behind is not yet settled. Until it is, nothing else may be
    /// handled: a call of this life would be taken for one that was lost.
    pub fn is_recovering(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Handles `inputs` and what is due at `now`. While [recovering](Self::is_recovering) there must
    /// be no inputs.
    ///
    /// # Errors
    /// If the store cannot be read: fatal, as a failed commit is.
    pub fn run(
        &mut self,
        store: &dyn Store,
        now: UnixMillis,
        inputs: Vec<Input>,
    ) -> Result<Outbox, StoreError> {
        let parked = store.parked();
        let mut work = Work {
            turn: self,
            store,
            now,
            working: HashMap::new(),
            order: Vec::new(),
            requests: HashMap::new(),
            parked,
            out: Outbox::default(),
        };
        work.pay_owed()?;
        // The lanes put creates last; what is due goes between.
        let (creates, others): (Vec<_>, Vec<_>) =
            inputs.into_iter().partition(|input| matches!(input, Input::Create { .. }));
        for input in others {
            work.input(input)?;
        }
        if !work.turn.is_recovering() {
            work.due()?;
        }
        for input in creates {
            work.input(input)?;
        }
        work.forget_parked();
        Ok(work.finish())
    }

    /// When something is due next by itself.
    pub fn next_due(&self, store: &dyn Store, now: UnixMillis) -> Option<UnixMillis> {
        if !self.overdue.is_empty() || !self.owed.is_empty() {
            return Some(now);
        }
        if now >= self.grace.until {
            return store.next_due(None);
        }
        let held = store.next_due(None).is_some_and(|at| at < self.grace.started_at);
        let fresh = store.next_due(Some(self.held_until()));
        fresh.into_iter().chain(held.then_some(self.grace.until)).min()
    }

    /// How many calls are out.
    pub fn calls_out(&self) -> u32 {
        self.slots.taken()
    }

    fn held_until(&self) -> (UnixMillis, WorkflowId) {
        let before = UnixMillis(self.grace.started_at.0.saturating_sub(1));
        (before, WorkflowId(uuid::Uuid::max()))
    }
}

/// What a provider's message ids are unique in: accounts of two providers may share a name.
fn scope(provider: &str, account: &str) -> Arc<str> {
    Arc::from(format!("{provider}/{account}"))
}
