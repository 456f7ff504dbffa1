//! One small world on virtual time: the real [`Turn`] over a store that survives the service's
//! deaths, with callers, providers and readers around it.
//!
//! Everything happens in one thread in the order of its virtual time; ties go by the order in which
//! things were arranged. The world's own time is the true one. The machine has a clock that counts from
//! its boot, and a wall clock that somebody sets now and then; what the service takes the time for
//! follows from these by the production code.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    mem::Discriminant,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dispatch::{
    engine::{
        Canceled, Created, EngineError, Grace, Input, Outbox, Readings, SendOrder, Timekeeper,
        Turn, Wake,
    },
    machine::{Answer, EndState, Fact, Moment, Outcome, Reason, WorkflowId, sentence},
    store::{MemoryStore, Record, SledOptions, SledStore, Store},
};
use dispatch_contract::{AttemptId, UnixMillis};
use uuid::Uuid;

use crate::{
    dice::Dice,
    judge::{
        Broken, DRAINED, ELAPSED, Fine, Given, Judge, MACHINE, PLACES, PROMISE, RECORDS, Rule,
        SPIN, STORE, TurnSeen,
    },
    provider::{Course, Providers},
    readers::Follower,
    routes,
    scenario::{Caller, Death, Point, START, Scenario},
};

mod outside;
mod writer;

/// What a world did.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub worlds: u64,
    pub workflows: u64,
    pub deaths: u64,
    pub turns: u64,
    pub calls: u64,
    pub messages: u64,
    pub receipts: u64,
    pub events: u64,
    pub doubles: u64,
    pub virtual_ms: u64,
    /// Which kinds of facts there were, why steps were left, and how workflows ended: what was
    /// never seen was never tried.
    pub kinds: HashSet<Discriminant<Fact>>,
    pub ends: HashSet<(EndState, Reason)>,
    pub left: HashSet<Reason>,
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
    /// A call reaches its provider.
    Reach {
        call: usize,
    },
    /// What comes back of a call, comes back.
    Back {
        call: usize,
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
    /// The service starts.
    Start,
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
    provider_id: String,
}

/// A provider's call of our webhook, repeated until it is answered.
struct Hook {
    route: usize,
    items: Vec<Given>,
    rounds: u32,
    is_answered: bool,
}

struct Waiting {
    lane: u8,
    input: Input,
    given: Option<Given>,
}

/// A life of the service.
struct Service {
    turn: Turn,
    /// The route that is not configured in this life.
    gone: Option<usize>,
    keeper: Timekeeper,
    began: u64,
    started_at: u64,
    grace_until: u64,
    inbox: Vec<Waiting>,
    /// When the disk is done with the last batch.
    free_at: u64,
    /// When something is due by itself.
    due: Wake,
    previous: Option<Moment>,
    next_sweep: u64,
    death: Option<Death>,
    is_recovering: bool,
    is_draining: bool,
    idle_turns: u32,
}

/// The machine that the service runs on, as far as it has clocks.
struct Machine {
    boot: u128,
    booted_at: u64,
    wall_step: i64,
    times_set: u32,
}

/// How it was when the clocks were noted.
struct Noted {
    boot: u128,
    times_set: u32,
    at: u64,
    engine: u64,
}

impl Machine {
    fn readings(&self, at: u64) -> Readings {
        Readings {
            boot: Some(Uuid::from_u128(self.boot)),
            since_boot: Duration::from_millis(at - self.booted_at),
            wall: UnixMillis(at.saturating_add_signed(self.wall_step)),
        }
    }

    fn set_wall(&mut self, by_ms: i64) {
        self.wall_step += by_ms;
        self.times_set += u32::from(by_ms != 0);
    }
}

