//! Reading beside the writer: only what is durable.
//!
//! Nothing is locked while the disk is read. Retention may move or forget a workflow meanwhile: then
//! its rows are looked for once more where they are now.

use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering};

use super::{EndedLocation, JournalEntry, Previous, SledInner, keys, tree};
use crate::{
    machine::{Workflow, WorkflowId},
    store::{
        Cursor, Entry, ExistingRequest, Filter, HeldReceipt, Incarnation, MessagePart, Page,
        Reader, ReceiptKey, Record, RequirementInterner, Row, StoreError, TenantTag, WorkflowEnd,
        active::{ActiveIndex, replay},
        codec::{self, weight},
        types::{LIST_PASS, LIST_SCAN, PAGE_BYTES},
    },
};

/// How many ids are looked up at once for a list.
const IDS: usize = 64;

/// All that is kept of a workflow.
pub(super) struct History {
    pub(super) record: Arc<Record>,
    /// What happened, oldest first.
    pub(super) rows: Vec<Arc<Row>>,
    /// Its rows in the index of messages.
    pub(super) messages: Vec<ReceiptKey>,
}

/// Where a workflow's rows stand: the ends of its chain.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ChainEnds {
    first: Cursor,
    last: Cursor,
}

impl SledInner {
    // The set is a projection, rebuilt at start; a reader that panicked has not changed it.
    pub(super) fn active(&self) -> RwLockReadGuard<'_, ActiveIndex> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn active_mut(&self) -> RwLockWriteGuard<'_, ActiveIndex> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self, id: WorkflowId) -> Result<Option<ChainEnds>, StoreError> {
        // In this order: whoever ends has its small row before it leaves the set.
        if let Some(open) = self.active().get(id) {
            return Ok(Some(ChainEnds { first: open.first, last: open.last }));
        }
        let ended: Option<EndedLocation> = self.tree.decode(&keys::ended(id))?;
        Ok(ended.map(|EndedLocation { first, last, .. }| ChainEnds { first, last }))
    }

    /// Reads at a workflow's ends, and again if it was moved meanwhile.
    fn at_ends<T>(
        &self,
        id: WorkflowId,
        read: impl Fn(ChainEnds) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut ends = self.ends(id)?;
        while let Some(there) = ends {
            match read(there) {
                Ok(found) => return Ok(Some(found)),
                Err(error) => {
                    ends = self.ends(id)?;
                    if ends == Some(there) {
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    /// All that is kept of a workflow; `None` if there is none of that id.
    pub(super) fn history(&self, id: WorkflowId) -> Result<Option<History>, StoreError> {
        let history = self.at_ends(id, |ends| {
            let history = self.walk(ends.last)?;
            if history.record.id == id { Ok(history) } else { Err(not_of(id, ends.last)) }
        })?;
        // One whose first row is not durable yet.
        Ok(history.filter(|history| !history.rows.is_empty()))
    }

    /// From a workflow's newest row back.
    fn walk(&self, last: Cursor) -> Result<History, StoreError> {
        let durable = self.newest();
        let (mut rows, mut messages) = (Vec::new(), Vec::new());
        let mut next = last;
        let record = loop {
            match self.chunks.row_at(&self.tree, next)? {
                JournalEntry::Row { previous, row, messages: own } => {
                    if row.cursor <= durable {
                        rows.push(row);
                        messages.extend(own);
                    }
                    match previous {
                        Previous::Row(previous) if previous < next => next = previous,
                        Previous::Row(_) => return Err(missing_before(next)),
                        Previous::Start(record) => break record,
                    }
                }
                JournalEntry::Compacted { record, rows: older, messages: own, .. } => {
                    rows.extend(older.into_iter().rev());
                    messages.extend(own);
                    break record;
                }
            }
        };
        rows.reverse();
        Ok(History { record, rows, messages })
    }

    /// The ids of some workflows, open or ended, between two others: from one end or the other.
    fn ids(
        &self,
        (from, to): (Option<WorkflowId>, Option<WorkflowId>),
        newest_first: bool,
    ) -> Result<Vec<WorkflowId>, StoreError> {
        // In this order, as in `ends`.
        let mut ids = self.active().ids((from, to), newest_first, IDS);
        // The least key behind another is that key and one byte more.
        let from = from.map_or(vec![b'e'], |id| [keys::ended(id), vec![0]].concat());
        let rows = self.tree.range(from, to.map_or(vec![b'e' + 1], keys::ended));
        let rows: Vec<_> =
            if newest_first { rows.rev().take(IDS).collect() } else { rows.take(IDS).collect() };
        for row in rows {
            ids.extend(keys::ended_of(&row?.0));
        }
        ids.sort_unstable();
        ids.dedup();
        if newest_first {
            ids.reverse();
        }
        ids.truncate(IDS);
        Ok(ids)
    }

    /// Whether it may be a tenant's: the cheap question, before it is read.
    fn may_be_of(&self, tenant: &str, id: WorkflowId) -> Result<bool, StoreError> {
        // In this order, as in `ends`.
        if let Some(is_of) = self.active().is_of(tenant, id)? {
            return Ok(is_of);
        }
        let ended: Option<EndedLocation> = self.tree.decode(&keys::ended(id))?;
        Ok(ended.is_some_and(|ended| ended.tenant == TenantTag::of(tenant)))
    }

    fn some_after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError> {
        let durable = self.newest();
        let mut rows = Vec::new();
        for chunk in self.tree.chunks(Cursor(cursor.0.saturating_add(1)))? {
            for entry in chunk?.rows() {
                let (at, entry) = entry?;
                if at > durable || rows.len() == limit {
                    return Ok(rows);
                }
                match entry {
                    JournalEntry::Row { row, .. } if at > cursor => rows.push(row),
                    // What was compacted is no transition: all of it was in the journal before.
                    JournalEntry::Row { .. } | JournalEntry::Compacted { .. } => {}
                }
            }
        }
        Ok(rows)
    }

    /// Of an ended one both stand in its rows, which are read once.
    fn record_and_state(
        &self,
        id: WorkflowId,
    ) -> Result<Option<(Arc<Record>, Workflow)>, StoreError> {
        let open = self.active().state(id)?;
        match open {
            Some(state) => Ok(self.record(id)?.map(|record| (record, state))),
            None => Ok(self.history(id)?.map(|history| {
                let state = Self::replayed(&history);
                (history.record, state)
            })),
        }
    }

    fn replayed(history: &History) -> Workflow {
        let rows = history.rows.iter().map(|row| (row.at, row.facts.as_slice()));
        replay(&mut RequirementInterner::default(), &history.record, rows)
    }
}

impl Reader for SledInner {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn former_incarnations(&self) -> Vec<Incarnation> {
        self.former.clone()
    }

    fn record(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, StoreError> {
        self.at_ends(id, |ends| match self.chunks.row_at(&self.tree, ends.first)? {
            JournalEntry::Row { previous: Previous::Start(record), .. }
            | JournalEntry::Compacted { record, .. }
                if record.id == id =>
            {
                Ok(record)
            }
            _ => Err(not_of(id, ends.first)),
        })
    }

    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        if let Some(open) = self.active().state(id)? {
            return Ok(Some(open));
        }
        Ok(self.history(id)?.map(|history| Self::replayed(&history)))
    }

    fn end_of(&self, id: WorkflowId) -> Result<WorkflowEnd, StoreError> {
        // In this order, as in `ends`.
        if self.active().get(id).is_some() {
            return Ok(WorkflowEnd::Open);
        }
        let ended: Option<EndedLocation> = self.tree.decode(&keys::ended(id))?;
        Ok(ended.map_or(WorkflowEnd::Unknown, |EndedLocation { ended_at, tenant, .. }| {
            WorkflowEnd::Ended { at: ended_at, tenant }
        }))
    }

    fn requested(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        let found: Option<ExistingRequest> =
            self.tree.decode(&keys::request(tenant, request_id))?;
        // It may be written, and its workflow not yet durable.
        Ok(match found {
            Some(made) if self.workflow(made.id)?.is_none() => None,
            found => found,
        })
    }

    fn timeline(&self, id: WorkflowId) -> Result<Vec<Arc<Row>>, StoreError> {
        Ok(self.history(id)?.map(|history| history.rows).unwrap_or_default())
    }

    fn after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError> {
        let rows = self.some_after(cursor, limit);
        // Asked last, so that a sweep meanwhile is noticed; it may also be why a row failed.
        if cursor < self.oldest() {
            return Err(StoreError::Trimmed(self.oldest()));
        }
        rows
    }

    fn newest(&self) -> Cursor {
        Cursor(self.durable.load(Ordering::Acquire))
    }

    fn oldest(&self) -> Cursor {
        Cursor(self.gone.load(Ordering::Acquire))
    }

    fn list(
        &self,
        filter: &Filter,
        after: Option<WorkflowId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (mut looked_at, mut passed, mut bytes) = (0, 0, 0);
        let (mut page, mut before) = (Page::default(), after);
        loop {
            let ids = self.ids((None, before), true)?;
            if ids.is_empty() {
                page.next = None;
                return Ok(page);
            }
            for id in ids {
                let has_looked =
                    looked_at == LIST_SCAN || passed == LIST_PASS || bytes >= PAGE_BYTES;
                if page.workflows.len() == limit || has_looked {
                    return Ok(page);
                }
                before = Some(id);
                page.next = Some(id);
                if let Some(tenant) = &filter.tenant
                    && !self.may_be_of(tenant, id)?
                {
                    passed += 1;
                    continue;
                }
                looked_at += 1;
                let Some((record, workflow)) = self.record_and_state(id)? else { continue };
                bytes += weight(&record);
                if filter.admits(&record, &workflow) {
                    page.workflows.push((record, workflow));
                }
            }
        }
    }

    fn entries(&self, after: Option<WorkflowId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (mut entries, mut after, mut bytes) = (Vec::new(), after, 0);
        // An empty answer is the end: those that retention forgets meanwhile are none.
        while entries.is_empty() {
            let mut ids = self.ids((after, None), false)?;
            ids.truncate(limit);
            let Some(last) = ids.last() else { break };
            after = Some(*last);
            for id in ids {
                if bytes >= PAGE_BYTES {
                    break;
                }
                let Some(History { record, rows, messages: keys }) = self.history(id)? else {
                    continue;
                };
                let mut messages = Vec::new();
                for key in keys {
                    let found: Option<(WorkflowId, MessagePart)> =
                        self.tree.decode(&keys::found_by(key))?;
                    messages
                        .extend(found.filter(|found| found.0 == id).map(|found| (key, found.1)));
                }
                messages.sort_unstable();
                let rows = rows.into_iter().map(Arc::unwrap_or_clone).collect();
                let entry = Entry { record: Arc::unwrap_or_clone(record), rows, messages };
                bytes += weight(&entry);
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn open_of(&self, tenant: &str) -> usize {
        self.active().len_of(tenant)
    }

    fn open_by_tenant(&self) -> Vec<(Arc<str>, usize)> {
        self.active().by_tenant()
    }

    fn held_receipts(&self) -> Result<Vec<HeldReceipt>, StoreError> {
        let rows = self.tree.range(vec![b'k'], vec![b'k' + 1]);
        rows.map(|row| row.and_then(|(key, value)| codec::decode(&value, || tree::place(&key))))
            .collect()
    }
}

fn missing_before(cursor: Cursor) -> StoreError {
    StoreError::Corrupt {
        place: format!("journal row {}", cursor.0),
        problem: "what it names as the row before it comes later; restore a backup".to_owned(),
    }
}

fn not_of(id: WorkflowId, cursor: Cursor) -> StoreError {
    StoreError::Corrupt {
        place: format!("journal row {}", cursor.0),
        problem: format!("workflow {id} should stand there, and does not; restore a backup"),
    }
}
