//! Reading beside the writer: only what is durable. A timeline that is still open is read under the
//! lock that the writer takes to publish a batch; everything else is read without it.

use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering};

use super::{Closing, Kept, Shared, keys, tree};
use crate::{
    machine::{Workflow, WorkflowId},
    store::{
        Cursor, Entry, Filter, Incarnation, Needs, Page, Parked, Reader, Record, Row, StoreError,
        codec,
        memory::LIST_SCAN,
        open::{OpenSet, replay},
    },
};

impl Shared {
    // The set is a projection, rebuilt at start; a reader that panicked has not changed it.
    pub(super) fn open(&self) -> RwLockReadGuard<'_, OpenSet> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open_mut(&self) -> RwLockWriteGuard<'_, OpenSet> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The timeline of an open workflow, from its newest row back; empty if it is not open.
    pub(super) fn chain(&self, id: WorkflowId) -> Result<(Vec<Row>, Vec<Vec<u8>>), StoreError> {
        // Held all the way: retention waits, and does not take a row that is about to be read.
        let open = self.open();
        let mut next = open.get(id).map_or(Cursor(0), |open| open.last);
        let mut newest_first = Vec::new();
        let mut all_messages = Vec::new();
        while next != Cursor(0) {
            let key = keys::journal(next);
            let Some(kept) = self.tree.decode(&key)? else {
                return Err(StoreError::Corrupt {
                    place: tree::place(&key),
                    problem: format!("this row of workflow {id} is missing"),
                });
            };
            match kept {
                Kept::Row { previous, row, messages } => {
                    newest_first.push(row);
                    all_messages.extend(messages);
                    next = previous;
                }
                Kept::Carried { rows, messages, .. } => {
                    newest_first.extend(rows.into_iter().rev());
                    all_messages.extend(messages);
                    next = Cursor(0);
                }
            }
        }
        newest_first.reverse();
        Ok((newest_first, all_messages))
    }

    /// The timeline of an ended workflow: its closing row, and what came after it.
    pub(super) fn closed(&self, id: WorkflowId) -> Result<(Vec<Row>, Vec<Vec<u8>>), StoreError> {
        let Some(Closing { mut rows, mut messages }) = self.tree.decode(&keys::closing(id))? else {
            return Ok(Default::default());
        };
        let durable = self.newest();
        let from = keys::late_prefix(id);
        let to = keys::late(id, Cursor(u64::MAX));
        for late in self.tree.range(from, to) {
            let (key, value) = late?;
            let row: Row = codec::decode(&value, || tree::place(&key))?;
            if row.cursor > durable {
                continue;
            }
            // Retention may have taken the journal's copy, and with it nothing that matters.
            let copy = self.tree.decode(&keys::journal(row.cursor))?;
            if let Some(Kept::Row { messages: own, .. }) = copy {
                messages.extend(own);
            }
            rows.push(row);
        }
        Ok((rows, messages))
    }

    /// How many facts an ended workflow has.
    pub(super) fn closed_sequence(&self, id: WorkflowId) -> Result<u32, StoreError> {
        let (rows, _) = self.closed(id)?;
        Ok(rows.last().map_or(0, |row| row.sequence + row.facts.len() as u32 - 1))
    }

    /// What happened, oldest first, and the workflow's rows in the index of messages. A workflow
    /// that closes meanwhile is looked up once more.
    fn rows(&self, id: WorkflowId) -> Result<(Vec<Row>, Vec<Vec<u8>>), StoreError> {
        let is_open = self.open().get(id).is_some();
        if is_open {
            let (rows, messages) = self.chain(id)?;
            if !rows.is_empty() {
                return Ok((rows, messages));
            }
        }
        self.closed(id)
    }
}

impl Reader for Shared {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn record(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, StoreError> {
        Ok(self.tree.decode(&keys::record(id))?.map(Arc::new))
    }

    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        if let Some(open) = self.open().state(id)? {
            return Ok(Some(open));
        }
        let (rows, _) = self.closed(id)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let Some(record) = self.record(id)? else { return Ok(None) };
        let rows = rows.iter().map(|row| (row.at, row.facts.as_slice()));
        Ok(Some(replay(&mut Needs::default(), &record, rows)))
    }

    fn timeline(&self, id: WorkflowId) -> Result<Vec<Arc<Row>>, StoreError> {
        let (rows, _) = self.rows(id)?;
        Ok(rows.into_iter().map(Arc::new).collect())
    }

    fn after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError> {
        let durable = self.newest();
        let from = keys::journal(Cursor(cursor.0.saturating_add(1)));
        let to = keys::journal(Cursor(durable.0.saturating_add(1)));
        let mut rows = Vec::new();
        let mut failed = None;
        for row in self.tree.range(from.clone(), to.max(from)) {
            let kept = row.and_then(|(key, value)| codec::decode(&value, || tree::place(&key)));
            match kept {
                Ok(Kept::Row { row, .. }) => rows.push(Arc::new(row)),
                // Not a transition: everything in it was in the journal before.
                Ok(Kept::Carried { .. }) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            if rows.len() == limit {
                break;
            }
        }
        // Asked last, so that a sweep meanwhile is noticed; it may also be why a row failed.
        if cursor < self.oldest() {
            return Err(StoreError::Trimmed(self.oldest()));
        }
        failed.map_or(Ok(rows), Err)
    }

    fn newest(&self) -> Cursor {
        Cursor(self.durable.load(Ordering::Acquire))
    }

    fn oldest(&self) -> Cursor {
        Cursor(self.edge.load(Ordering::Acquire))
    }

    fn list(
        &self,
        filter: &Filter,
        after: Option<WorkflowId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let to = after.map_or(vec![b'r' + 1], keys::record);
        for (looked_at, row) in self.tree.range(vec![b'r'], to).rev().enumerate() {
            if page.workflows.len() == limit || looked_at == LIST_SCAN {
                return Ok(page);
            }
            let (key, value) = row?;
            let Some(id) = keys::workflow_of(&key) else { continue };
            page.next = Some(id);
            let record: Record = codec::decode(&value, || tree::place(&key))?;
            if let Some(workflow) = self.workflow(id)?
                && filter.admits(&record, &workflow)
            {
                page.workflows.push((Arc::new(record), workflow));
            }
        }
        page.next = None;
        Ok(page)
    }

    fn entries(&self, after: Option<WorkflowId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        // The least key behind a record's is that key and one byte more.
        let from = after.map_or(vec![b'r'], |id| [keys::record(id), vec![0]].concat());
        let mut entries = Vec::new();
        for row in self.tree.range(from, vec![b'r' + 1]).take(limit) {
            let (key, value) = row?;
            let record: Record = codec::decode(&value, || tree::place(&key))?;
            let (rows, keys) = self.rows(record.id)?;
            let mut messages = Vec::new();
            for key in keys {
                let found: Option<(WorkflowId, u16)> = self.tree.decode(&key)?;
                if let (Some((id, number)), Some(key)) = (found, keys::message_key(&key))
                    && id == record.id
                {
                    messages.push((key, number));
                }
            }
            messages.sort_unstable();
            entries.push(Entry { record, rows, messages });
        }
        Ok(entries)
    }

    fn open_of(&self, tenant: &str) -> usize {
        self.open().len_of(tenant)
    }

    fn parked(&self) -> Result<Vec<Parked>, StoreError> {
        let rows = self.tree.range(vec![b'k'], vec![b'k' + 1]);
        rows.map(|row| row.and_then(|(key, value)| codec::decode(&value, || tree::place(&key))))
            .collect()
    }
}
