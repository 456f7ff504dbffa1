//! Which callback goes out next.
//!
//! In order within a workflow: the next one waits until the one before was delivered or given up.
//! Workflows go side by side, within two bounds: so many altogether, and so many to one destination (a
//! *lane*). A lane that has not just succeeded is on probation: one call at a time, and all such lanes
//! together get at most half of the places. So however many receivers are slow or dead, the others
//! find room.
//!
//! Pure: time is an argument, and what is due comes out in turns between the lanes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use dispatch_contract::UnixMillis;
use uuid::Uuid;

use super::CallbackId;
use crate::machine::WorkflowId;

/// How many lanes are remembered although nothing waits in them.
const IDLE_LANES: usize = 10_000;

/// What waits, and what is out.
pub(super) struct Schedule {
    limits: Limits,
    lines: HashMap<WorkflowId, Line>,
    /// Lines whose head waits for its time.
    due: BTreeSet<(UnixMillis, WorkflowId)>,
    lanes: HashMap<u64, Lane>,
    /// Lanes that have something ready and a place of their own: those that succeed, and those on
    /// probation.
    proven: VecDeque<u64>,
    probation: VecDeque<u64>,
    is_probation_s_turn: bool,
    out: usize,
    out_on_probation: usize,
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
    /// Whose share it counts against.
    pub(super) owner: Uuid,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In `due`, at this time.
    Due(UnixMillis),
    /// In its lane.
    Ready,
    /// This one is out.
    Out { sequence: u32, on_probation: bool },
}

#[derive(Default)]
struct Lane {
    ready: VecDeque<WorkflowId>,
    out: usize,
    is_proven: bool,
    /// It stands in one of the two queues.
    is_queued: bool,
}

