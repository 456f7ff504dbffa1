//! What is open, in memory: states and deadlines.
//!
//! A projection of the journal. Both embedded stores keep one and rebuild it at start.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    ops::Bound,
    sync::Arc,
};

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{
    Cursor, DueWorkflow, LabelFilter, Record, StoreError, packed::Dictionary, types::PAGE_BYTES,
};
use crate::machine::{
    ClockKind, DeadlineKind, Deadlines, Fact, Moment, RouteRequirement, Workflow, WorkflowId,
};

/// Shares equal [`RouteRequirement`]s between workflows: a million workflows have few different senders.
#[derive(Debug, Default)]
pub struct RequirementInterner {
    shared: HashSet<Arc<RouteRequirement>>,
    /// How many there were when those that nobody had any more were last left out.
    kept: usize,
}

/// Whatever callers may make up (senders above all) is looked through for what is not used any more when
/// there is this much more of it, or twice as much.
const UNUSED_MOST: usize = 4096;

/// The open workflows.
#[derive(Debug, Default)]
pub(super) struct ActiveIndex {
    workflows: BTreeMap<WorkflowId, ActiveWorkflow>,
    timers: BTreeSet<DueWorkflow>,
    appointments: BTreeSet<DueWorkflow>,
    /// How many there are of each tenant.
    tenants: HashMap<Arc<str>, usize>,
    dictionary: Dictionary,
    /// How much they had in common when they were last packed.
    packed: usize,
    buffer: Vec<u8>,
}

/// An open workflow.
#[derive(Debug)]
pub(super) struct ActiveWorkflow {
    packed: Box<[u8]>,
    /// How many facts were applied.
    pub(super) sequence: u32,
    pub(super) chain: Chain,
    deadlines: Deadlines,
}

/// Where the journal rows of an open workflow stand, and what a list asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chain {
    /// The oldest.
    pub(super) first: Cursor,
    /// The newest: the head, which leads to all others.
    pub(super) last: Cursor,
    /// Of its labels and its reference.
    pub(super) labels: LabelFilter,
}

/// An open workflow, on its way to a file or back.
#[derive(Serialize, Deserialize)]
pub(super) struct ActiveState {
    pub(super) id: WorkflowId,
    pub(super) chain: Chain,
    packed: Box<[u8]>,
}

impl RequirementInterner {
    /// An equal need that others share.
    pub fn share(&mut self, requirement: RouteRequirement) -> Arc<RouteRequirement> {
        if let Some(shared) = self.shared.get(&requirement) {
            return Arc::clone(shared);
        }
        if self.shared.len() >= self.kept * 2 + UNUSED_MOST {
            self.shared.retain(|requirement| Arc::strong_count(requirement) > 1);
            self.kept = self.shared.len();
        }
        let requirement = Arc::new(requirement);
        self.shared.insert(Arc::clone(&requirement));
        requirement
    }

    /// How many different ones there are.
    pub fn count(&self) -> usize {
        self.shared.len()
    }

    /// The workflow of a record, before its first fact.
    pub fn workflow(&mut self, record: &Record) -> Workflow {
        let needs: Vec<_> = (0..record.plan.steps.len())
            .filter_map(|index| record.plan.route_requirement(&record.tenant, index))
            .map(|requirement| self.share(requirement))
            .collect();
        Workflow::new(record.id, record.created_at, &record.plan, needs, record.policy)
    }
}

impl ActiveIndex {
    /// Of states in the order of their ids, packed with `dictionary`.
    pub(super) fn of(dictionary: Dictionary, states: Vec<ActiveState>) -> Result<Self, StoreError> {
        let (mut timers, mut appointments) = (Vec::with_capacity(states.len()), Vec::new());
        let mut workflows = Vec::with_capacity(states.len());
        // Packed anew: what only workflows that are gone had in common is left behind.
        let (old, mut dictionary, mut buffer) = (dictionary, Dictionary::default(), Vec::new());
        let mut tenants = HashMap::new();
        for ActiveState { id, chain, packed } in states {
            let state = old.unpack(id, &packed)?;
            let packed = dictionary.pack(&state, &mut buffer);
            count(&mut tenants, &state);
            let deadlines = state.deadlines();
            let [timer, appointment] = due_rows(id, deadlines);
            timers.extend(timer);
            appointments.extend(appointment);
            let sequence = state.sequence;
            workflows.push((id, ActiveWorkflow { packed, sequence, chain, deadlines }));
        }
        Ok(ActiveIndex {
            workflows: workflows.into_iter().collect(),
            timers: timers.into_iter().collect(),
            appointments: appointments.into_iter().collect(),
            tenants,
            packed: dictionary.len(),
            dictionary,
            buffer,
        })
    }

