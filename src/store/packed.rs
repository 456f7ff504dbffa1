//! An open workflow's state in a few dozen bytes.
//!
//! A million open workflows are held in memory, and few of them are touched at any moment: what
//! they have in common (senders, durations, routes) is kept once in [`Dictionary`], times are written
//! as distances from the creation, numbers take as many bytes as they need. Packing loses nothing.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use dispatch_contract::{Failure, Status, UnixMillis};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::StoreError;
use crate::machine::{
    Attempt, AttemptState, FailoverCondition, Moment, OnLateSuccess, OnUnknown, Phase,
    PolicySnapshot, Priority, RouteProperties, RouteRequirement, Step, StepStatus, Workflow,
    WorkflowId,
};

/// What workflows have in dictionary. Only ever grows, by what is new, so that entries keep their indexes; what
/// no workflow has any more is left behind when all are packed anew.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    needs: Interner<Arc<RouteRequirement>>,
    policy: Interner<PolicySnapshot>,
    routes: Interner<AttemptRoute>,
}

/// How an attempt goes: its route, what that promises, and the account that it was STARTED under.
type AttemptRoute = (Arc<str>, RouteProperties, Option<Arc<str>>);

/// A list in which every value stands once.
#[derive(Debug)]
struct Interner<T> {
    values: Vec<T>,
    indexes: HashMap<T, u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { values: Vec::new(), indexes: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Interner<T> {
    fn of(values: Vec<T>) -> Self {
        let indexes = (0..).zip(&values).map(|(index, value)| (value.clone(), index)).collect();
        Interner { values, indexes }
    }

    fn intern(&mut self, value: &T) -> u32 {
        if let Some(index) = self.indexes.get(value) {
            return *index;
        }
        let index = self.values.len() as u32;
        self.values.push(value.clone());
        self.indexes.insert(value.clone(), index);
        index
    }

    fn get(&self, index: u32) -> Option<&T> {
        self.values.get(index as usize)
    }
}

/// [`Dictionary`] as it is written to a file.
#[derive(Serialize, Deserialize)]
pub(super) struct DictionaryRow {
    needs: Vec<Arc<RouteRequirement>>,
    policy: Vec<PolicySnapshot>,
    routes: Vec<AttemptRoute>,
}

/// What is the same for all steps and attempts of a workflow.
#[derive(Serialize, Deserialize)]
struct PackedHead {
    created_at: Moment,
    send_at: Option<TimeOffset>,
    valid_until: Option<TimeOffset>,
    send_within_ms: Option<u64>,
    on_late_success: OnLateSuccess,
    on_unknown: OnUnknown,
    priority: Priority,
    policy: u32,
    phase: Phase,
    sequence: u32,
    updated_at: MomentOffset,
    ended_at: Option<MomentOffset>,
    is_erased: bool,
    steps: u8,
    attempts: u16,
}

#[derive(Serialize, Deserialize)]
struct PackedStep {
    requirement: u32,
    failover: Option<FailoverCondition>,
    status: StepStatus,
    active_at: Option<MomentOffset>,
    clock_at: Option<MomentOffset>,
    reached: Status,
    reached_at: Option<MomentOffset>,
}

#[derive(Serialize, Deserialize)]
struct PackedAttempt {
    step: u8,
    route_index: u32,
    state: AttemptState,
    calls: u16,
    started_at: Option<MomentOffset>,
    status: Status,
    failure: Option<Failure>,
    possible_duplicate: bool,
    is_uncertain: bool,
    is_answered: bool,
    parts: Vec<Status>,
}

/// A time, as its distance from the creation; wraps, so that a time before that is kept too.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct TimeOffset(u64);

/// The same on both clocks: the second is by how much the wall clock was set meanwhile, in milliseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct MomentOffset(TimeOffset, i64);

impl TimeOffset {
    fn of(at: UnixMillis, from: UnixMillis) -> Self {
        TimeOffset(at.0.wrapping_sub(from.0))
    }

    fn from(self, from: UnixMillis) -> UnixMillis {
        UnixMillis(from.0.wrapping_add(self.0))
    }
}

impl MomentOffset {
    fn of(at: Moment, from: Moment) -> Self {
        let set_by = at.skew_ms().wrapping_sub(from.skew_ms());
        MomentOffset(TimeOffset::of(at.engine, from.engine), set_by)
    }

    fn from(self, from: Moment) -> Moment {
        let engine = self.0.from(from.engine);
        let skew_ms = from.skew_ms().wrapping_add(self.1);
        Moment { engine, wall: UnixMillis(engine.0.wrapping_add_signed(skew_ms)) }
    }
}

impl Dictionary {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.needs.values.len() + self.policy.values.len() + self.routes.values.len()
    }

    pub(super) fn row(&self) -> DictionaryRow {
        DictionaryRow {
            needs: self.needs.values.clone(),
            policy: self.policy.values.clone(),
            routes: self.routes.values.clone(),
        }
    }

    pub(super) fn of(row: DictionaryRow) -> Self {
        Dictionary {
            needs: Interner::of(row.needs),
            policy: Interner::of(row.policy),
            routes: Interner::of(row.routes),
        }
    }

    /// Packs a state. `buffer` is only there to be used again.
    pub(super) fn pack(&mut self, state: &Workflow, buffer: &mut Vec<u8>) -> Box<[u8]> {
        let given = |at: UnixMillis| TimeOffset::of(at, state.created_at.wall);
        let since = |at: Moment| MomentOffset::of(at, state.created_at);
        buffer.clear();
        let head = PackedHead {
            created_at: state.created_at,
            send_at: state.send_at.map(given),
            valid_until: state.valid_until.map(given),
            send_within_ms: state.send_within_ms,
            on_late_success: state.on_late_success,
            on_unknown: state.on_unknown,
            priority: state.priority,
            policy: self.policy.intern(&state.policy),
            phase: state.phase,
            sequence: state.sequence,
            updated_at: since(state.updated_at),
            ended_at: state.ended_at.map(since),
            is_erased: state.is_erased,
            steps: state.steps.len() as u8,
            attempts: state.attempts.len() as u16,
        };
        append(buffer, &head);
        for step in &state.steps {
            let step = PackedStep {
                requirement: self.needs.intern(&step.requirement),
                failover: step.failover,
                status: step.status,
                active_at: step.active_at.map(since),
                clock_at: step.clock_at.map(since),
                reached: step.reached,
                reached_at: step.reached_at.map(since),
            };
            append(buffer, &step);
        }
        for attempt in &state.attempts {
            let route_index =
                (Arc::clone(&attempt.route), attempt.properties, attempt.account.clone());
            let attempt = PackedAttempt {
                step: attempt.step,
                route_index: self.routes.intern(&route_index),
                state: attempt.state,
                calls: attempt.calls,
                started_at: attempt.started_at.map(since),
                status: attempt.status,
                failure: attempt.failure,
                possible_duplicate: attempt.possible_duplicate,
                is_uncertain: attempt.is_uncertain,
                is_answered: attempt.is_answered,
                parts: attempt.parts.clone(),
            };
            append(buffer, &attempt);
        }
        Box::from(buffer.as_slice())
    }

    /// The state that was packed.
    ///
    /// # Errors
    /// If these bytes are not of [`pack`](Self::pack): only possible if they came from a file.
    pub(super) fn unpack(&self, id: WorkflowId, packed: &[u8]) -> Result<Workflow, StoreError> {
        self.try_unpack(id, packed).ok_or_else(|| StoreError::Corrupt {
            place: format!("workflow {id}"),
            problem: "its packed state cannot be read".to_owned(),
        })
    }

    fn try_unpack(&self, id: WorkflowId, mut packed: &[u8]) -> Option<Workflow> {
        let head: PackedHead = take(&mut packed)?;
        let given = |since: TimeOffset| since.from(head.created_at.wall);
        let at = |since: MomentOffset| since.from(head.created_at);
        let mut steps = Vec::with_capacity(usize::from(head.steps));
        for _ in 0..head.steps {
            let step: PackedStep = take(&mut packed)?;
            steps.push(Step {
                requirement: Arc::clone(self.needs.get(step.requirement)?),
                failover: step.failover,
                status: step.status,
                active_at: step.active_at.map(at),
                clock_at: step.clock_at.map(at),
                reached: step.reached,
                reached_at: step.reached_at.map(at),
            });
        }
        // Room for one more: what is unpacked is about to go on.
        let mut attempts = Vec::with_capacity(usize::from(head.attempts) + 1);
        for _ in 0..head.attempts {
            let attempt: PackedAttempt = take(&mut packed)?;
            let (route, properties, account) = self.routes.get(attempt.route_index)?;
            attempts.push(Attempt {
                step: attempt.step,
                route: Arc::clone(route),
                properties: *properties,
                state: attempt.state,
                calls: attempt.calls,
                started_at: attempt.started_at.map(at),
                account: account.clone(),
                status: attempt.status,
                failure: attempt.failure,
                possible_duplicate: attempt.possible_duplicate,
                is_uncertain: attempt.is_uncertain,
                is_answered: attempt.is_answered,
                parts: attempt.parts,
            });
        }
        Some(Workflow {
            id,
            created_at: head.created_at,
            send_at: head.send_at.map(given),
            valid_until: head.valid_until.map(given),
            send_within_ms: head.send_within_ms,
            on_late_success: head.on_late_success,
            on_unknown: head.on_unknown,
            priority: head.priority,
            policy: *self.policy.get(head.policy)?,
            phase: head.phase,
            steps,
            attempts,
            sequence: head.sequence,
            updated_at: at(head.updated_at),
            ended_at: head.ended_at.map(at),
            is_erased: head.is_erased,
        })
    }
}

fn append<T: Serialize>(buffer: &mut Vec<u8>, value: &T) {
    // Writing to memory cannot fail, and these types have nothing that postcard cannot write.
    *buffer = postcard::to_extend(value, std::mem::take(buffer)).unwrap_or_default();
}

fn take<T: DeserializeOwned>(from: &mut &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(from).ok()?;
    *from = rest;
    Some(value)
}
