//! What is open, in memory: states and deadlines.
//!
//! A projection of the journal. Both embedded stores keep one and rebuild it at start.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use dispatch_contract::UnixMillis;

use super::{Cursor, DueRow, Record};
use crate::machine::{Deadline, Fact, Need, Workflow, WorkflowId};

/// Shares equal [`Need`]s between workflows: a million workflows have few different senders.
#[derive(Debug, Default)]
pub struct Needs(HashSet<Arc<Need>>);

/// The open workflows.
#[derive(Debug, Default)]
pub(super) struct OpenSet {
    workflows: HashMap<WorkflowId, Open>,
    timers: BTreeSet<DueRow>,
}

/// An open workflow.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) state: Workflow,
    /// The oldest journal row of its chain.
    pub(super) first: Cursor,
    /// The newest: the head of its chain.
    pub(super) last: Cursor,
    deadline: Option<Deadline>,
}

impl Needs {
    /// An equal need that others share.
    pub fn share(&mut self, need: Need) -> Arc<Need> {
        if let Some(shared) = self.0.get(&need) {
            return Arc::clone(shared);
        }
        let need = Arc::new(need);
        self.0.insert(Arc::clone(&need));
        need
    }

    /// The workflow of a record, before its first fact.
    pub fn workflow(&mut self, record: &Record) -> Workflow {
        let needs: Vec<_> = (0..record.plan.steps.len())
            .filter_map(|index| record.plan.need(&record.tenant, index))
            .map(|need| self.share(need))
            .collect();
        Workflow::new(record.id, record.created_at, &record.plan, needs, record.terms)
    }
}

impl OpenSet {
    pub(super) fn get(&self, id: WorkflowId) -> Option<&Open> {
        self.workflows.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.workflows.len()
    }

    /// Takes the state of a workflow after a transition; forgets it if it has ended.
    pub(super) fn put(&mut self, state: Workflow, last: Cursor) {
        let id = state.id;
        let before = self.workflows.remove(&id);
        let first = before.as_ref().map_or(last, |open| open.first);
        if let Some(due) = before.as_ref().and_then(|open| due_row(id, open.deadline)) {
            self.timers.remove(&due);
        }
        if is_over(&state) {
            return;
        }
        let deadline = state.deadline();
        self.timers.extend(due_row(id, deadline));
        self.workflows.insert(id, Open { state, first, last, deadline });
    }

    /// Says where a workflow's chain is, the state staying as it is.
    pub(super) fn move_chain(&mut self, id: WorkflowId, first: Cursor, last: Cursor) {
        if let Some(open) = self.workflows.get_mut(&id) {
            (open.first, open.last) = (first, last);
        }
    }

    pub(super) fn due(
        &self,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueRow> {
        self.timers_after(after).take_while(|due| due.at <= until).take(limit).copied().collect()
    }

    pub(super) fn next_due(&self, after: Option<(UnixMillis, WorkflowId)>) -> Option<UnixMillis> {
        self.timers_after(after).next().map(|due| due.at)
    }

    fn timers_after(
        &self,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> impl Iterator<Item = &DueRow> {
        // The last kind of deadline sorts behind every row of the same time and workflow.
        let bound = after.map_or(Bound::Unbounded, |(at, id)| {
            Bound::Excluded(DueRow { at, id, due: crate::machine::Due::FinalWait })
        });
        self.timers.range((bound, Bound::Unbounded))
    }

    pub(super) fn ids_after(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        let mut ids: Vec<_> = self
            .workflows
            .keys()
            .copied()
            .filter(|id| after.is_none_or(|after| *id > after))
            .collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }
}

/// Whether nothing can happen to it any more. An attempt may still be out when its workflow ends;
/// then its answer is awaited, and recorded.
pub(super) fn is_over(state: &Workflow) -> bool {
    state.has_ended() && state.unanswered().is_empty()
}

/// The workflow of a record with the facts of its rows applied.
pub(super) fn replay<'a>(
    needs: &mut Needs,
    record: &Record,
    rows: impl IntoIterator<Item = (UnixMillis, &'a [Fact])>,
) -> Workflow {
    let mut workflow = needs.workflow(record);
    for (at, facts) in rows {
        for fact in facts {
            workflow.apply(at, fact);
        }
    }
    workflow
}

fn due_row(id: WorkflowId, deadline: Option<Deadline>) -> Option<DueRow> {
    deadline.map(|deadline| DueRow { at: deadline.at, id, due: deadline.due })
}