pub struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    arranged: u64,
    store: Option<Box<dyn Store>>,
    folder: Option<tempfile::TempDir>,
    service: Option<Service>,
    life: u32,
    deaths: VecDeque<Death>,
    machine: Machine,
    /// What is known of the time at the last note of the clocks.
    noted: Option<Noted>,
    callers: Vec<Caller>,
    /// Callers that know how it went, or gave up.
    is_content: Vec<bool>,
    calls: Vec<Call>,
    out: Vec<u32>,
    hooks: Vec<Hook>,
    gathered: Vec<Vec<Given>>,
    providers: Providers,
    acks: Acks,
    names: HashMap<WorkflowId, u32>,
    followers: Vec<Follower>,
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
            service: None,
            life: 0,
            deaths: scenario.deaths.iter().copied().collect(),
            machine: Machine { boot: 1, booted_at: START - 1000, wall_step: 0, times_set: 0 },
            noted: None,
            is_content: vec![false; callers.len()],
            calls: Vec::new(),
            out: vec![0; scenario.routes.len()],
            hooks: Vec::new(),
            gathered: vec![Vec::new(); scenario.routes.len()],
            providers: Providers::default(),
            acks: Acks::default(),
            names: HashMap::new(),
            followers: vec![Follower::new(1, 1000), Follower::new(5, 3), Follower::new(40, 20)],
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
        for (at, by_ms) in &scenario.wall_sets {
            world.arrange(*at, Happening::SetWall { by_ms: *by_ms });
        }
        world
    }

    /// Lives until nothing is left to do, and then until all is forgotten.
    pub fn run(&mut self) -> Fine {
        loop {
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let turn = self
                .service
                .as_ref()
                .and_then(|service| service.next_turn(self.now, &self.machine));
            match (next, turn) {
                (Some(next), turn) if turn.is_none_or(|turn| next <= turn) => {
                    let Some((_, happening)) = self.agenda.pop_first() else { break };
                    self.now = self.now.max(next);
                    self.happen(happening)?;
                }
                (_, Some(turn)) => {
                    self.now = self.now.max(turn);
                    self.turn()?;
                }
                (_, None) => break,
            }
        }
        self.figures.virtual_ms = self.now - START;
        self.figures.workflows = self.judge.cases.len() as u64;
        self.figures.doubles = self.judge.doubles();
        for fact in self.judge.journal.iter().flat_map(|row| &row.facts) {
            self.figures.saw(fact);
        }
        self.judge.at_rest()?;
        self.forget()
    }

    /// Time passes until nothing need be kept.
    fn forget(&mut self) -> Fine {
        self.read(true)?;
        let Some(service) = &self.service else { return Ok(()) };
        let now = service.moment(self.now, &self.machine).engine.0;
        let now = UnixMillis(now + self.scenario.retention_ms + 1);
        let before = UnixMillis(now.0 - self.scenario.retention_ms);
        let Some(store) = &mut self.store else { return Ok(()) };
        for _ in 0..1000 {
            let swept = store.sweep(now, before, 1000).map_err(|error| broken(STORE, &error))?;
            if swept.rows == 0 {
                break;
            }
        }
        self.judge.all_forgotten(&*store.reader())
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

impl Service {
    fn moment(&self, now: u64, machine: &Machine) -> Moment {
        self.keeper.moment(machine.readings(now))
    }

    fn takes_inputs(&self) -> bool {
        !self.is_recovering
    }

    /// When its writer will turn next, in true time.
    fn next_turn(&self, now: u64, machine: &Machine) -> Option<u64> {
        let wants = if self.is_recovering || !self.inbox.is_empty() {
            Some(now)
        } else {
            let due = self.due.expected(self.moment(now, machine));
            due.map(|due| self.began + due.0.saturating_sub(self.started_at))
        };
        wants.map(|at| at.max(self.free_at))
    }
}

fn broken(rule: Rule, error: &dyn std::fmt::Display) -> Broken {
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
            _ => {}
        }
    }

    pub fn add(&mut self, other: &Figures) {
        self.worlds += other.worlds;
        self.workflows += other.workflows;
        self.deaths += other.deaths;
        self.turns += other.turns;
        self.calls += other.calls;
        self.messages += other.messages;
        self.receipts += other.receipts;
        self.events += other.events;
        self.doubles += other.doubles;
        self.virtual_ms += other.virtual_ms;
        self.kinds.extend(&other.kinds);
        self.ends.extend(&other.ends);
        self.left.extend(&other.left);
    }
}
