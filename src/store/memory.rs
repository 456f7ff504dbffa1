//! The store that forgets: the model the others are measured against, and what tests run on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use dispatch_contract::{AttemptId, UnixMillis};
use uuid::Uuid;

use super::{
    ChangeSet, ClockNote, Cursor, DueWorkflow, Entry, ExistingRequest, Filter, FoundMessage,
    HeldReceipt, Incarnation, Kind, LabelFilter, MessagePart, NameHash, Page, Reader, ReceiptKey,
    Record, RequirementInterner, RestoreLock, Row, SettingChange, Settings, Store, StoreError,
    Swept, TenantTag, WorkflowEnd,
    active::{self, ActiveIndex, Chain},
    codec::weight,
    settings,
    types::{LIST_PASS, LIST_SCAN, PAGE_BYTES},
};
use crate::machine::{ClockKind, Moment, Workflow, WorkflowId};

/// Keeps everything in memory. Durable as long as the process lives, and not a moment longer.
#[derive(Debug)]
pub struct MemoryStore(Arc<MemoryInner>);

#[derive(Debug)]
struct MemoryInner {
    incarnation: Incarnation,
    state: RwLock<MemoryState>,
    settings: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

#[derive(Debug, Default)]
struct MemoryState {
    records: BTreeMap<WorkflowId, Arc<Record>>,
    timelines: BTreeMap<WorkflowId, Vec<Arc<Row>>>,
    journal: BTreeMap<Cursor, Arc<Row>>,
    requests: HashMap<(Arc<str>, String), ExistingRequest>,
    messages: BTreeMap<ReceiptKey, (WorkflowId, MessagePart)>,
    held_receipts: BTreeMap<u64, HeldReceipt>,
    open: ActiveIndex,
    newest: Cursor,
    oldest: Cursor,
    last_time: Moment,
    clock: Option<ClockNote>,
    grace_given_ms: u64,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        let incarnation = Incarnation(Uuid::now_v7());
        let (state, settings) = (RwLock::default(), RwLock::default());
        MemoryStore(Arc::new(MemoryInner { incarnation, state, settings }))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl MemoryInner {
    // A panic elsewhere cannot leave this half-changed in a way that matters more than going on.
    fn read(&self) -> RwLockReadGuard<'_, MemoryState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, MemoryState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryState {
    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        if let Some(open) = self.open.state(id)? {
            return Ok(Some(open));
        }
        let (Some(record), Some(rows)) = (self.records.get(&id), self.timelines.get(&id)) else {
            return Ok(None);
        };
        let rows = rows.iter().map(|row| (row.at, row.facts.as_slice()));
        Ok(Some(active::replay(&mut RequirementInterner::default(), record, rows)))
    }
}

impl Store for MemoryStore {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.0.read().workflow(id)
    }

    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        self.0.requested(tenant, request_id)
    }

    fn find_message(
        &self,
        account: &str,
        provider_id: &str,
    ) -> Result<Option<FoundMessage>, StoreError> {
        let key = ReceiptKey::provider_id(account, provider_id);
        Ok(self.0.read().messages.get(&key).map(|(workflow, part)| part.found(*workflow)))
    }

    fn find_conversation(
        &self,
        conversation: NameHash,
        (after, until): (UnixMillis, UnixMillis),
        limit: usize,
    ) -> Result<Vec<AttemptId>, StoreError> {
        if after >= until {
            return Ok(Vec::new());
        }
        let from = UnixMillis(after.0 + 1);
        let first = ReceiptKey::Conversation(conversation, from, WorkflowId(Uuid::nil()), 0);
        let last = ReceiptKey::Conversation(conversation, until, WorkflowId(Uuid::max()), u16::MAX);
        let state = self.0.read();
        let rows = state.messages.range(first..=last).rev().take(limit);
        Ok(rows.map(|(_, (workflow, part))| part.found(*workflow).attempt).collect())
    }

    fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueWorkflow> {
        self.0.read().open.due(clock, after, until, limit)
    }

    fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis> {
        self.0.read().open.next_due(clock, after)
    }

    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.0.read().open.ids_after(after, limit)
    }

    fn open_count(&self) -> usize {
        self.0.read().open.len()
    }

    fn held_receipts(&self) -> Vec<HeldReceipt> {
        self.0.read().held_receipts.values().cloned().collect()
    }

    fn commit(&mut self, batch: ChangeSet) -> Result<Vec<Arc<Row>>, StoreError> {
        let mut state = self.0.write();
        let state = &mut *state;
        let mut rows = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            let id = change.state.id;
            let before = state.timelines.get(&id).and_then(|rows| rows.last());
            let sequence = before.map_or(0, |row| row.sequence + row.facts.len() as u32 - 1);
            if sequence != change.expected {
                return Err(StoreError::Conflict(id));
            }
            state.newest = Cursor(state.newest.0 + 1);
            let row = Arc::new(Row {
                cursor: state.newest,
                tenant: change.tenant,
                workflow: id,
                at: change.at,
                sequence: change.expected + 1,
                facts: change.facts,
            });
            if let Some(record) = change.record {
                if let (Some(request_id), Some(made)) =
                    (record.request_id(), record.existing_request())
                {
                    let key = (Arc::clone(&record.tenant), request_id.to_owned());
                    state.requests.insert(key, made);
                }
                state.records.insert(id, record);
            }
            for (key, part) in change.messages {
                state.messages.insert(key, (id, part));
            }
            state.last_time = state.last_time.later(row.at);
            state.journal.insert(row.cursor, Arc::clone(&row));
            state.timelines.entry(id).or_default().push(Arc::clone(&row));
            let chain =
                Chain { first: row.cursor, last: row.cursor, labels: LabelFilter::default() };
            state.open.put(&change.state, chain);
            rows.push(row);
        }
        state
            .held_receipts
            .extend(batch.hold_receipts.into_iter().map(|receipt| (receipt.key, receipt)));
        for key in batch.release_receipts {
            state.held_receipts.remove(&key);
        }
        state.grace_given_ms = batch.grace_given_ms.unwrap_or(state.grace_given_ms);
        state.open.tidy()?;
        Ok(rows)
    }

    fn sweep(
        &mut self,
        _now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        let mut state = self.0.write();
        let mut swept = Swept::default();
        while swept.rows < budget {
            let Some((cursor, row)) = state.journal.first_key_value() else { break };
            if row.at.engine >= before {
                break;
            }
            let (cursor, row) = (*cursor, Arc::clone(row));
            state.journal.remove(&cursor);
            state.oldest = cursor;
            swept.rows += 1;
            let newest = state.timelines.get(&row.workflow).and_then(|rows| rows.last());
            if newest.is_some_and(|newest| newest.cursor == cursor)
                && state.open.get(row.workflow).is_none()
            {
                swept.forgotten.push(row.workflow);
                state.timelines.remove(&row.workflow);
                state.messages.retain(|_, (workflow, _)| *workflow != row.workflow);
                if let Some(record) = state.records.remove(&row.workflow)
                    && let Some(request_id) = record.request_id()
                {
                    state.requests.remove(&(Arc::clone(&record.tenant), request_id.to_owned()));
                }
            }
        }
        swept.has_more = swept.rows >= budget;
        Ok(swept)
    }

    fn restore_lock(&self) -> Option<RestoreLock> {
        // It was never restored.
        None
    }

    fn last_time(&self) -> Moment {
        self.0.read().last_time
    }

    fn clock(&self) -> Option<ClockNote> {
        self.0.read().clock
    }

    fn note_clock(&mut self, note: ClockNote) -> Result<(), StoreError> {
        self.0.write().clock = Some(note);
        Ok(())
    }

    fn grace_given_ms(&self) -> u64 {
        self.0.read().grace_given_ms
    }

    fn tables(&self) -> Vec<(&'static str, usize)> {
        let state = self.0.read();
        let own = [
            ("workflows", state.records.len()),
            ("journal", state.journal.len()),
            ("request_ids", state.requests.len()),
            ("message_ids", state.messages.len()),
            ("held_receipts", state.held_receipts.len()),
        ];
        own.into_iter().chain(state.open.tables()).collect()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.0) as Arc<dyn Reader>
    }

    fn settings(&self) -> Arc<dyn Settings> {
        Arc::clone(&self.0) as Arc<dyn Settings>
    }
}

