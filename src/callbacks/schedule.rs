//! Which callback is attempted next.
//!
//! In order within a workflow: the next one waits until the one before was delivered or dead-lettered.
//! Workflows go side by side, within two bounds: so many altogether, and so many to one destination (a
//! *destination*); one at a time to a destination that did not take the last one.
//!
//! Beyond that, destinations share the permits by how they stand: those whose last try was slow get at most a
//! quarter of them together, those that are new or failed quickly half. So however many receivers are
//! slow or dead, the others find room.
//!
//! Within such a share tenants take turns, whatever one of them does: each in its turn gets the next
//! permit, and none holds more than [`HELD_PER_FREE`] times what it leaves free. So a tenant with thousands of slow
//! destinations does not delay another's first callback.
//!
//! Pure: time is an argument, and what is due comes out in turns between the tenants, and between the
//! destinations of each.

mod tenant_queues;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use dispatch_contract::UnixMillis;
use uuid::Uuid;

use super::{
    CallbackId,
    attempt::{AttemptResult, Disposition, EndpointHealth},
};
use tenant_queues::TenantQueues;

/// How many permits of a share one tenant may hold for each that it leaves free: alone, four fifths.
const HELD_PER_FREE: usize = 4;
/// How many destinations are remembered although nothing waits in them.
const IDLE_DESTINATIONS: usize = 10_000;

/// The callbacks that wait, and the attempts in flight.
pub(super) struct Schedule {
    limits: ConcurrencyLimits,
    workflows: HashMap<Uuid, WorkflowQueue>,
    /// Workflows whose first callback waits for its time.
    due: BTreeSet<(UnixMillis, Uuid)>,
    destinations: HashMap<u64, DestinationQueue>,
    /// Destinations that have something ready and are below their own limit, and the permits that are
    /// taken, by their health.
    shares: [TenantQueues; EndpointHealth::COUNT],
    /// Which queue is asked first: each in its turn, so that none starves.
    turn: usize,
    waiting_of: HashMap<Uuid, usize>,
    create_time: BTreeMap<UnixMillis, usize>,
}

/// How many attempts may be in flight at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConcurrencyLimits {
    /// Altogether.
    pub(super) total: usize,
    /// To one destination.
    pub(super) per_destination: usize,
}

/// A callback that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueuedCallback {
    pub(super) at: UnixMillis,
    pub(super) create_time: UnixMillis,
    pub(super) destination: u64,
    /// Whose turn it takes: the tenant, hashed. The same for all of a destination.
    pub(super) tenant: u64,
    /// Whose share of what may wait it counts against.
    pub(super) owner: Uuid,
}

/// The callbacks of one workflow, by sequence.
struct WorkflowQueue {
    waiting: BTreeMap<u32, QueuedCallback>,
    state: QueueState,
    destination: u64,
    tenant: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueueState {
    /// In `due`, at this time.
    Due(UnixMillis),
    /// In its destination's queue.
    Ready,
    /// An attempt at this one is in flight.
    InFlight { sequence: u32, health: EndpointHealth },
}

#[derive(Default)]
struct DestinationQueue {
    tenant: u64,
    ready: VecDeque<Uuid>,
    in_flight: usize,
    health: EndpointHealth,
    /// It accepted the last one.
    accepts: bool,
    /// It waits for a permit in the share of this health.
    queued: Option<EndpointHealth>,
}

impl EndpointHealth {
    const COUNT: usize = 3;
    const ALL: [EndpointHealth; EndpointHealth::COUNT] =
        [EndpointHealth::Healthy, EndpointHealth::Unknown, EndpointHealth::Slow];

    fn index(self) -> usize {
        match self {
            EndpointHealth::Healthy => 0,
            EndpointHealth::Unknown => 1,
            EndpointHealth::Slow => 2,
        }
    }

