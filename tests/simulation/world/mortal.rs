//! How a life of the service ends: its store dies between any two writes, and what the writer still says
//! after that is said to nobody.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dispatch::{
    engine::{CallExecutor, RecallOrder, RouteTable, SendOrder},
    machine::{self, ClockKind, Moment, Workflow, WorkflowId},
    store::{
        ChangeSet, ClockNote, DueWorkflow, ExistingRequest, FoundMessage, HeldReceipt, NameHash,
        Reader, RestoreLock, Row, Settings, Store, StoreError, Swept,
    },
};
use dispatch_contract::{AttemptId, Busy, UnixMillis};

use super::{machine::Noted, *};

/// One life, as far as the world sees into it.
#[derive(Clone)]
pub struct Life(Arc<Mutex<State>>);

struct State {
    is_dead: bool,
    /// How it ends, and how once its end has come.
    death: Option<Death>,
    dying: Option<Death>,
    batch: BatchResult,
    noted: Option<(Noted, u64)>,
    /// How long the disk takes for the next commit.
    commit_ms: u64,
    acks: Acks,
    machine: Machine,
}

/// What one batch of the writer came to.
#[derive(Default)]
pub struct BatchResult {
    /// What it was given.
    pub given: Vec<Given>,
    pub has_committed: bool,
    pub rows: Vec<Arc<Row>>,
    pub orders: Vec<SendOrder>,
    /// The routes that its calls go by.
    pub routes: Option<Arc<RouteTable>>,
    pub recalls: Vec<RecallOrder>,
    /// A promise that left too soon, or a store that failed by itself.
    pub broken: Option<Broken>,
}

impl Life {
    pub fn new(death: Option<Death>, acks: Acks, machine: Machine) -> Life {
        let (is_dead, dying, noted, commit_ms) = (false, None, None, 0);
        let batch = BatchResult::default();
        let state = State { is_dead, death, dying, batch, noted, commit_ms, acks, machine };
        Life(Arc::new(Mutex::new(state)))
    }

    pub fn commits_take(&self, ms: u64) {
        self.state().commit_ms = ms;
    }

    /// Offers an input with what it tells: known to be given once its batch is over, if it is taken.
    pub fn offer(&self, given: Vec<Given>, push: impl FnOnce(Busy) -> bool) -> bool {
        let life = self.clone();
        let before = self.state().batch.given.len();
        let is_taken = push(Busy::tracked(move || life.state().batch.given.extend(given)));
        if !is_taken {
            self.state().batch.given.truncate(before);
        }
        is_taken
    }

    pub fn take_result(&self) -> BatchResult {
        mem::take(&mut self.state().batch)
    }

    /// How it ends, if its end has come.
    pub fn end(&self) -> Option<Death> {
        self.state().dying
    }

    /// It ends otherwise now.
    pub fn spare(&self) {
        let mut state = self.state();
        (state.death, state.dying) = (None, None);
    }

    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// How it was when the clocks were noted, if that was since this was last asked, and what engine time
    /// was noted.
    pub fn take_noted(&self) -> Option<(Noted, u64)> {
        self.state().noted.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn die(&mut self) -> StoreError {
        self.is_dead = true;
        StoreError::Io("it died".to_owned())
    }

    fn point(&self) -> Option<Point> {
        self.dying.map(|death| death.point)
    }

    /// A commit begins: nothing of what it holds may have happened.
    fn begin(&mut self) {
        if lock(&self.acks).iter().any(Ack::is_promise) {
            self.batch.broken = Some(broken(PROMISE, &"an answer left before the commit"));
        }
        if !self.batch.orders.is_empty() {
            self.batch.broken = Some(broken(STARTED_FIRST, &"a call left before the commit"));
        }
        if !self.batch.recalls.is_empty() {
            self.batch.broken = Some(broken(RECALLS, &"a recall left before the commit"));
        }
        if let Some(death) = &mut self.death {
            death.commit = death.commit.saturating_sub(1);
            if death.commit == 0 {
                self.dying = self.death.take();
            }
        }
    }
}

impl CallExecutor for Life {
    fn start(&self, orders: Vec<SendOrder>, routes: &Arc<RouteTable>) {
        let mut state = self.state();
        state.batch.routes = Some(Arc::clone(routes));
        let left = match state.point() {
            Some(Point::AfterAcks) => 0,
            Some(Point::AfterOneCall) => 1,
            _ => orders.len(),
        };
        if !state.is_dead {
            state.batch.orders.extend(orders.into_iter().take(left));
        }
        if matches!(state.point(), Some(Point::AfterAcks | Point::AfterOneCall)) {
            let _ = state.die();
        }
    }

