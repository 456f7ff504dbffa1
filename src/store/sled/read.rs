//! Reading beside the writer: only what is durable.
//!
//! Nothing is locked while the disk is read. Retention may move or forget a workflow meanwhile: then
//! its rows are looked for once more where they are now.

use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering};

use super::{Before, Ended, Kept, Shared, keys, tenant_tag, tree};
use crate::{
    machine::{Fingerprint, Workflow, WorkflowId},
    store::{
        Cursor, Entry, Filter, HeldReceipt, Incarnation, MessageKey, Page, Reader, Record,
        RequirementInterner, Row, StoreError,
        codec::{self, weight},
        open::{ActiveIndex, replay},
        types::{LIST_PASS, LIST_SCAN, PAGE_BYTES},
    },
};

/// How many ids are looked up at once for a list.
const IDS: usize = 64;

/// All that is kept of a workflow.
pub(super) struct Story {
    pub(super) record: Arc<Record>,
    /// What happened, oldest first.
    pub(super) rows: Vec<Arc<Row>>,
    /// Its rows in the index of messages.
    pub(super) messages: Vec<MessageKey>,
}

/// Where a workflow's rows stand.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    first: Cursor,
    last: Cursor,
}

impl Shared {
    // The set is a projection, rebuilt at start; a reader that panicked has not changed it.
    pub(super) fn open(&self) -> RwLockReadGuard<'_, ActiveIndex> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open_mut(&self) -> RwLockWriteGuard<'_, ActiveIndex> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, id: WorkflowId) -> Result<Option<Place>, StoreError> {
        // In this order: whoever ends has its small row before it leaves the set.
        if let Some(open) = self.open().get(id) {
            return Ok(Some(Place { first: open.first, last: open.last }));
        }
        let ended: Option<Ended> = self.tree.decode(&keys::ended(id))?;
        Ok(ended.map(|Ended { first, last, .. }| Place { first, last }))
    }

    /// Reads at a workflow's place, and again if it was moved meanwhile.
    fn at_place<T>(
        &self,
        id: WorkflowId,
        read: impl Fn(Place) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut place = self.place(id)?;
        while let Some(there) = place {
            match read(there) {
                Ok(found) => return Ok(Some(found)),
                Err(error) => {
                    place = self.place(id)?;
                    if place == Some(there) {
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    /// All that is kept of a workflow; `None` if there is none of that id.
    pub(super) fn story(&self, id: WorkflowId) -> Result<Option<Story>, StoreError> {
        let story = self.at_place(id, |place| {
            let story = self.walk(place.last)?;
            if story.record.id == id { Ok(story) } else { Err(not_of(id, place.last)) }
        })?;
        // One whose first row is not durable yet.
        Ok(story.filter(|story| !story.rows.is_empty()))
    }

    /// From a workflow's newest row back.
    fn walk(&self, last: Cursor) -> Result<Story, StoreError> {
        let durable = self.newest();
        let (mut rows, mut messages) = (Vec::new(), Vec::new());
        let mut next = last;
        let record = loop {
            match self.tree.row_at(next)? {
                Kept::Row { before, row, messages: own } => {
                    if row.cursor <= durable {
                        rows.push(row);
                        messages.extend(own);
                    }
                    match before {
                        Before::Row(before) if before < next => next = before,
                        Before::Row(_) => return Err(missing_before(next)),
                        Before::Nothing(record) => break record,
                    }
                }
                Kept::Carried { record, rows: older, messages: own, .. } => {
                    rows.extend(older.into_iter().rev());
                    messages.extend(own);
                    break record;
                }
            }
        };
        rows.reverse();
        Ok(Story { record, rows, messages })
    }

    /// The ids of some workflows, open or ended, between two others: from one end or the other.
    fn ids(
        &self,
        (from, to): (Option<WorkflowId>, Option<WorkflowId>),
        newest_first: bool,
    ) -> Result<Vec<WorkflowId>, StoreError> {
        // In this order, as in `place`.
        let mut ids = self.open().ids((from, to), newest_first, IDS);
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
        // In this order, as in `place`.
        if let Some(is_of) = self.open().is_of(tenant, id)? {
            return Ok(is_of);
        }
        let ended: Option<Ended> = self.tree.decode(&keys::ended(id))?;
        Ok(ended.is_some_and(|ended| ended.tenant == tenant_tag(tenant)))
    }

    fn some_after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError> {
        let durable = self.newest();
        let mut rows = Vec::new();
        for chunk in self.tree.chunks(Cursor(cursor.0.saturating_add(1)))? {
            for kept in chunk?.rows() {
                let (at, kept) = kept?;
                if at > durable || rows.len() == limit {
                    return Ok(rows);
                }
                match kept {
                    Kept::Row { row, .. } if at > cursor => rows.push(row),
                    // What was carried is no transition: all of it was in the journal before.
                    Kept::Row { .. } | Kept::Carried { .. } => {}
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
        let open = self.open().state(id)?;
        match open {
            Some(state) => Ok(self.record(id)?.map(|record| (record, state))),
            None => Ok(self.story(id)?.map(|story| {
                let state = Self::replayed(&story);
                (story.record, state)
            })),
        }
    }

    fn replayed(story: &Story) -> Workflow {
        let rows = story.rows.iter().map(|row| (row.at, row.facts.as_slice()));
        replay(&mut RequirementInterner::default(), &story.record, rows)
    }
}

impl Reader for Shared {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn record(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, StoreError> {
        self.at_place(id, |place| match self.tree.row_at(place.first)? {
            Kept::Row { before: Before::Nothing(record), .. } | Kept::Carried { record, .. }
                if record.id == id =>
            {
                Ok(record)
            }
            _ => Err(not_of(id, place.first)),
        })
    }

    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        if let Some(open) = self.open().state(id)? {
            return Ok(Some(open));
        }
        Ok(self.story(id)?.map(|story| Self::replayed(&story)))
    }

    fn requested(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<(WorkflowId, Fingerprint)>, StoreError> {
        let found: Option<(WorkflowId, _)> =
            self.tree.decode(&keys::request(tenant, request_id))?;
        // It may be written, and its workflow not yet durable.
        Ok(match found {
            Some((id, _)) if self.workflow(id)?.is_none() => None,
            found => found,
        })
    }

    fn timeline(&self, id: WorkflowId) -> Result<Vec<Arc<Row>>, StoreError> {
        Ok(self.story(id)?.map(|story| story.rows).unwrap_or_default())
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
                let Some(Story { record, rows, messages: keys }) = self.story(id)? else {
                    continue;
                };
                let mut messages = Vec::new();
                for key in keys {
                    let found: Option<(WorkflowId, u16)> =
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
        self.open().len_of(tenant)
    }

    fn open_by_tenant(&self) -> Vec<(Arc<str>, usize)> {
        self.open().by_tenant()
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