    /// How many of `total` permits destinations of this health may take together.
    fn share(self, total: usize) -> usize {
        match self {
            EndpointHealth::Healthy => total,
            EndpointHealth::Unknown => (total / 2).max(1),
            EndpointHealth::Slow => (total / 4).max(1),
        }
    }
}

impl Schedule {
    /// How many entries each table has.
    pub(super) fn tables(&self) -> [(&'static str, usize); 5] {
        [
            ("workflows", self.workflows.len()),
            ("due", self.due.len()),
            ("destinations", self.destinations.len()),
            ("owners", self.waiting_of.len()),
            ("ages", self.create_time.len()),
        ]
    }

    /// Applies other limits from the next start on; what is in flight completes.
    pub(super) fn set_limits(&mut self, limits: ConcurrencyLimits) {
        self.limits = limits;
    }

    pub(super) fn new(limits: ConcurrencyLimits) -> Self {
        Schedule {
            limits,
            workflows: HashMap::new(),
            due: BTreeSet::new(),
            destinations: HashMap::new(),
            shares: Default::default(),
            turn: 0,
            waiting_of: HashMap::new(),
            create_time: BTreeMap::new(),
        }
    }

    /// How many callbacks wait or are in flight.
    pub(super) fn len(&self) -> usize {
        self.waiting_of.values().sum()
    }

    /// How many of `owner`'s wait.
    pub(super) fn waiting_of(&self, owner: Uuid) -> usize {
        self.waiting_of.get(&owner).copied().unwrap_or(0)
    }

    /// When the oldest of them was created.
    pub(super) fn oldest(&self) -> Option<UnixMillis> {
        self.create_time.keys().next().copied()
    }

    /// When the next callback becomes due.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Adds a callback, or moves it to another time.
    pub(super) fn put(&mut self, id: CallbackId, waiting: QueuedCallback) {
        let workflow_queue = self.workflows.entry(id.about).or_insert_with(|| {
            self.due.insert((waiting.at, id.about));
            let QueuedCallback { at, destination, tenant, .. } = waiting;
            WorkflowQueue {
                waiting: BTreeMap::new(),
                state: QueueState::Due(at),
                destination,
                tenant,
            }
        });
        let before = workflow_queue.waiting.insert(id.sequence, waiting);
        if let QueueState::Due(at) = workflow_queue.state {
            let head = workflow_queue.waiting.first_key_value().map_or(at, |(_, head)| head.at);
            self.due.remove(&(at, id.about));
            self.due.insert((head, id.about));
            workflow_queue.state = QueueState::Due(head);
        }
        if let Some(before) = before {
            self.uncount(&before);
        }
        *self.waiting_of.entry(waiting.owner).or_default() += 1;
        *self.create_time.entry(waiting.create_time).or_default() += 1;
    }

    /// Takes a permit for the next callback that is due, if there are both. [`finish`](Self::finish) must
    /// follow.
    pub(super) fn start(&mut self, now: UnixMillis) -> Option<CallbackId> {
        while let Some((at, workflow)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            if let Some(workflow_queue) = self.workflows.get_mut(&workflow) {
                workflow_queue.state = QueueState::Ready;
                let tenant = workflow_queue.tenant;
                let new = || DestinationQueue { tenant, ..DestinationQueue::default() };
                self.destinations
                    .entry(workflow_queue.destination)
                    .or_insert_with(new)
                    .ready
                    .push_back(workflow);
                let destination = workflow_queue.destination;
                self.queue(destination);
            }
        }
        if self.shares.iter().map(TenantQueues::in_flight).sum::<usize>() >= self.limits.total {
            return None;
        }
        self.turn = (self.turn + 1) % EndpointHealth::COUNT;
        let turn = self.turn;
        let mut turns = (0..EndpointHealth::COUNT)
            .map(|by| EndpointHealth::ALL[(turn + by) % EndpointHealth::COUNT]);
        let destination = turns.find_map(|health| self.next_of(health));
        self.start_in(destination?)
    }

    /// The next destination of this health, if there is a permit for it.
    fn next_of(&mut self, health: EndpointHealth) -> Option<u64> {
        let permits = health.share(self.limits.total);
        while let Some(key) = self.shares[health.index()].next(permits) {
            let destination = self.destinations.get_mut(&key)?;
            destination.queued = None;
            if destination.health == health {
                return Some(key);
            }
            // Its health has changed since it was queued.
            self.queue(key);
        }
        None
    }

    fn start_in(&mut self, key: u64) -> Option<CallbackId> {
        let destination = self.destinations.get_mut(&key)?;
        let workflow = destination.ready.pop_front()?;
        destination.in_flight += 1;
        let (health, tenant) = (destination.health, destination.tenant);
        let workflow_queue = self.workflows.get_mut(&workflow)?;
        let (&sequence, _) = workflow_queue.waiting.first_key_value()?;
        workflow_queue.state = QueueState::InFlight { sequence, health };
        self.shares[health.index()].take(tenant);
        self.queue(key);
        Some(CallbackId { about: workflow, sequence })
    }

    /// Gives the permit of a [started](Self::start) callback back: its attempt came to `result`.
    pub(super) fn finish(&mut self, id: CallbackId, result: AttemptResult) {
        let AttemptResult { succeeded, health, disposition } = result;
        let Some(workflow_queue) = self.workflows.get_mut(&id.about) else { return };
        let QueueState::InFlight { sequence, health: health_at_start } = workflow_queue.state
        else {
            return;
        };
        if sequence != id.sequence {
            return;
        }
        self.shares[health_at_start.index()].release(workflow_queue.tenant);
        let key = workflow_queue.destination;
        let completed = match disposition {
            Disposition::Completed => workflow_queue.waiting.remove(&sequence),
            Disposition::RetryAt(at) => {
                if let Some(waiting) = workflow_queue.waiting.get_mut(&sequence) {
                    waiting.at = at;
                }
                None
            }
        };
        match workflow_queue.waiting.first_key_value() {
            Some((_, head)) => {
                workflow_queue.state = QueueState::Due(head.at);
                self.due.insert((head.at, id.about));
            }
            None => {
                self.workflows.remove(&id.about);
            }
        }
        if let Some(completed) = completed {
            self.uncount(&completed);
        }
        if let Some(destination) = self.destinations.get_mut(&key) {
            destination.in_flight -= 1;
            (destination.accepts, destination.health) = (succeeded, health);
            self.queue(key);
        }
        if self.destinations.len() > IDLE_DESTINATIONS {
            self.destinations.retain(|_, destination| {
                destination.in_flight > 0 || !destination.ready.is_empty()
            });
        }
    }

    /// Queues a destination for a permit, if it has something ready and is below its own limit.
    fn queue(&mut self, key: u64) {
        let Some(destination) = self.destinations.get_mut(&key) else { return };
        let limit = if destination.accepts { self.limits.per_destination } else { 1 };
        if destination.queued.is_some()
            || destination.ready.is_empty()
            || destination.in_flight >= limit
        {
            return;
        }
        destination.queued = Some(destination.health);
        self.shares[destination.health.index()].queue(destination.tenant, key);
    }

    fn uncount(&mut self, gone: &QueuedCallback) {
        if let Some(count) = self.waiting_of.get_mut(&gone.owner) {
            *count -= 1;
            if *count == 0 {
                self.waiting_of.remove(&gone.owner);
            }
        }
        if let Some(count) = self.create_time.get_mut(&gone.create_time) {
            *count -= 1;
            if *count == 0 {
                self.create_time.remove(&gone.create_time);
            }
        }
    }
}
