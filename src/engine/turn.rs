//! One turn: inputs and a time go in, a batch and its effects come out.
//!
//! Plain and synchronous, so that a simulator can step it. Nothing that it returns may happen
//! before its batch is durable.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use dispatch_contract::{AttemptId, Inbound, Report, Status, UnixMillis};

use super::{
    handle::{Canceled, Created, EngineError},
    routes::RouteTable,
    slots::Slots,
};
use crate::{
    machine::{self, Answer, AttemptState, Event, Fact, News, Workflow, WorkflowId},
    store::{Batch, Change, DueRow, Needs, Parked, Record, Store, StoreError},
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

/// Inputs.
impl Work<'_> {
    fn input(&mut self, input: Input) -> Result<(), StoreError> {
        match input {
            Input::Create { record, reply } => self.create(*record, reply),
            Input::Cancel { tenant, id, reply } => self.cancel(&tenant, id, reply),
            Input::Inbound { provider, account, items, reply } => {
                for item in items {
                    self.inbound(&provider, &account, item)?;
                }
                self.out.acks.push(Box::new(move || reply(Ok(()))));
                Ok(())
            }
            Input::Answer { attempt, call, route, answer, took_ms } => {
                self.turn.slots.release(&route);
                self.turn.slots.took(&route, took_ms);
                let id = WorkflowId(attempt.workflow);
                self.event(id, Event::Answer { attempt: attempt.number, call, answer })?;
                self.fill(&route)
            }
            Input::Drain { reply } => {
                self.turn.slots.pause();
                self.turn.is_draining = true;
                self.turn.draining.push(reply);
                Ok(())
            }
            Input::Tick | Input::Stop => Ok(()),
        }
    }

    fn create(
        &mut self,
        record: Record,
        reply: Reply<Result<Created, EngineError>>,
    ) -> Result<(), StoreError> {
        if let Some(request_id) = &record.request_id {
            let key = (Arc::clone(&record.tenant), request_id.clone());
            let in_batch = self.requests.get(&key).and_then(|id| {
                self.working.get(id)?.record.as_ref().map(|record| (*id, record.fingerprint))
            });
            let known = match in_batch {
                Some(known) => Some(known),
                None => self.store.find_request(&record.tenant, request_id)?,
            };
            if let Some((id, fingerprint)) = known {
                let answer = if fingerprint == record.fingerprint {
                    Ok(Created { id, is_new: false })
                } else {
                    Err(EngineError::AlreadyExists(id))
                };
                self.out.acks.push(Box::new(move || reply(answer)));
                return Ok(());
            }
        }
        // Only now: a repeated request is answered with the workflow that there is, however late.
        if record.plan.valid_until.is_some_and(|until| until <= self.now) {
            reply(Err(EngineError::TooLate));
            return Ok(());
        }
        let mut state = self.turn.needs.workflow(&record);
        if let Some(wait_ms) = self.overload(&state) {
            // Refused before any promise: nothing of it is kept.
            reply(Err(EngineError::Overloaded { retry_after_ms: wait_ms }));
            return Ok(());
        }
        let id = record.id;
        if let Some(request_id) = &record.request_id {
            self.requests.insert((Arc::clone(&record.tenant), request_id.clone()), id);
        }
        let record = Arc::new(record);
        let facts = machine::create(&mut state, self.now, &*self.turn.routes);
        let working = Working {
            state,
            tenant: Arc::clone(&record.tenant),
            record: Some(record),
            is_new: true,
            expected: 0,
            facts: Vec::new(),
            messages: Vec::new(),
        };
        self.order.push(id);
        self.working.insert(id, working);
        self.follow(id, facts)?;
        self.out.acks.push(Box::new(move || reply(Ok(Created { id, is_new: true }))));
        Ok(())
    }

    /// How long to wait before asking again, if the first step's route is so busy that it could not
    /// start in time.
    fn overload(&self, workflow: &Workflow) -> Option<u64> {
        use machine::RouteBook;
        if workflow.send_at.is_some_and(|at| at > self.now) {
            return None;
        }
        // The route that it would be planned for.
        let need = &workflow.steps.first()?.need;
        let offer = self.turn.routes.offers(need).into_iter().next()?;
        let wait = self.turn.slots.expected_wait_ms(&offer.route);
        let within = workflow.send_within(0);
        (wait > within).then(|| wait - within)
    }

    fn cancel(
        &mut self,
        tenant: &Arc<str>,
        id: WorkflowId,
        reply: Reply<Result<Canceled, EngineError>>,
    ) -> Result<(), StoreError> {
        let Some(working) = self.load(id)? else {
            self.out.acks.push(Box::new(move || reply(Err(EngineError::NotFound(id)))));
            return Ok(());
        };
        if working.tenant != *tenant {
            // Not even that it exists is told.
            self.out.acks.push(Box::new(move || reply(Err(EngineError::NotFound(id)))));
            return Ok(());
        }
        if let machine::Phase::Ended(state, reason) = working.state.phase
            && state != machine::EndState::Canceled
        {
            let error = EngineError::AlreadyEnded { id, state, reason };
            self.out.acks.push(Box::new(move || reply(Err(error))));
            return Ok(());
        }
        self.event(id, Event::Cancel)?;
        let started = self.working.get(&id).map(|working| started_attempts(&working.state));
        let canceled = Canceled { id, started: started.unwrap_or_default() };
        self.out.acks.push(Box::new(move || reply(Ok(canceled))));
        Ok(())
    }

    fn inbound(
        &mut self,
        provider: &Arc<str>,
        account: &Arc<str>,
        item: Inbound,
    ) -> Result<(), StoreError> {
        let account = &scope(provider, account);
        let (attempt, provider_id, news) = match item {
            Inbound::Receipt(receipt) => {
                let news = News {
                    report: receipt.report,
                    provider_id: receipt.provider_id.clone(),
                    provider_time: receipt.provider_time,
                    code: receipt.code,
                    detail: receipt.detail,
                    usage: receipt.usage,
                };
                (receipt.attempt, receipt.provider_id, news)
            }
            Inbound::Reply(answer) => {
                let news = News {
                    report: Report::Reached(Status::Replied),
                    provider_id: answer.provider_id.clone(),
                    provider_time: answer.provider_time,
                    code: None,
                    detail: None,
                    usage: None,
                };
                (answer.attempt, answer.provider_id, news)
            }
            // An opt-out list belongs to a later version; the message itself is not lost, the
            // provider enforces it.
            _ => return Ok(()),
        };
        let found = match (attempt, &provider_id) {
            (Some(attempt), _) => Some(attempt),
            (None, Some(provider_id)) => self.find_message(account, provider_id)?,
            (None, None) => None,
        };
        let is_known =
            |working: &Working, attempt: AttemptId| working.state.attempt(attempt.number).is_some();
        if let Some(attempt) = found
            && self
                .load(WorkflowId(attempt.workflow))?
                .is_some_and(|working| is_known(working, attempt))
        {
            let event = Event::News { attempt: attempt.number, news };
            return self.event(WorkflowId(attempt.workflow), event);
        }
        let waits = self.may_be_early(provider) && self.parked.len() < PARK_MOST;
        match provider_id {
            Some(provider_id) if attempt.is_none() && waits => {
                let parked = Parked {
                    key: self.turn.next_park,
                    account: Arc::clone(account),
                    provider: Arc::clone(provider),
                    provider_id,
                    at: self.now,
                    report: news.report.into(),
                    provider_time: news.provider_time,
                    code: news.code,
                };
                self.turn.next_park += 1;
                self.parked.push(parked.clone());
                self.out.batch.park.push(parked);
            }
            Some(_) | None => self.out.unmatched += 1,
        }
        Ok(())
    }

    /// Whether a receipt that names none of our attempts may be for one whose answer is still to
    /// come: a call is out or its outcome uncertain, and the provider's receipts do not name
    /// attempts. Else it is a stranger's: other systems may share the account.
    fn may_be_early(&self, provider: &str) -> bool {
        let is_silent =
            |route: &super::Route| route.adapter.provider() == provider && !route.traits().echoes;
        let is_awaited = self.turn.slots.taken() > 0 || !self.turn.uncertain.is_empty();
        is_awaited && self.turn.routes.iter().any(is_silent)
    }

    fn find_message(
        &self,
        account: &Arc<str>,
        provider_id: &str,
    ) -> Result<Option<AttemptId>, StoreError> {
        for (id, working) in &self.working {
            let is_it =
                |(of, named, _): &&(Arc<str>, String, u16)| of == account && named == provider_id;
            if let Some((_, _, number)) = working.messages.iter().find(is_it) {
                return Ok(Some(AttemptId { workflow: id.0, number: *number }));
            }
        }
        self.store.find_message(account, provider_id)
    }

    fn due(&mut self) -> Result<(), StoreError> {
        for _ in 0..DUE_A_TURN {
            let Some(row) = self.turn.overdue.pop_front() else { break };
            self.event(
                row.id,
                Event::Wake { while_down: true, hold: self.now < self.turn.grace.until },
            )?;
        }
        let grace = self.turn.grace;
        let is_held = self.now < grace.until;
        let after = is_held.then(|| self.turn.held_until());
        for row in self.store.due(after, self.now, DUE_A_TURN) {
            let while_down = row.at < grace.started_at;
            self.event(row.id, Event::Wake { while_down, hold: false })?;
        }
        Ok(())
    }

    /// What the last life of the service left STARTED is unknown now; what it left PLANNED goes on.
    fn pay_owed(&mut self) -> Result<(), StoreError> {
        for _ in 0..DUE_A_TURN {
            let Some(id) = self.turn.owed.pop_front() else { break };
            let Some(working) = self.load(id)? else { continue };
            for attempt in working.state.unanswered() {
                self.event(id, Event::Lost { attempt })?;
            }
            self.seek_slot(id)?;
        }
        Ok(())
    }

    fn forget_parked(&mut self) {
        let now = self.now;
        let stale = |parked: &&Parked| parked.at.0.saturating_add(PARK_MS) < now.0;
        let keys: Vec<_> = self.parked.iter().filter(stale).map(|parked| parked.key).collect();
        self.out.unmatched += keys.len();
        self.out.batch.unpark.extend(keys);
    }
}