    /// Packs all states anew if most of what they had in common may belong to none of them any more.
    /// What was sliced before belongs to the former [`dictionary`](Self::dictionary).
    ///
    /// # Errors
    /// Only if a state cannot be read, which is a bug.
    pub(super) fn tidy(&mut self) -> Result<(), StoreError> {
        // That all are packed is paid by as many new entries as an eighth of them.
        let more = (self.packed + UNUSED_MOST).max(self.workflows.len() / 8);
        if self.dictionary.len() < self.packed + more {
            return Ok(());
        }
        let mut dictionary = Dictionary::default();
        for (id, open) in &mut self.workflows {
            let state = self.dictionary.unpack(*id, &open.packed)?;
            open.packed = dictionary.pack(&state, &mut self.buffer);
        }
        (self.packed, self.dictionary) = (dictionary.len(), dictionary);
        Ok(())
    }

    /// How many entries each table has.
    pub(super) fn tables(&self) -> [(&'static str, usize); 5] {
        [
            ("open_workflows", self.workflows.len()),
            ("open_timers", self.timers.len()),
            ("open_appointments", self.appointments.len()),
            ("open_tenants", self.tenants.len()),
            ("open_dictionary", self.dictionary.len()),
        ]
    }

    /// Up to `limit` states behind `after`; fewer where they weigh much.
    pub(super) fn slice(&self, after: Option<WorkflowId>, limit: usize) -> Vec<ActiveState> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut bytes = 0;
        let has_room = |(_, open): &(&WorkflowId, &ActiveWorkflow)| {
            let had_room = bytes < PAGE_BYTES;
            bytes += open.packed.len();
            had_room
        };
        let behind =
            self.workflows.range((from, Bound::Unbounded)).take(limit).take_while(has_room);
        let state = |(id, open): (&WorkflowId, &ActiveWorkflow)| ActiveState {
            id: *id,
            chain: open.chain,
            packed: open.packed.clone(),
        };
        behind.map(state).collect()
    }

