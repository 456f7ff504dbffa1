//! One small world on virtual time: the real [`Writer`], its inbox and its clock, over a store that
//! survives the service's deaths, with callers, providers and readers around it.
//!
//! Everything happens in one thread in the order of its virtual time; ties go by the order in which
//! things were arranged. The world's own time is the true one. The machine has a clock that counts from
//! its boot, and a wall clock that somebody sets now and then; what the service takes the time for
//! follows from these by the production code. Where the writer would do nothing but take naps, time
//! leaps to the next thing that happens or is due.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    mem::Discriminant,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dispatch::{
    contents::{AgePass, DayKeys, Family},
    engine::{
        Canceled, Command, Created, EngineClock, EngineError, EngineOptions, Grace, Inbox,
        MarkedErased, OptOuts, RecallOrder, RouteTable, SendOrder, SpaceLimits, SystemClock,
        Writer,
    },
    machine::{
        EndState, Fact, Moment, Outcome, Reason, RecallResult, SendResult, WorkflowId, describe,
    },
    store::{Cursor, MemoryStore, Record, Row, SledOptions, Store},
    telemetry::Metrics,
};
use dispatch_contract::AttemptId;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    dice::Dice,
    judge::{
        BatchSeen, Broken, DRAINED, ELAPSED, FORGOTTEN, Fine, Given, Judge, MACHINE, NAPS, NOTED,
        PLACES, PROMISE, Promise, RECALLS, RECORDS, SPIN, STARTED_FIRST, STORE, TOLD,
    },
    provider::{Course, Providers},
    readers::{Copier, Follower},
    routes::{self, Names},
    scenario::{Caller, Death, Point, START, Scenario},
};
use machine::{Machine, Noted, Watched};
use mortal::{BatchResult, Kept, Life, Mortal};
use service::Service;

mod callbacks;
mod erasures;
mod inbound;
mod machine;
mod mortal;
mod opt_outs;
mod outside;
mod recall;
mod service;
mod streams;
mod watermarks;

/// How often the writer sees to retention.
const SWEEP_MS: u64 = 10_000;

/// What a world did.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub worlds: u64,
    pub workflows: u64,
    pub deaths: u64,
    pub batches: u64,
    pub calls: u64,
    pub messages: u64,
    pub receipts: u64,
    pub events: u64,
    pub doubles: u64,
    pub recalls: u64,
    /// How often somebody said who wants messages, and how many calls did not leave for it.
    pub wishes: u64,
    pub held_back: u64,
    /// How often what was told of a conversation counted for a message, and how often before its answer came.
    pub covered: u64,
    pub covered_early: u64,
    pub callbacks: u64,
    /// What persons wrote, as often as it was new.
    pub letters: u64,
    /// Events that were streamed, how often a stream was taken up again, and how often its place was gone by then.
    pub streamed: u64,
    pub resumed: u64,
    pub too_old: u64,
    /// Of how many workflows what is personal was erased, or went by age.
    pub erased: u64,
    pub aged: u64,
    pub virtual_ms: u64,
    /// Which kinds of facts there were, why steps were left, and how workflows ended: what was
    /// never seen was never tried.
    pub kinds: HashSet<Discriminant<Fact>>,
    pub ends: HashSet<(EndState, Reason)>,
    pub left: HashSet<Reason>,
    /// What recalls came to.
    pub recalled: HashSet<&'static str>,
}

/// Something that will happen.
#[derive(Debug)]
enum Happening {
    /// A caller asks for its workflow, for the nth time.
    Create {
        caller: usize,
        round: u32,
    },
    Cancel {
        id: WorkflowId,
        tenant: Arc<str>,
        round: u32,
    },
    /// Somebody has what is personal of it erased, for the nth time.
    Erase {
        id: WorkflowId,
        round: u32,
    },
    /// A call leaves, if nothing stands against it.
    Leave {
        call: usize,
    },
    /// A call reaches its provider.
    Reach {
        call: usize,
    },
    /// What comes back of a call, comes back.
    Back {
        call: usize,
    },
    /// A recall reaches its provider, and what comes of it comes back.
    ReachRecall {
        recall: usize,
    },
    BackRecall {
        recall: usize,
    },
    /// A provider has something to tell.
    Tell {
        report: Given,
        route: usize,
    },
    /// A provider sends what it has gathered.
    Flush {
        route: usize,
    },
    /// A provider calls our webhook.
    Knock {
        hook: usize,
    },
    /// Somebody says who wants messages, for the nth time.
    Wish {
        wish: usize,
        round: u32,
    },
    /// The service starts.
    Start,
    /// The configuration is read anew, for the nth time.
    Reload {
        number: u64,
    },
    /// The machine sleeps.
    Suspend {
        for_ms: u64,
    },
    /// Somebody sets the wall clock.
    SetWall {
        by_ms: i64,
    },
    /// A drain has been waited for long enough.
    Impatient {
        life: u32,
    },
}