    fn recall(&self, orders: Vec<RecallOrder>, _: &Arc<RouteTable>) {
        let mut state = self.state();
        if !state.is_dead {
            state.batch.recalls.extend(orders);
        }
    }
}

/// A store that lives on while services die.
pub type Kept = Arc<Mutex<Box<dyn Store>>>;

/// The store as a life of the service has it: once that is over, nothing reaches it any more.
pub struct Mortal {
    pub kept: Kept,
    pub life: Life,
    pub notes: callbacks::Notes,
}

pub fn kept(store: &Kept) -> MutexGuard<'_, Box<dyn Store>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mortal {
    fn kept(&self) -> MutexGuard<'_, Box<dyn Store>> {
        kept(&self.kept)
    }

    fn alive(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.life.state();
        if state.is_dead { Err(state.die()) } else { Ok(state) }
    }
}

impl Store for Mortal {
    fn commit(&mut self, change_set: ChangeSet) -> Result<Vec<Arc<Row>>, StoreError> {
        let mut state = self.alive()?;
        state.begin();
        let states = change_set.changes.iter().map(|change| &change.state);
        if let Some(found) = states.flat_map(machine::check).next() {
            let text = format!("{}: {}", found.id, found.rule);
            state.batch.broken = Some(broken(MACHINE, &text));
        }
        if state.point() == Some(Point::BeforeCommit) {
            return Err(state.die());
        }
        let settings = self.kept().settings();
        callbacks::settle(&*settings, &self.notes, usize::MAX)?;
        let rows = self.kept().commit(change_set);
        if let Err(error) = &rows {
            state.batch.broken = Some(broken(STORE, error));
        }
        let rows = rows?;
        state.batch.has_committed = true;
        state.batch.rows.extend(rows.iter().cloned());
        state.machine.goes_on(state.commit_ms);
        if state.point() == Some(Point::AfterCommit) {
            return Err(state.die());
        }
        Ok(rows)
    }

    fn sweep(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        let mut state = self.alive()?;
        let swept = self.kept().sweep(now, before, budget);
        if let Err(error) = &swept {
            state.batch.broken = Some(broken(STORE, error));
        }
        swept
    }

    fn note_clock(&mut self, note: ClockNote) -> Result<(), StoreError> {
        let mut state = self.alive()?;
        state.noted = Some((state.machine.noted(), note.at.engine.0));
        self.kept().note_clock(note)
    }

    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.kept().load(id)
    }

    fn load_all(&self, ids: &[WorkflowId]) -> Result<Vec<Option<Workflow>>, StoreError> {
        self.kept().load_all(ids)
    }

    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        self.kept().find_request(tenant, request_id)
    }

    fn find_message(&self, account: &str, id: &str) -> Result<Option<FoundMessage>, StoreError> {
        self.kept().find_message(account, id)
    }

    fn find_conversation(
        &self,
        conversation: NameHash,
        times: (UnixMillis, UnixMillis),
        limit: usize,
    ) -> Result<Vec<AttemptId>, StoreError> {
        self.kept().find_conversation(conversation, times, limit)
    }

    fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueWorkflow> {
        self.kept().due(clock, after, until, limit)
    }

    fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis> {
        self.kept().next_due(clock, after)
    }

    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.kept().open_ids(after, limit)
    }

    fn open_count(&self) -> usize {
        self.kept().open_count()
    }

    fn held_receipts(&self) -> Vec<HeldReceipt> {
        self.kept().held_receipts()
    }

    fn restore_lock(&self) -> Option<RestoreLock> {
        self.kept().restore_lock()
    }

    fn last_time(&self) -> Moment {
        self.kept().last_time()
    }

    fn clock(&self) -> Option<ClockNote> {
        self.kept().clock()
    }

    fn grace_given_ms(&self) -> u64 {
        self.kept().grace_given_ms()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.kept().reader()
    }

    fn settings(&self) -> Arc<dyn Settings> {
        self.kept().settings()
    }
}