impl Settings for MemoryInner {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        Ok(settings.get(&settings::stored_key(kind, key)).cloned())
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let (from, to) = settings::stored_range(kind, after);
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let rows = settings.range(from..to).take(limit);
        Ok(rows.map(|(key, value)| (key[1..].to_vec(), value.clone())).collect())
    }

    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        changes.iter().try_for_each(SettingChange::check)?;
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let key = change.stored_key();
            match change.value {
                Some(value) => settings.insert(key, value),
                None => settings.remove(&key),
            };
        }
        Ok(())
    }

    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        Settings::write(self, changes)
    }
}

impl Reader for MemoryInner {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn former_incarnations(&self) -> Vec<Incarnation> {
        Vec::new()
    }

    fn record(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, StoreError> {
        Ok(self.read().records.get(&id).cloned())
    }

    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.read().workflow(id)
    }

    fn end_of(&self, id: WorkflowId) -> Result<WorkflowEnd, StoreError> {
        let state = self.read();
        if state.open.get(id).is_some() {
            return Ok(WorkflowEnd::Open);
        }
        let (Some(ended), Some(record)) = (state.workflow(id)?, state.records.get(&id)) else {
            return Ok(WorkflowEnd::Unknown);
        };
        let tenant = TenantTag::of(&record.tenant);
        Ok(ended
            .ended_at
            .map_or(WorkflowEnd::Open, |at| WorkflowEnd::Ended { at: at.engine, tenant }))
    }

