//! Which callback goes out next.
//!
//! In order within a workflow: the next one waits until the one before was delivered or given up.
//! Workflows go side by side, within two bounds: so many altogether, and so many to one destination (a
//! *lane*); one at a time to a lane that did not take the last one.
//!
//! Beyond that, lanes share the places by how they stand: those whose last try was slow get at most a
//! quarter of them together, those that are new or failed quickly half. So however many receivers are
//! slow or dead, the others find room.
//!
//! Within such a share tenants take turns, whatever one of them does: each in its turn gets the next
//! place, and none holds more than [`HOLD`] times what it leaves free. So a tenant with thousands of slow
//! destinations does not delay another's first callback.
//!
//! Pure: time is an argument, and what is due comes out in turns between the tenants, and between the
//! lanes of each.

#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use dispatch_contract::UnixMillis;
use uuid::Uuid;

use super::CallbackId;
use crate::machine::WorkflowId;
use turns::Turns;

/// How many places of a share one tenant may hold for each that it leaves free: alone, four fifths.
const HOLD: usize = 4;
/// How many lanes are remembered although nothing waits in them.
const IDLE_LANES: usize = 10_000;

/// What waits, and what is out.
pub(super) struct Schedule {
    limits: Limits,
    lines: HashMap<WorkflowId, Line>,
    /// Lines whose head waits for its time.
    due: BTreeSet<(UnixMillis, WorkflowId)>,
    lanes: HashMap<u64, Lane>,
    /// Lanes that have something ready and a place of their own, and what is out, by how they stand.
    shares: [Turns; Standing::COUNT],
    /// Which queue is asked first: each in its turn, so that none starves.
    turn: usize,
    waiting_of: HashMap<Uuid, usize>,
    made_at: BTreeMap<UnixMillis, usize>,
}

/// How much may be out at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Altogether.
    pub(super) total: usize,
    /// To one destination.
    pub(super) per_lane: usize,
}

/// A callback that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) at: UnixMillis,
    pub(super) made_at: UnixMillis,
    pub(super) lane: u64,
    /// Whose turn it takes: the tenant, hashed. The same for all of a lane.
    pub(super) tenant: u64,
    /// Whose share of what may wait it counts against.
    pub(super) owner: Uuid,
}

/// How a receiver did at the last try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It took it, quickly.
    Well,
    /// It is not known yet, or failed quickly.
    #[default]
    Unknown,
    /// It took long, whatever came of it.
    Slow,
}

/// What became of a try.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// It is settled: delivered, or given up.
    Settled,
    /// It is tried again at this time.
    Again(UnixMillis),
}

/// The callbacks of one workflow, by sequence.
struct Line {
    waiting: BTreeMap<u32, Waiting>,
    place: Place,
    lane: u64,
    tenant: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In `due`, at this time.
    Due(UnixMillis),
    /// In its lane.
    Ready,
    /// This one is out.
    Out { sequence: u32, standing: Standing },
}

#[derive(Default)]
struct Lane {
    tenant: u64,
    ready: VecDeque<WorkflowId>,
    out: usize,
    standing: Standing,
    /// It took the last one.
    takes: bool,
    /// It is in the queue of this standing.
    queued: Option<Standing>,
}

impl Standing {
    const COUNT: usize = 3;
    const ALL: [Standing; Standing::COUNT] = [Standing::Well, Standing::Unknown, Standing::Slow];

    fn index(self) -> usize {
        match self {
            Standing::Well => 0,
            Standing::Unknown => 1,
            Standing::Slow => 2,
        }
    }

    /// How many of `total` places lanes that stand so may take together.
    fn share(self, total: usize) -> usize {
        match self {
            Standing::Well => total,
            Standing::Unknown => (total / 2).max(1),
            Standing::Slow => (total / 4).max(1),
        }
    }
}