/// What the service answered.
enum Ack {
    Created { caller: usize, round: u32, record: Arc<Record>, answer: Result<Created, EngineError> },
    Canceled { id: WorkflowId, tenant: Arc<str>, answer: Result<Canceled, EngineError> },
    Erased { id: WorkflowId, answer: Result<MarkedErased, EngineError> },
    Taken { hook: usize },
    Drained,
}

type Acks = Arc<Mutex<Vec<Ack>>>;

/// A call to a provider.
struct Call {
    order: SendOrder,
    route: usize,
    life: u32,
    made_at: u64,
    /// The same in engine time.
    left_at: u64,
    course: Course,
    /// The answer to it, where it did not leave.
    held_back: Option<SendResult>,
    /// The routes that it was ordered with.
    routes: Arc<RouteTable>,
    /// The provider's ids of its message, one a part, and when it took it, in true time.
    provider_ids: Vec<String>,
    taken_at: u64,
}

/// A message that a provider is asked to take back.
struct Asked {
    order: RecallOrder,
    route: usize,
    life: u32,
    /// How long the provider takes for its answer.
    think_ms: u64,
    result: RecallResult,
}

/// A provider's call of our webhook, repeated until it is answered.
struct Hook {
    route: usize,
    items: Vec<Given>,
    rounds: u32,
    is_answered: bool,
}

impl Ack {
    /// A rejection promises nothing, and may be told at once.
    fn is_promise(&self) -> bool {
        let Ack::Created { answer, .. } = self else { return true };
        !matches!(answer, Err(EngineError::TooLate | EngineError::RouteSaturated { .. }))
    }
}

pub struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    arranged: u64,
    store: Option<Kept>,
    folder: Option<tempfile::TempDir>,
    /// What the store keeps beside workflows, and may lose with the next death.
    notes: callbacks::Notes,
    service: Option<Service>,
    life: u32,
    deaths: VecDeque<Death>,
    machine: Machine,
    /// Until when the machine sleeps.
    asleep_until: u64,
    /// How it was at the last note of the clocks, and what engine time was noted.
    noted: Option<(Noted, u64)>,
    callers: Vec<Caller>,
    /// Callers that know how it went, or gave up.
    is_content: Vec<bool>,
    calls: Vec<Call>,
    recalls: Vec<Asked>,
    /// How many calls are out, by the name of their route.
    out: HashMap<Arc<str>, u32>,
    hooks: Vec<Hook>,
    gathered: Vec<Vec<Given>>,
    providers: Providers,
    acks: Acks,
    names: HashMap<WorkflowId, u32>,
    followers: Vec<Follower>,
    copier: Copier,
    watchers: Vec<streams::Watcher>,
    pub judge: Judge,
    pub figures: Figures,
    /// What happened, for people; kept only if it will be shown.
    pub log: Option<Vec<(u64, Option<WorkflowId>, String)>>,
}