impl Schedule {
    pub(super) fn new(limits: Limits) -> Self {
        Schedule {
            limits,
            lines: HashMap::new(),
            due: BTreeSet::new(),
            lanes: HashMap::new(),
            proven: VecDeque::new(),
            probation: VecDeque::new(),
            is_probation_s_turn: false,
            out: 0,
            out_on_probation: 0,
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
            Line { waiting: BTreeMap::new(), place: Place::Due(waiting.at), lane: waiting.lane }
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
                self.lanes.entry(line.lane).or_default().ready.push_back(workflow);
                let lane = line.lane;
                self.queue(lane);
            }
        }
        if self.out >= self.limits.total {
            return None;
        }
        // By turns, so that neither kind starves the other.
        self.is_probation_s_turn = !self.is_probation_s_turn;
        let lane = if self.is_probation_s_turn {
            self.next_on_probation().or_else(|| self.next_proven())
        } else {
            self.next_proven().or_else(|| self.next_on_probation())
        };
        self.start_in(lane?)
    }

    fn next_proven(&mut self) -> Option<u64> {
        while let Some(key) = self.proven.pop_front() {
            let lane = self.lanes.get_mut(&key)?;
            if lane.is_proven {
                return Some(key);
            }
            // It failed since it was queued.
            lane.is_queued = false;
            self.queue(key);
        }
        None
    }

    fn next_on_probation(&mut self) -> Option<u64> {
        let may = self.out_on_probation < (self.limits.total / 2).max(1);
        if may { self.probation.pop_front() } else { None }
    }

    fn start_in(&mut self, key: u64) -> Option<CallbackId> {
        let lane = self.lanes.get_mut(&key)?;
        lane.is_queued = false;
        let workflow = lane.ready.pop_front()?;
        lane.out += 1;
        let on_probation = !lane.is_proven;
        let line = self.lines.get_mut(&workflow)?;
        let (&sequence, _) = line.waiting.first_key_value()?;
        line.place = Place::Out { sequence, on_probation };
        self.out += 1;
        self.out_on_probation += usize::from(on_probation);
        self.queue(key);
        Some(CallbackId { workflow, sequence })
    }

    /// A callback that was [started](Self::start) came back. `succeeded` is whether its receiver took
    /// it.
    pub(super) fn finish(&mut self, id: CallbackId, succeeded: bool, then: Then) {
        let Some(line) = self.lines.get_mut(&id.workflow) else { return };
        let Place::Out { sequence, on_probation } = line.place else { return };
        if sequence != id.sequence {
            return;
        }
        self.out -= 1;
        self.out_on_probation -= usize::from(on_probation);
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
            lane.is_proven = succeeded;
            self.queue(key);
        }
        if self.lanes.len() > IDLE_LANES {
            self.lanes.retain(|_, lane| lane.out > 0 || !lane.ready.is_empty());
        }
    }

    /// Lets a lane take its turn, if it has something ready and a place of its own.
    fn queue(&mut self, key: u64) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let limit = if lane.is_proven { self.limits.per_lane } else { 1 };
        if lane.is_queued || lane.ready.is_empty() || lane.out >= limit {
            return;
        }
        lane.is_queued = true;
        if lane.is_proven { self.proven.push_back(key) } else { self.probation.push_back(key) }
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1000);

    fn schedule() -> Schedule {
        Schedule::new(Limits { total: 8, per_lane: 4 })
    }

    fn id(workflow: u128, sequence: u32) -> CallbackId {
        CallbackId { workflow: WorkflowId(Uuid::from_u128(workflow)), sequence }
    }

    fn waiting(at: u64, lane: u64) -> Waiting {
        let (at, made_at) = (UnixMillis(at), UnixMillis(at));
        Waiting { at, made_at, lane, owner: Uuid::nil() }
    }

    fn started(schedule: &mut Schedule) -> Vec<CallbackId> {
        std::iter::from_fn(|| schedule.start(NOW)).collect()
    }

    #[test]
    fn within_a_workflow_the_next_waits_for_the_one_before() {
        let mut schedule = schedule();
        schedule.put(id(1, 7), waiting(0, 1));
        schedule.put(id(1, 3), waiting(5, 1));
        assert_eq!(started(&mut schedule), [id(1, 3)]);
        schedule.finish(id(1, 3), false, Then::Again(UnixMillis(2000)));
        assert_eq!(started(&mut schedule), [], "the first is not settled");
        assert_eq!(schedule.next_due(), Some(UnixMillis(2000)));
        assert_eq!(schedule.start(UnixMillis(2000)), Some(id(1, 3)));
        schedule.finish(id(1, 3), true, Then::Settled);
        assert_eq!(started(&mut schedule), [id(1, 7)]);
        schedule.finish(id(1, 7), true, Then::Settled);
        assert_eq!((schedule.len(), schedule.oldest()), (0, None));
    }

    #[test]
    fn nothing_goes_out_before_its_time() {
        let mut schedule = schedule();
        schedule.put(id(1, 1), waiting(1001, 1));
        assert_eq!(schedule.start(NOW), None);
        assert_eq!(schedule.start(UnixMillis(1001)), Some(id(1, 1)));
    }

    #[test]
    fn one_destination_has_so_many_places_once_it_has_succeeded() {
        let mut schedule = schedule();
        for workflow in 1..=20 {
            schedule.put(id(workflow, 1), waiting(0, 1));
        }
        let first = started(&mut schedule);
        assert_eq!(first.len(), 1, "on probation");
        schedule.finish(first[0], true, Then::Settled);
        assert_eq!(started(&mut schedule).len(), 4);
    }

    #[test]
    fn however_many_receivers_are_dead_the_others_find_room() {
        let mut schedule = schedule();
        for dead in 100..200 {
            schedule.put(id(u128::from(dead), 1), waiting(0, dead));
        }
        assert_eq!(started(&mut schedule).len(), 4, "half of the places");
        // A lane that had succeeded.
        schedule.put(id(1, 1), waiting(0, 1));
        schedule.lanes.entry(1).or_default().is_proven = true;
        assert_eq!(started(&mut schedule), [id(1, 1)]);
    }

    #[test]
    fn lanes_take_turns() {
        let mut schedule = Schedule::new(Limits { total: 2, per_lane: 1 });
        for workflow in 1..=3 {
            schedule.put(id(workflow, 1), waiting(0, 1));
        }
        schedule.put(id(9, 1), waiting(0, 2));
        let mut order = Vec::new();
        while let Some(id) = schedule.start(NOW) {
            order.push(id);
            schedule.finish(id, true, Then::Settled);
        }
        assert!(order.iter().position(|it| *it == id(9, 1)) < Some(3), "{order:?}");
    }

    #[test]
    fn one_that_is_put_again_counts_once() {
        let mut schedule = schedule();
        schedule.put(id(1, 1), waiting(5000, 1));
        schedule.put(id(1, 1), waiting(0, 1));
        assert_eq!(schedule.len(), 1);
        assert_eq!(schedule.waiting_of(Uuid::nil()), 1);
        assert_eq!(schedule.start(NOW), Some(id(1, 1)));
    }
}