    pub(super) fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// A workflow that is not the same in both.
    pub(super) fn difference(&self, other: &ActiveIndex) -> Result<Option<WorkflowId>, StoreError> {
        let ids: BTreeSet<_> = self.workflows.keys().chain(other.workflows.keys()).collect();
        for id in ids {
            let place = |set: &ActiveIndex| set.get(*id).map(|open| open.chain);
            if place(self) != place(other) || self.state(*id)? != other.state(*id)? {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    pub(super) fn get(&self, id: WorkflowId) -> Option<&ActiveWorkflow> {
        self.workflows.get(&id)
    }

    /// The state of an open workflow.
    pub(super) fn state(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.workflows.get(&id).map(|open| self.dictionary.unpack(id, &open.packed)).transpose()
    }

    pub(super) fn len(&self) -> usize {
        self.workflows.len()
    }

    /// How many of each tenant's are open, in the order of their names.
    pub(super) fn by_tenant(&self) -> Vec<(Arc<str>, usize)> {
        let mut tenants: Vec<_> =
            self.tenants.iter().map(|(tenant, count)| (Arc::clone(tenant), *count)).collect();
        tenants.sort();
        tenants
    }

    /// How many of a tenant's are open.
    pub(super) fn len_of(&self, tenant: &str) -> usize {
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    /// Takes the state of a workflow after some transitions; forgets it if it has ended. Of one that is known here,
    /// only the last row of `chain` counts.
    pub(super) fn put(&mut self, state: &Workflow, chain: Chain) {
        let id = state.id;
        if is_over(state) {
            if let Some(before) = self.workflows.remove(&id) {
                self.set_timers(id, before.deadlines, Deadlines::default());
                self.uncount(state);
            }
            return;
        }
        let deadlines = state.deadlines();
        let packed = self.dictionary.pack(state, &mut self.buffer);
        debug_assert_eq!(self.dictionary.unpack(id, &packed).as_ref(), Ok(state));
        let sequence = state.sequence;
        match self.workflows.entry(id) {
            Entry::Vacant(new) => {
                new.insert(ActiveWorkflow { packed, sequence, chain, deadlines });
                self.set_timers(id, Deadlines::default(), deadlines);
                count(&mut self.tenants, state);
            }
            Entry::Occupied(mut known) => {
                let open = known.get_mut();
                let before = open.deadlines;
                let chain = Chain { last: chain.last, ..open.chain };
                *open = ActiveWorkflow { packed, sequence, chain, deadlines };
                self.set_timers(id, before, deadlines);
            }
        }
    }

    fn set_timers(&mut self, id: WorkflowId, before: Deadlines, now: Deadlines) {
        let rows = due_rows(id, before).into_iter().zip(due_rows(id, now));
        for ((before, now), index) in rows.zip([&mut self.timers, &mut self.appointments]) {
            if before == now {
                continue;
            }
            if let Some(before) = before {
                index.remove(&before);
            }
            index.extend(now);
        }
    }

    /// A tenant that has none left is forgotten.
    fn uncount(&mut self, state: &Workflow) {
        let Some(tenant) = tenant(state) else { return };
        if let Some(count) = self.tenants.get_mut(tenant) {
            *count -= 1;
            if *count == 0 {
                self.tenants.remove(tenant);
            }
        }
    }

    /// Says in which one entry a workflow's chain is from now on, the state staying as it is.
    pub(super) fn move_chain(&mut self, id: WorkflowId, to: Cursor) {
        if let Some(open) = self.workflows.get_mut(&id) {
            (open.chain.first, open.chain.last) = (to, to);
        }
    }

    pub(super) fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueWorkflow> {
        let behind = self.due_after(clock, after);
        behind.take_while(|due| due.at <= until).take(limit).copied().collect()
    }

    pub(super) fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis> {
        self.due_after(clock, after).next().map(|due| due.at)
    }

    fn due_after(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> impl Iterator<Item = &DueWorkflow> {
        // The last kind of deadline sorts behind every row of the same time and workflow.
        let bound = after.map_or(Bound::Unbounded, |(at, id)| {
            Bound::Excluded(DueWorkflow { at, id, kind: DeadlineKind::UnconfirmedAfter })
        });
        let index = match clock {
            ClockKind::Engine => &self.timers,
            ClockKind::Wall => &self.appointments,
        };
        index.range((bound, Bound::Unbounded))
    }

    /// Up to `limit` ids between two others, from one end or the other.
    pub(super) fn ids(
        &self,
        (from, to): (Option<WorkflowId>, Option<WorkflowId>),
        newest_first: bool,
        limit: usize,
    ) -> Vec<WorkflowId> {
        let bound = |id: Option<WorkflowId>| id.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.workflows.range((bound(from), bound(to))).map(|(id, _)| *id);
        if newest_first { ids.rev().take(limit).collect() } else { ids.take(limit).collect() }
    }

    pub(super) fn ids_after(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.ids((after, None), false, limit)
    }
}

/// Whether nothing can happen to it any more. An attempt may still be out when its workflow ends;
/// then its answer is awaited, and recorded.
pub(super) fn is_over(state: &Workflow) -> bool {
    state.has_ended() && state.unanswered().is_empty()
}

/// The workflow of a record with the facts of its rows applied.
pub(super) fn replay<'a>(
    needs: &mut RequirementInterner,
    record: &Record,
    rows: impl IntoIterator<Item = (Moment, &'a [Fact])>,
) -> Workflow {
    let mut workflow = needs.workflow(record);
    for (at, facts) in rows {
        for fact in facts {
            workflow.apply(at, fact);
        }
    }
    workflow
}

/// The timer and the appointment.
fn due_rows(id: WorkflowId, deadlines: Deadlines) -> [Option<DueWorkflow>; 2] {
    [deadlines.timer, deadlines.appointment].map(|deadline| {
        deadline.map(|deadline| DueWorkflow { at: deadline.at, id, kind: deadline.kind })
    })
}

/// Whether a workflow is a tenant's.
pub(super) fn is_of(state: &Workflow, name: &str) -> bool {
    tenant(state).is_some_and(|tenant| **tenant == *name)
}

/// Whose a workflow is.
fn tenant(state: &Workflow) -> Option<&Arc<str>> {
    state.steps.first().map(|step| &step.requirement.tenant)
}

fn count(tenants: &mut HashMap<Arc<str>, usize>, state: &Workflow) {
    let Some(tenant) = tenant(state) else { return };
    match tenants.get_mut(tenant) {
        Some(count) => *count += 1,
        None => {
            tenants.insert(Arc::clone(tenant), 1);
        }
    }
}
