//! Who follows what happens is told each event once and in order, and hears of whatever is gone before it was told.

use std::sync::Arc;

use dispatch::{
    grpc::{Position, StatusTarget},
    machine::{Fact, WorkflowId},
    store::{Cursor, Reader, Row},
};

use super::{Broken, Fine, Judge, STREAMS};

/// How far somebody who follows was told what happens.
#[derive(Clone, Debug)]
pub struct Following {
    pub target: StatusTarget,
    /// The row of the journal that comes next, and which of its facts.
    row: usize,
    fact: usize,
}

impl Following {
    pub fn of(target: StatusTarget) -> Following {
        Following { target, row: 0, fact: 0 }
    }

    /// The one workflow that it follows.
    pub fn workflow(&self) -> Option<WorkflowId> {
        match &self.target {
            StatusTarget::Workflow { id, .. } => Some(*id),
            StatusTarget::Many { .. } => None,
        }
    }

    fn follows_late(&self) -> bool {
        matches!(self.target, StatusTarget::Workflow { follow_late: true, .. })
    }

    fn want(&self, holds: bool, detail: impl FnOnce() -> String) -> Fine {
        if holds {
            return Ok(());
        }
        let detail = format!("{:?}: {}", self.target, detail());
        Err(Broken { rule: STREAMS, detail, workflow: self.workflow() })
    }
}

impl Judge {
    /// It begins, or begins anew, behind `position`: with what is kept if it asked for the beginning, and with what comes
    /// now otherwise.
    pub fn begins(&self, it: &mut Following, position: Position, from_beginning: bool) -> Fine {
        (it.row, it.fact) = (self.rows_to(position.cursor), 0);
        match it.row.checked_sub(1).filter(|_| from_beginning) {
            Some(last) => it.want(self.may_be_missed(last), || {
                format!("it begins behind {position:?}, and {:?} is young", self.journal[last])
            }),
            None => it.want(from_beginning || it.row == self.journal.len(), || {
                format!("now is {position:?}, and there is {:?}", self.journal.last())
            }),
        }
    }

    /// It is told a fact of a row.
    pub fn streamed(&self, it: &mut Following, row: &Row, index: usize) -> Fine {
        let next = self.next_of(it).map(|row| (row.cursor, it.fact));
        it.want(next == Some((row.cursor, index)), || {
            format!("it is told fact {index} of {row:?}, and the next is {next:?}")
        })?;
        it.fact += 1;
        Ok(())
    }

    /// It is told that there is nothing before `position` that it was not told.
    pub fn bookmarked(&self, it: &mut Following, position: Position) -> Fine {
        let next = self.next_of(it).map(|row| (row.cursor, it.fact as u32));
        it.want(next.is_none_or(|next| next >= (position.cursor, position.seen)), || {
            format!("a bookmark is {position:?}, and the next is {next:?}")
        })
    }

    /// It waits for news, at `position`.
    pub fn waits(&self, it: &mut Following, position: Position, reader: &dyn Reader) -> Fine {
        let next = self.next_of(it);
        it.want(next.is_none(), || format!("it waits, and {next:?} is durable"))?;
        match it.workflow() {
            None => {
                let newest = self.journal.last().map_or(Cursor(0), |row| row.cursor);
                it.want(position.cursor >= newest, || {
                    format!("it has seen all up to {newest:?}, and says {position:?}")
                })
            }
            Some(id) => {
                let is_over = self.cases.get(&id).is_none_or(|case| case.ended.is_some());
                it.want(it.follows_late() || !is_over, || "it waits behind the end".to_owned())?;
                let is_kept = reader.record(id).is_ok_and(|record| record.is_some());
                it.want(is_kept, || "it waits for what is forgotten".to_owned())
            }
        }
    }

    /// It was told that it has missed something at `position`, unless it goes on behind `oldest`; which it does.
    pub fn too_old(
        &self,
        it: &mut Following,
        position: Position,
        oldest: Position,
        reader: &dyn Reader,
    ) -> Fine {
        let said = || format!("at {position:?} it is told that the oldest is {oldest:?}");
        let rows = self.rows_to(oldest.cursor);
        let last = rows.checked_sub(1);
        let is_row = last.is_some_and(|last| Position::behind(self.journal[last].cursor) == oldest);
        it.want(is_row, || format!("{}, which is no row", said()))?;
        it.want(last.is_some_and(|last| self.may_be_missed(last)), || {
            format!("{}, and that is young", said())
        })?;
        it.want(position < oldest, || format!("{}, and it has seen that", said()))?;
        it.want(oldest.cursor >= reader.oldest(), || {
            format!("{}, and that is {:?}", said(), reader.oldest())
        })?;
        if let Some(id) = it.workflow() {
            let has_missed = self.next_of(it).is_some();
            it.want(has_missed && self.may_be_gone(id), || format!("{}: it is not", said()))?;
        }
        (it.row, it.fact) = (it.row, it.fact).max((rows, 0));
        Ok(())
    }

    /// It was told that there is no such workflow.
    pub fn not_found(&self, it: &Following, id: WorkflowId) -> Fine {
        let is_it = it.workflow() == Some(id);
        it.want(is_it && self.may_be_gone(id), || format!("{id} is not found"))
    }

    /// It ended, as if all were told.
    pub fn complete(&self, it: &mut Following, reader: &dyn Reader) -> Fine {
        let id = it.workflow();
        it.want(id.is_some(), || "it ends".to_owned())?;
        let Some((id, case)) = id.and_then(|id| Some((id, self.cases.get(&id)?))) else {
            return Ok(());
        };
        let next =
            self.next_of(it).map_or(case.told.len(), |row| row.sequence as usize - 1 + it.fact);
        let is_end = |(_, fact): &(_, Fact)| matches!(fact, Fact::Ended(_));
        it.want(case.told[..next].iter().any(is_end), || {
            format!("it ends behind {next} facts: {:?}", case.told)
        })?;
        let is_kept = reader.record(id).is_ok_and(|record| record.is_some());
        it.want(!it.follows_late() || next == case.told.len() && !is_kept, || {
            "it ends, though late receipts may come".to_owned()
        })
    }

    /// The row that it is told of next, if there is any.
    fn next_of(&self, it: &mut Following) -> Option<&Arc<Row>> {
        while let Some(row) = self.journal.get(it.row) {
            if it.fact < row.facts.len() && self.is_followed(it, row) {
                return Some(row);
            }
            (it.row, it.fact) = (it.row + 1, 0);
        }
        None
    }

    fn is_followed(&self, it: &Following, row: &Row) -> bool {
        let (tenant, labels) = match &it.target {
            StatusTarget::Workflow { id, .. } => return row.workflow == *id,
            StatusTarget::Many { tenant, labels } => (tenant, labels),
        };
        let Some(case) = self.cases.get(&row.workflow) else { return false };
        let has = &case.record.plan.labels;
        tenant.as_ref().is_none_or(|tenant| case.record.tenant == *tenant)
            && labels.iter().all(|(key, value)| has.get(key) == Some(value))
    }

    /// How many rows there were up to a cursor.
    fn rows_to(&self, cursor: Cursor) -> usize {
        self.journal.partition_point(|row| row.cursor <= cursor)
    }

    /// Whether a row, and so all before it, is past retention.
    fn may_be_missed(&self, row: usize) -> bool {
        self.journal[row].at.engine.0 < self.past()
    }
}