    fn requested(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        let key = (Arc::from(tenant), request_id.to_owned());
        Ok(self.read().requests.get(&key).copied())
    }

    fn timeline(&self, id: WorkflowId) -> Result<Vec<Arc<Row>>, StoreError> {
        Ok(self.read().timelines.get(&id).cloned().unwrap_or_default())
    }

    fn after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError> {
        let state = self.read();
        if cursor < state.oldest {
            return Err(StoreError::Trimmed(state.oldest));
        }
        Ok(state
            .journal
            .range(Cursor(cursor.0 + 1)..)
            .take(limit)
            .map(|(_, row)| Arc::clone(row))
            .collect())
    }

    fn newest(&self) -> Cursor {
        self.read().newest
    }

    fn oldest(&self) -> Cursor {
        self.read().oldest
    }

    fn list(
        &self,
        filter: &Filter,
        after: Option<WorkflowId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let state = self.read();
        let mut page = Page::default();
        let upper = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let candidates = state.records.range((std::ops::Bound::Unbounded, upper)).rev();
        let (mut looked_at, mut passed, mut bytes) = (0, 0, 0);
        for (id, record) in candidates {
            let has_looked = looked_at == LIST_SCAN || passed == LIST_PASS || bytes >= PAGE_BYTES;
            if page.workflows.len() == limit || has_looked {
                return Ok(page);
            }
            page.next = Some(*id);
            let admitted = state.workflow(*id)?.filter(|workflow| filter.admits(record, workflow));
            let Some(workflow) = admitted else {
                passed += 1;
                continue;
            };
            looked_at += 1;
            bytes += weight(record);
            page.workflows.push((Arc::clone(record), workflow));
        }
        page.next = None;
        Ok(page)
    }

    fn entries(&self, after: Option<WorkflowId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let state = self.read();
        let lower = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let entry = |(id, record): (&WorkflowId, &Arc<Record>)| {
            let rows = state.timelines.get(id).map(Vec::as_slice).unwrap_or_default();
            let own = state.messages.iter().filter(|(_, (workflow, _))| workflow == id);
            let messages = own.map(|(key, (_, part))| (*key, *part)).collect();
            Entry {
                record: Record::clone(record),
                rows: rows.iter().map(|row| Row::clone(row)).collect(),
                messages,
            }
        };
        let records = state.records.range((lower, std::ops::Bound::Unbounded));
        let mut bytes = 0;
        let has_room = |entry: &Entry| {
            let had_room = bytes < PAGE_BYTES;
            bytes += weight(entry);
            had_room
        };
        Ok(records.take(limit).map(entry).take_while(has_room).collect())
    }

    fn open_of(&self, tenant: &str) -> usize {
        self.read().open.len_of(tenant)
    }

    fn open_by_tenant(&self) -> Vec<(Arc<str>, usize)> {
        self.read().open.by_tenant()
    }

    fn held_receipts(&self) -> Result<Vec<HeldReceipt>, StoreError> {
        Ok(self.read().held_receipts.values().cloned().collect())
    }
}
