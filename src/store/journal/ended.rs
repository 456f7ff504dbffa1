//! Where an ended workflow is, and what a list asks of it: one small row, so that no list has to read the journal
//! for those that it does not show.

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::{
    machine::{Phase, Workflow},
    store::{Cursor, LabelFilter, Row, TenantTag, active::Chain},
};

/// Where the rows of an ended workflow stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedLocation {
    /// The one with its record: its first, or the entry that it was compacted into.
    pub(super) first: Cursor,
    /// Its newest, which leads to all others.
    pub(super) last: Cursor,
    /// How many facts there are.
    pub(super) sequence: u32,
    /// Where its newest transition stood: before `last`, since it was compacted.
    pub(super) newest: Cursor,
    /// Of whose it is, so that others' lists need not read it.
    pub(super) tenant: TenantTag,
    /// When its newest transition was. Retention counts from here, so that whoever reads a row finds what it belongs
    /// to.
    pub(super) at: UnixMillis,
    /// When it ended: what is told later does not lengthen the life of its contents.
    pub(super) ended_at: UnixMillis,
    /// How.
    pub(super) phase: Phase,
    /// Of its labels and its reference.
    pub(super) labels: LabelFilter,
}

impl EndedLocation {
    /// Of a workflow that is over with `newest`, its newest transition.
    pub(super) fn of(state: &Workflow, chain: Chain, newest: &Row) -> EndedLocation {
        let Chain { first, last, labels } = chain;
        let at = newest.at.engine;
        EndedLocation {
            first,
            last,
            sequence: newest.sequence + newest.facts.len() as u32 - 1,
            newest: newest.cursor,
            tenant: TenantTag::of(&newest.tenant),
            at,
            ended_at: state.ended_at.map_or(at, |ended| ended.engine),
            phase: state.phase,
            labels,
        }
    }

    /// Where its rows stand.
    pub(super) fn chain(&self) -> Chain {
        Chain { first: self.first, last: self.last, labels: self.labels }
    }
}
