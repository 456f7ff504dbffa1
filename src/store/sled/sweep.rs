//! Retention: the journal's left edge moves to the right.
//!
//! An ended workflow goes when the row that ended it passes the edge. One that is still open is
//! carried: its timeline so far is written once more at the right end, in the same batch that
//! drops the row, so that a replay from the edge always finds all of it.

use std::{collections::HashSet, sync::atomic::Ordering};

use dispatch_contract::UnixMillis;

use super::{Closing, Kept, SledStore, keys, tree, tree::Writes};
use crate::{
    machine::WorkflowId,
    store::{Cursor, Record, StoreError, Swept, codec},
};

impl SledStore {
    pub(super) fn sweep_some(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let mut writes = Writes::default();
        let mut edge = Cursor(self.shared.edge.load(Ordering::Acquire));
        let mut newest = self.newest;
        let mut carried: HashSet<WorkflowId> = HashSet::new();
        let mut forgotten: HashSet<WorkflowId> = HashSet::new();
        let mut moved = Vec::new();
        let shared = std::sync::Arc::clone(&self.shared);
        for kept in shared.tree.range(vec![b'j'], vec![b'j' + 1]).take(budget) {
            let (key, value) = kept?;
            let Some(cursor) = keys::cursor_of(&key) else { continue };
            let (id, at, own) = match codec::decode(&value, || tree::place(&key))? {
                Kept::Row { row, messages, .. } => (row.workflow, row.at, messages),
                Kept::Carried { workflow, at, .. } => (workflow, at, Vec::new()),
            };
            if at >= before || cursor > self.newest {
                break;
            }
            let first = shared.open().get(id).map(|open| open.first);
            match first {
                // The chain must not lose its beginning. A row before that was carried already.
                Some(first) if cursor >= first && !carried.contains(&id) => {
                    let (rows, messages) = shared.chain(id)?;
                    newest = Cursor(newest.0 + 1);
                    let kept = Kept::Carried { workflow: id, at: now, rows, messages };
                    writes.put(keys::journal(newest), &kept)?;
                    carried.insert(id);
                    moved.push((id, newest));
                    swept.carried += 1;
                }
                Some(_) => {}
                None => {
                    if !forgotten.contains(&id) && forget(&shared, id, cursor, &mut writes)? {
                        forgotten.insert(id);
                        swept.workflows += 1;
                    }
                    // What came after the end was in no closing row, and neither were its index rows.
                    if forgotten.contains(&id) || !shared.tree.has(&keys::record(id))? {
                        for message in own {
                            shared.tree.remove(&mut writes, message)?;
                        }
                    }
                }
            }
            shared.tree.remove(&mut writes, key)?;
            edge = cursor;
            swept.rows += 1;
        }
        if swept.rows == 0 {
            return Ok(swept);
        }
        writes.put(keys::EDGE.to_vec(), &edge)?;
        // Readers must neither walk a chain whose beginning is going, nor read over the gap without
        // noticing; if the commit fails, the process ends.
        let mut open = shared.open_mut();
        shared.edge.store(edge.0, Ordering::Release);
        self.keep(writes)?;
        self.shared.note(newest)?;
        self.newest = newest;
        if swept.carried > 0 {
            self.last_time = self.last_time.max(now);
        }
        for (id, carried_to) in moved {
            open.move_chain(id, carried_to, carried_to);
        }
        drop(open);
        shared.durable.store(newest.0, Ordering::Release);
        Ok(swept)
    }
}

/// Drops all that is kept of an ended workflow, if the row at `cursor` was the last before it closed:
/// while an earlier one is in the journal a start needs the record. Whether it did.
fn forget(
    shared: &super::Shared,
    id: WorkflowId,
    cursor: Cursor,
    writes: &mut Writes,
) -> Result<bool, StoreError> {
    let Some(Closing { rows, messages }) = shared.tree.decode(&keys::closing(id))? else {
        return Ok(false);
    };
    if rows.last().is_some_and(|last| last.cursor > cursor) {
        return Ok(false);
    }
    for key in messages {
        shared.tree.remove(writes, key)?;
    }
    if let Some(record) = shared.tree.decode::<Record>(&keys::record(id))?
        && let Some(request_id) = &record.request_id
    {
        shared.tree.remove(writes, keys::request(&record.tenant, request_id))?;
    }
    for late in shared.tree.range(keys::late_prefix(id), keys::late(id, Cursor(u64::MAX))) {
        let (key, _) = late?;
        shared.tree.remove(writes, key)?;
    }
    shared.tree.remove(writes, keys::record(id))?;
    shared.tree.remove(writes, keys::closing(id))?;
    Ok(true)
}