impl Schedule {
    /// How many entries each table has.
    pub(super) fn tables(&self) -> [(&'static str, usize); 5] {
        [
            ("workflows", self.lines.len()),
            ("due", self.due.len()),
            ("lanes", self.lanes.len()),
            ("owners", self.waiting_of.len()),
            ("ages", self.made_at.len()),
        ]
    }

    /// Others from the next start on; what is out comes back.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn new(limits: Limits) -> Self {
        Schedule {
            limits,
            lines: HashMap::new(),
            due: BTreeSet::new(),
            lanes: HashMap::new(),
            shares: Default::default(),
            turn: 0,
            waiting_of: HashMap::new(),
            made_at: BTreeMap::new(),
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting_of.values().sum()
    }

    /// How many of `owner`'s wait.
    pub(super) fn waiting_of(&self, owner: Uuid) -> usize {
        self.waiting_of.get(&owner).copied().unwrap_or(0)
    }

    /// When the oldest that waits was made.
    pub(super) fn oldest(&self) -> Option<UnixMillis> {
        self.made_at.keys().next().copied()
    }

    /// When something is due next that is not yet.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Adds a callback, or moves it to another time.
    pub(super) fn put(&mut self, id: CallbackId, waiting: Waiting) {
        let line = self.lines.entry(id.workflow).or_insert_with(|| {
            self.due.insert((waiting.at, id.workflow));
            let Waiting { at, lane, tenant, .. } = waiting;
            Line { waiting: BTreeMap::new(), place: Place::Due(at), lane, tenant }
        });
        let before = line.waiting.insert(id.sequence, waiting);
        if let Place::Due(at) = line.place {
            let head = line.waiting.first_key_value().map_or(at, |(_, head)| head.at);
            self.due.remove(&(at, id.workflow));
            self.due.insert((head, id.workflow));
            line.place = Place::Due(head);
        }
        if let Some(before) = before {
            self.uncount(&before);
        }
        *self.waiting_of.entry(waiting.owner).or_default() += 1;
        *self.made_at.entry(waiting.made_at).or_default() += 1;
    }

    /// The next that goes out now, if there is one and a place for it. [`finish`](Self::finish) must
    /// follow.
    pub(super) fn start(&mut self, now: UnixMillis) -> Option<CallbackId> {
        while let Some((at, workflow)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            if let Some(line) = self.lines.get_mut(&workflow) {
                line.place = Place::Ready;
                let tenant = line.tenant;
                let new = || Lane { tenant, ..Lane::default() };
                self.lanes.entry(line.lane).or_insert_with(new).ready.push_back(workflow);
                let lane = line.lane;
                self.queue(lane);
            }
        }
        if self.shares.iter().map(Turns::out).sum::<usize>() >= self.limits.total {
            return None;
        }
        self.turn = (self.turn + 1) % Standing::COUNT;
        let turn = self.turn;
        let mut turns = (0..Standing::COUNT).map(|by| Standing::ALL[(turn + by) % Standing::COUNT]);
        let lane = turns.find_map(|standing| self.next_of(standing));
        self.start_in(lane?)
    }

    /// The next lane that stands so, if there is a place for it.
    fn next_of(&mut self, standing: Standing) -> Option<u64> {
        let places = standing.share(self.limits.total);
        while let Some(key) = self.shares[standing.index()].next(places) {
            let lane = self.lanes.get_mut(&key)?;
            lane.queued = None;
            if lane.standing == standing {
                return Some(key);
            }
            // It stands otherwise since it was queued.
            self.queue(key);
        }
        None
    }

    fn start_in(&mut self, key: u64) -> Option<CallbackId> {
        let lane = self.lanes.get_mut(&key)?;
        let workflow = lane.ready.pop_front()?;
        lane.out += 1;
        let (standing, tenant) = (lane.standing, lane.tenant);
        let line = self.lines.get_mut(&workflow)?;
        let (&sequence, _) = line.waiting.first_key_value()?;
        line.place = Place::Out { sequence, standing };
        self.shares[standing.index()].take(tenant);
        self.queue(key);
        Some(CallbackId { workflow, sequence })
    }

    /// A callback that was [started](Self::start) came back. `takes` is whether its receiver took it,
    /// and `standing` how.
    pub(super) fn finish(&mut self, id: CallbackId, takes: bool, standing: Standing, then: Then) {
        let Some(line) = self.lines.get_mut(&id.workflow) else { return };
        let Place::Out { sequence, standing: stood } = line.place else { return };
        if sequence != id.sequence {
            return;
        }
        self.shares[stood.index()].release(line.tenant);
        let key = line.lane;
        let settled = match then {
            Then::Settled => line.waiting.remove(&sequence),
            Then::Again(at) => {
                if let Some(waiting) = line.waiting.get_mut(&sequence) {
                    waiting.at = at;
                }
                None
            }
        };
        match line.waiting.first_key_value() {
            Some((_, head)) => {
                line.place = Place::Due(head.at);
                self.due.insert((head.at, id.workflow));
            }
            None => {
                self.lines.remove(&id.workflow);
            }
        }
        if let Some(settled) = settled {
            self.uncount(&settled);
        }
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.out -= 1;
            (lane.takes, lane.standing) = (takes, standing);
            self.queue(key);
        }
        if self.lanes.len() > IDLE_LANES {
            self.lanes.retain(|_, lane| lane.out > 0 || !lane.ready.is_empty());
        }
    }

    /// Lets a lane take its turn, if it has something ready and a place of its own.
    fn queue(&mut self, key: u64) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let limit = if lane.takes { self.limits.per_lane } else { 1 };
        if lane.queued.is_some() || lane.ready.is_empty() || lane.out >= limit {
            return;
        }
        lane.queued = Some(lane.standing);
        self.shares[lane.standing.index()].queue(lane.tenant, key);
    }

    fn uncount(&mut self, gone: &Waiting) {
        if let Some(count) = self.waiting_of.get_mut(&gone.owner) {
            *count -= 1;
            if *count == 0 {
                self.waiting_of.remove(&gone.owner);
            }
        }
        if let Some(count) = self.made_at.get_mut(&gone.made_at) {
            *count -= 1;
            if *count == 0 {
                self.made_at.remove(&gone.made_at);
            }
        }
    }
}