impl<'a> World<'a> {
    pub fn new(scenario: &'a Scenario, keeps_log: bool) -> World<'a> {
        let callers: Vec<_> =
            scenario.callers.iter().map(|index| scenario.caller(*index)).collect();
        let folder = scenario.on_sled.then(|| tempfile::tempdir().expect("a folder can be made"));
        let mut world = World {
            now: START,
            agenda: BTreeMap::new(),
            arranged: 0,
            store: None,
            folder,
            notes: callbacks::Notes::default(),
            service: None,
            life: 0,
            deaths: scenario.deaths.iter().copied().collect(),
            machine: Machine::new(START),
            asleep_until: START,
            noted: None,
            is_content: vec![false; callers.len()],
            calls: Vec::new(),
            recalls: Vec::new(),
            out: HashMap::new(),
            hooks: Vec::new(),
            gathered: vec![Vec::new(); scenario.routes.len()],
            providers: Providers::default(),
            acks: Acks::default(),
            names: HashMap::new(),
            followers: vec![Follower::new(1, 1000), Follower::new(5, 3), Follower::new(40, 20)],
            copier: Copier::default(),
            watchers: World::watchers(scenario),
            judge: Judge::new(scenario.routes.clone(), scenario.retention_ms),
            figures: Figures { worlds: 1, ..Figures::default() },
            log: keeps_log.then(Vec::new),
            scenario,
            callers,
        };
        world.arrange(START, Happening::Start);
        for caller in 0..world.callers.len() {
            let at = world.callers[caller].comes_at;
            world.arrange(at, Happening::Create { caller, round: 0 });
        }
        for (wish, of) in scenario.wishes.iter().enumerate() {
            if scenario.callers.contains(&of.person) {
                world.arrange(of.at, Happening::Wish { wish, round: 0 });
            }
        }
        for (number, at) in (1..).zip(&scenario.reloads) {
            world.arrange(*at, Happening::Reload { number });
        }
        for (at, for_ms) in &scenario.suspends {
            world.arrange(*at, Happening::Suspend { for_ms: *for_ms });
        }
        for (at, by_ms) in &scenario.wall_sets {
            world.arrange(*at, Happening::SetWall { by_ms: *by_ms });
        }
        world
    }

    /// Lives until nothing is left to do, and then until all is forgotten.
    pub fn run(&mut self) -> Fine {
        loop {
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let batch = self.service.as_ref().and_then(|service| service.next_batch(self.now));
            match (next, batch) {
                (Some(next), batch) if batch.is_none_or(|batch| next <= batch) => {
                    let Some((_, happening)) = self.agenda.pop_first() else { break };
                    self.now = self.now.max(next);
                    self.machine.set_now(self.now);
                    self.happen(happening)?;
                }
                (_, Some(batch)) => {
                    self.now = self.now.max(batch);
                    self.machine.set_now(self.now);
                    self.one_batch()?;
                }
                (_, None) => break,
            }
        }
        self.figures.virtual_ms = self.now - START;
        self.figures.workflows = self.judge.cases.len() as u64;
        self.figures.doubles = self.judge.doubles();
        (self.figures.covered, self.figures.covered_early) = self.judge.covered();
        for fact in self.judge.journal.iter().flat_map(|row| &row.facts) {
            self.figures.saw(fact);
        }
        self.tell_callers(true)?;
        self.judge.at_rest()?;
        self.forget()
    }

    /// Time passes until nothing need be kept, and the writer sees to it.
    fn forget(&mut self) -> Fine {
        self.read(true)?;
        self.watch(true)?;
        let Some(service) = &self.service else { return Ok(()) };
        service.life.spare();
        // A store may wait a tenth longer with what ended a little later.
        self.now += self.scenario.retention_ms + self.scenario.retention_ms / 10;
        let mut is_empty = false;
        for _ in 0..100 {
            if is_empty {
                break;
            }
            self.now += SWEEP_MS;
            self.machine.set_now(self.now);
            self.one_batch()?;
            let Some(store) = &self.store else { return Ok(()) };
            let reader = mortal::kept(store).reader();
            is_empty = reader.after(reader.oldest(), 1).is_ok_and(|rows| rows.is_empty());
        }
        self.watch(true)?;
        let Some(store) = &self.store else { return Ok(()) };
        let reader = mortal::kept(store).reader();
        self.judge.all_forgotten(&*reader)?;
        let Some(service) = &self.service else { return Ok(()) };
        let trimmed = service.days.trim(&*reader, service.clock.moment().engine);
        trimmed.map_err(|error| broken(STORE, &error))?;
        match service.days.tables() {
            // Today's.
            [(_, 0 | 1)] => Ok(()),
            [(_, days)] => Err(broken(FORGOTTEN, &format!("{days} days have a key"))),
        }
    }

    fn arrange(&mut self, at: u64, happening: Happening) {
        self.arranged += 1;
        self.agenda.insert((at.max(self.now), self.arranged), happening);
    }

    fn note(&mut self, id: Option<WorkflowId>, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push((self.now - START, id, text()));
        }
    }

    /// Dice for something about a workflow, the same whoever else is in the world.
    fn dice(&self, purpose: u64, id: WorkflowId, more: u64) -> Dice {
        let name = self.names.get(&id).copied().unwrap_or(0);
        Dice::of(self.scenario.seed, &[purpose, u64::from(name), more])
    }

    fn route(&self, index: usize) -> &crate::scenario::RouteSpec {
        &self.scenario.routes[index]
    }
}

fn broken(rule: Promise, error: &dyn std::fmt::Display) -> Broken {
    Broken { rule, detail: error.to_string(), workflow: None }
}

fn lock(acks: &Acks) -> MutexGuard<'_, Vec<Ack>> {
    acks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Figures {
    fn saw(&mut self, fact: &Fact) {
        self.events += 1;
        self.kinds.insert(std::mem::discriminant(fact));
        match fact {
            Fact::Ended(Outcome { state, reason, .. }) => {
                self.ends.insert((*state, *reason));
            }
            Fact::StepFailed { reason, .. } => {
                self.left.insert(*reason);
            }
            Fact::RecallEnded { result, .. } => {
                self.recalled.insert(result.as_str());
            }
            _ => {}
        }
    }

    pub fn add(&mut self, other: &Figures) {
        self.worlds += other.worlds;
        self.workflows += other.workflows;
        self.deaths += other.deaths;
        self.batches += other.batches;
        self.calls += other.calls;
        self.messages += other.messages;
        self.receipts += other.receipts;
        self.events += other.events;
        self.doubles += other.doubles;
        self.recalls += other.recalls;
        self.wishes += other.wishes;
        self.held_back += other.held_back;
        self.covered += other.covered;
        self.covered_early += other.covered_early;
        self.callbacks += other.callbacks;
        self.letters += other.letters;
        self.streamed += other.streamed;
        self.resumed += other.resumed;
        self.too_old += other.too_old;
        self.erased += other.erased;
        self.aged += other.aged;
        self.recalled.extend(&other.recalled);
        self.virtual_ms += other.virtual_ms;
        self.kinds.extend(&other.kinds);
        self.ends.extend(&other.ends);
        self.left.extend(&other.left);
    }
}