/// Workflows.
impl Work<'_> {
    fn load(&mut self, id: WorkflowId) -> Result<Option<&Working>, StoreError> {
        if !self.working.contains_key(&id) {
            let Some(state) = self.store.load(id)? else { return Ok(None) };
            let tenant = state.steps.first().map(|step| Arc::clone(&step.need.tenant));
            let working = Working {
                expected: state.sequence,
                tenant: tenant.unwrap_or_else(|| Arc::from("")),
                state,
                record: None,
                is_new: false,
                facts: Vec::new(),
                messages: Vec::new(),
            };
            self.order.push(id);
            self.working.insert(id, working);
        }
        Ok(self.working.get(&id))
    }

    fn event(&mut self, id: WorkflowId, event: Event) -> Result<(), StoreError> {
        if self.load(id)?.is_none() {
            return Ok(());
        }
        let Some(working) = self.working.get_mut(&id) else { return Ok(()) };
        let facts = machine::handle(&mut working.state, self.now, event, &*self.turn.routes);
        self.follow(id, facts)
    }

    /// Keeps the facts, and does what they and the new state ask for.
    fn follow(&mut self, id: WorkflowId, facts: Vec<Fact>) -> Result<(), StoreError> {
        let mut early: Vec<(u16, Vec<Parked>)> = Vec::new();
        let Some(working) = self.working.get_mut(&id) else { return Ok(()) };
        for fact in &facts {
            match fact {
                Fact::AttemptAccepted { attempt, provider_id, .. }
                | Fact::LateAnswer { attempt, provider_id: Some(provider_id), .. }
                    if !provider_id.is_empty() =>
                {
                    let Some(sent) = working.state.attempt(*attempt) else { continue };
                    let Some(route) = self.turn.routes.get(&sent.route) else { continue };
                    let account = scope(route.adapter.provider(), &route.account.name);
                    let is_it = |parked: &Parked| {
                        parked.account == account && parked.provider_id == *provider_id
                    };
                    let (matched, rest) =
                        std::mem::take(&mut self.parked).into_iter().partition(is_it);
                    self.parked = rest;
                    early.push((*attempt, matched));
                    working.messages.push((account, provider_id.clone(), *attempt));
                }
                Fact::AttemptStarted { attempt, call } => {
                    if let Some(sent) = working.state.attempt(*attempt) {
                        self.out.sends.push(SendOrder {
                            attempt: AttemptId { workflow: id.0, number: *attempt },
                            call: *call,
                            step: sent.step,
                            route: Arc::clone(&sent.route),
                            record: working.record.clone(),
                        });
                    }
                }
                // The others ask for nothing outside.
                _ => {}
            }
        }
        working.facts.extend(facts);
        for (attempt, matched) in early {
            for parked in matched {
                self.out.batch.unpark.push(parked.key);
                let news = News {
                    report: parked.report(),
                    provider_id: Some(parked.provider_id),
                    provider_time: parked.provider_time,
                    code: parked.code,
                    detail: None,
                    usage: None,
                };
                self.event(id, Event::News { attempt, news })?;
            }
        }
        self.seek_slot(id)
    }

    fn seek_slot(&mut self, id: WorkflowId) -> Result<(), StoreError> {
        let Some(working) = self.working.get(&id) else { return Ok(()) };
        let Some(number) = working.state.wants_slot() else { return Ok(()) };
        let Some(attempt) = working.state.attempt(number) else { return Ok(()) };
        let (route, priority) = (Arc::clone(&attempt.route), working.state.priority);
        if self.turn.slots.take_or_wait(&route, id, priority) {
            self.grant(id, number, &route)?;
        }
        Ok(())
    }

    /// Gives a taken place to an attempt; if it does not start after all, the place is free again.
    fn grant(&mut self, id: WorkflowId, number: u16, route: &Arc<str>) -> Result<(), StoreError> {
        self.event(id, Event::Slot { attempt: number })?;
        let has_started = self
            .working
            .get(&id)
            .and_then(|working| working.state.attempt(number))
            .is_some_and(|attempt| attempt.state == AttemptState::Started);
        if !has_started {
            self.turn.slots.release(route);
        }
        Ok(())
    }

    /// Gives free places of a route to those who wait for one.
    fn fill(&mut self, route: &Arc<str>) -> Result<(), StoreError> {
        while let Some(id) = self.turn.slots.next(route) {
            let wanted = self.load(id)?.and_then(|working| {
                let number = working.state.wants_slot()?;
                let attempt = working.state.attempt(number)?;
                Some((number, Arc::clone(&attempt.route)))
            });
            match wanted {
                Some((number, wanted)) if wanted == *route => self.grant(id, number, route)?,
                Some(_) => {
                    // It moved to another route while it waited here.
                    self.turn.slots.release(route);
                    self.seek_slot(id)?;
                }
                None => self.turn.slots.release(route),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Outbox {
        for id in std::mem::take(&mut self.order) {
            let Some(working) = self.working.remove(&id) else { continue };
            if is_uncertain(&working.state) {
                self.turn.uncertain.insert(id);
            } else {
                self.turn.uncertain.remove(&id);
            }
            if working.facts.is_empty() {
                continue;
            }
            self.out.broken.extend(machine::check(&working.state));
            self.out.batch.changes.push(Change {
                record: working.record.filter(|_| working.is_new),
                tenant: working.tenant,
                at: self.now,
                expected: working.expected,
                facts: working.facts,
                state: working.state,
                messages: working.messages,
            });
        }
        if self.turn.is_draining && self.turn.slots.taken() == 0 {
            for reply in self.turn.draining.drain(..) {
                self.out.acks.push(Box::new(move || reply(())));
            }
        }
        self.out
    }
}

/// What a provider's message ids are unique in: accounts of two providers may share a name.
fn scope(provider: &str, account: &str) -> Arc<str> {
    Arc::from(format!("{provider}/{account}"))
}

/// Whether it waits to learn what became of a call.
fn is_uncertain(state: &Workflow) -> bool {
    let waits = |attempt: &machine::Attempt| match attempt.state {
        AttemptState::Unknown { .. } => true,
        AttemptState::Planned | AttemptState::Started | AttemptState::Deferred { .. } => {
            attempt.is_uncertain
        }
        AttemptState::Accepted | AttemptState::Refused => false,
    };
    !state.has_ended() && state.attempts.iter().any(waits)
}

/// The attempts of a workflow that may go out, or went.
fn started_attempts(state: &Workflow) -> Vec<AttemptId> {
    let is_out = |attempt: &machine::Attempt| match attempt.state {
        AttemptState::Started | AttemptState::Accepted | AttemptState::Unknown { .. } => true,
        AttemptState::Planned | AttemptState::Deferred { .. } => attempt.is_uncertain,
        AttemptState::Refused => false,
    };
    let numbered = (1..).zip(&state.attempts);
    let out = numbered.filter(|(_, attempt)| is_out(attempt));
    out.map(|(number, _)| AttemptId { workflow: state.id.0, number }).collect()
}
