//! Reading beside the writer: only what is durable.
//!
//! Nothing is locked while the disk is read. Retention may move or forget a workflow meanwhile: then
//! its rows are looked for once more where they are now. What is asked of many workflows is read for all of them at
//! once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use super::{
    EndedLocation, JournalEntry, Previous,
    chunk::{Chunk, ChunkCache, WantedEntries},
    keys,
};
use crate::{
    machine::{Phase, ProgressState, Workflow, WorkflowId},
    store::{
        Cursor, Entry, ExistingRequest, Filter, HeldReceipt, Incarnation, LabelFilter, MessagePart,
        Page, Reader, ReceiptKey, Record, RequirementInterner, Row, StoreError, TenantTag,
        WorkflowEnd,
        active::{ActiveIndex, Chain, is_of, replay},
        backend::{self, Backend, EntryPlace, RangeEnd},
        codec::{self, weight},
        types::{LIST_PASS, LIST_SCAN, PAGE_BYTES},
    },
};

/// So many workflows are looked up at once for a list.
const IDS: usize = 256;
/// So many are read at once at most, and so many before it is known what they weigh.
const READ_AT_ONCE: usize = 64;
const READ_FIRST: usize = 8;
/// How many bytes of chunks are read at once for whoever follows the journal.
const FOLLOWED_BYTES: usize = 128 * 1024;

/// What the writer and the readers have in common.
pub(super) struct JournalReader {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) chunks: ChunkCache,
    pub(super) incarnation: Incarnation,
    /// The lives that this one goes on from.
    pub(super) former: Vec<Incarnation>,
    pub(super) open: RwLock<ActiveIndex>,
    /// The newest durable row: readers look no further.
    pub(super) durable: AtomicU64,
    /// [`LowWaterMark::gone`](super::LowWaterMark): readers must have seen what is up to it.
    pub(super) gone: AtomicU64,
    /// Held while a sweep becomes durable, until it is said where what it moved is now.
    pub(super) sweeping: RwLock<()>,
}

/// All that is kept of a workflow.
pub(super) struct History {
    pub(super) record: Arc<Record>,
    /// What happened, oldest first.
    pub(super) rows: Vec<Arc<Row>>,
    /// Its rows in the index of messages.
    pub(super) messages: Vec<ReceiptKey>,
}

/// What was asked for, and where it is.
type RecordAndState = (Arc<Record>, Workflow);

/// Where a workflow's rows stand: the ends of its chain.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ChainEnds {
    first: Cursor,
    last: Cursor,
}

/// A workflow that is read, from its newest row back.
struct Walk {
    /// Which of those that are read.
    number: usize,
    rows: Vec<Arc<Row>>,
    messages: Vec<ReceiptKey>,
}

/// What a list can tell of a workflow without reading it.
struct Candidate {
    id: WorkflowId,
    /// Of an open one.
    open: Option<(Workflow, ChainEnds)>,
    is_admitted: bool,
}

/// What is read for a page that may weigh [`PAGE_BYTES`].
#[derive(Default)]
struct PageWeight {
    read: usize,
    bytes: usize,
}

/// A filter, as far as it can be asked without reading a workflow.
struct CheapFilter<'a> {
    tenant: Option<(&'a str, TenantTag)>,
    states: &'a [&'static str],
    labels: LabelFilter,
}

impl JournalReader {
    // The set is a projection, rebuilt at start; a reader that panicked has not changed it.
    pub(super) fn active(&self) -> RwLockReadGuard<'_, ActiveIndex> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn active_mut(&self) -> RwLockWriteGuard<'_, ActiveIndex> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, id: WorkflowId) -> Result<Option<EndedLocation>, StoreError> {
        self.backend.decode(&keys::ended(id))
    }

    /// Where these workflows have ended, of those that have.
    pub(super) fn all_ended(
        &self,
        ids: &[WorkflowId],
    ) -> Result<Vec<Option<EndedLocation>>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| keys::ended(*id)).collect();
        self.backend.decode_all(&keys)
    }

    fn ends(&self, id: WorkflowId) -> Result<Option<ChainEnds>, StoreError> {
        Ok(self.all_ends(&[id])?.pop().flatten())
    }

    fn all_ends(&self, ids: &[WorkflowId]) -> Result<Vec<Option<ChainEnds>>, StoreError> {
        // In this order: whoever ends has its small row before it leaves the set.
        let mut ends: Vec<_> = {
            let active = self.active();
            let ends = |id: &WorkflowId| active.get(*id).map(|open| ChainEnds::of(open.chain));
            ids.iter().map(ends).collect()
        };
        let others: Vec<_> = (0..ids.len()).filter(|number| ends[*number].is_none()).collect();
        let other_ids: Vec<_> = others.iter().map(|number| ids[*number]).collect();
        for (number, ended) in others.into_iter().zip(self.all_ended(&other_ids)?) {
            ends[number] = ended.map(|ended| ChainEnds::of(ended.chain()));
        }
        Ok(ends)
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
                    // Perhaps what stood there is gone, and it is about to be said where it is now.
                    drop(self.sweeping.read().unwrap_or_else(PoisonError::into_inner));
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
            let (mut found, missing) = self.walk(&[Some(place(id, ends.last))])?;
            let history = found.pop().flatten();
            let history = history.ok_or_else(|| is_missing(missing.unwrap_or(ends.last)))?;
            if history.record.id == id { Ok(history) } else { Err(not_of(id, ends.last)) }
        })?;
        // One whose first row is not durable yet.
        Ok(history.filter(|history| !history.rows.is_empty()))
    }

    /// The same of many.
    pub(super) fn histories(&self, ids: &[WorkflowId]) -> Result<Vec<Option<History>>, StoreError> {
        let ends: Vec<_> = self.all_ends(ids)?;
        let last =
            |(id, ends): (&WorkflowId, &Option<ChainEnds>)| ends.map(|ends| place(*id, ends.last));
        let lasts: Vec<_> = ids.iter().zip(&ends).map(last).collect();
        // What was moved meanwhile is not there, or cannot be read: then it is looked for by itself.
        let found = self.walk(&lasts).map(|(found, _)| found);
        let found = found.unwrap_or_else(|_| ids.iter().map(|_| None).collect());
        let looked_for = ids.iter().zip(ends).zip(found).map(|((id, ends), found)| match found {
            Some(found) if found.record.id == *id => {
                Ok(Some(found).filter(|history| !history.rows.is_empty()))
            }
            _ if ends.is_none() => Ok(None),
            _ => self.history(*id),
        });
        looked_for.collect()
    }

    /// The states of many.
    pub(super) fn workflows(
        &self,
        ids: &[WorkflowId],
    ) -> Result<Vec<Option<Workflow>>, StoreError> {
        let mut states: Vec<_> = {
            let active = self.active();
            ids.iter().map(|id| active.state(*id)).collect::<Result<_, _>>()?
        };
        let others: Vec<_> = (0..ids.len()).filter(|number| states[*number].is_none()).collect();
        for some in others.chunks(READ_AT_ONCE) {
            let some_ids: Vec<_> = some.iter().map(|number| ids[*number]).collect();
            for (number, history) in some.iter().zip(self.histories(&some_ids)?) {
                states[*number] = history.map(|history| replayed(&history));
            }
        }
        Ok(states)
    }

    /// From the newest rows of some workflows back. Nothing of one of whose rows one is missing, and where one is.
    fn walk(
        &self,
        lasts: &[Option<EntryPlace>],
    ) -> Result<(Vec<Option<History>>, Option<Cursor>), StoreError> {
        let durable = self.newest();
        let mut found: Vec<_> = lasts.iter().map(|_| None).collect();
        let mut wanted = WantedEntries::new();
        for (number, last) in lasts.iter().enumerate() {
            if let Some(last) = *last {
                let walk = Walk { number, rows: Vec::new(), messages: Vec::new() };
                wanted.add(last, (last, walk));
            }
        }
        let missing = self.chunks.visit(&*self.backend, wanted, |(at, mut walk), entry| {
            let (record, older) = match entry {
                JournalEntry::Row { previous, row, messages } => {
                    if row.cursor <= durable {
                        walk.rows.push(row);
                        walk.messages.extend(messages);
                    }
                    match previous {
                        Previous::Row(previous) if previous < at.cursor => {
                            let previous = EntryPlace { cursor: previous, ..at };
                            return Ok(Some((previous, (previous, walk))));
                        }
                        Previous::Row(_) => return Err(missing_before(at.cursor)),
                        Previous::Start(record) => (record, Vec::new()),
                    }
                }
                JournalEntry::Compacted { record, rows, messages, .. } => {
                    walk.messages.extend(messages);
                    (record, rows)
                }
            };
            let Walk { number, mut rows, messages } = walk;
            rows.extend(older.into_iter().rev());
            rows.reverse();
            found[number] = Some(History { record, rows, messages });
            Ok(None)
        })?;
        Ok((found, missing.first()))
    }

    /// The records that stand at some entries of the journal, of those where one does.
    fn records_at(&self, firsts: &[EntryPlace]) -> Result<Vec<Option<Arc<Record>>>, StoreError> {
        let mut found: Vec<_> = firsts.iter().map(|_| None).collect();
        let mut wanted = WantedEntries::new();
        for (number, first) in firsts.iter().enumerate() {
            wanted.add(*first, number);
        }
        self.chunks.visit(&*self.backend, wanted, |number, entry| {
            if let JournalEntry::Row { previous: Previous::Start(record), .. }
            | JournalEntry::Compacted { record, .. } = entry
            {
                found[number] = Some(record);
            }
            Ok(None)
        })?;
        Ok(found)
    }

    /// Some workflows, open or ended, in the order of their ids: from one end of a range or the other. The ended ones
    /// with where they are.
    fn some_ids(
        &self,
        (from, to): (Option<WorkflowId>, Option<WorkflowId>),
        end: RangeEnd,
        limit: usize,
    ) -> Result<Vec<(WorkflowId, Option<EndedLocation>)>, StoreError> {
        // In this order, as in `ends`.
        let open = self.active().ids((from, to), end == RangeEnd::Last, limit);
        let mut ids: BTreeMap<_, _> = open.into_iter().map(|id| (id, None)).collect();
        for (key, value) in self.backend.page(keys::ended_between(from, to), end, limit)? {
            if let Some(id) = keys::ended_of(&key) {
                ids.insert(id, Some(codec::decode(&value, || backend::place(&key))?));
            }
        }
        Ok(match end {
            RangeEnd::First => ids.into_iter().take(limit).collect(),
            RangeEnd::Last => ids.into_iter().rev().take(limit).collect(),
        })
    }

    fn some_after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError> {
        let durable = self.newest();
        let (mut rows, mut at) = (Vec::new(), cursor);
        loop {
            let chunks = self.backend.chunks(Cursor(at.0.saturating_add(1)), FOLLOWED_BYTES)?;
            let before = at;
            for raw in &chunks {
                for entry in Chunk::of(raw)?.entries() {
                    let (here, entry) = entry?;
                    if here > durable || rows.len() == limit {
                        return Ok(rows);
                    }
                    if here <= at {
                        continue;
                    }
                    at = here;
                    match entry {
                        JournalEntry::Row { row, .. } => rows.push(row),
                        // What was compacted is no transition: all of it was in the journal before.
                        JournalEntry::Compacted { .. } => {}
                    }
                }
            }
            if at == before || at >= durable || rows.len() == limit {
                return Ok(rows);
            }
        }
    }

    /// Some workflows as a list sees them, before it reads any: newest first, beginning before `before`.
    fn candidates(
        &self,
        filter: &CheapFilter<'_>,
        before: Option<WorkflowId>,
    ) -> Result<Vec<Candidate>, StoreError> {
        let ids = self.some_ids((None, before), RangeEnd::Last, IDS)?;
        let active = self.active();
        let candidate = |(id, ended): (WorkflowId, Option<EndedLocation>)| {
            let open = match active.get(id) {
                Some(open) => active.state(id)?.map(|state| (state, open.chain)),
                None => None,
            };
            let is_admitted = match (&open, &ended) {
                (Some((state, chain)), _) => {
                    filter.tenant.is_none_or(|(tenant, _)| is_of(state, tenant))
                        && filter.admits(state.phase, chain.labels)
                }
                (None, Some(ended)) => {
                    filter.tenant.is_none_or(|(_, tenant)| ended.tenant == tenant)
                        && filter.admits(ended.phase, ended.labels)
                }
                // It has ended since its id was taken, or was forgotten: it is read.
                (None, None) => true,
            };
            let open = open.map(|(state, chain)| (state, ChainEnds::of(chain)));
            Ok(Candidate { id, open, is_admitted })
        };
        ids.into_iter().map(candidate).collect()
    }

    /// What was asked for and where it is, of some candidates.
    fn read_all(
        &self,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<Option<RecordAndState>>, StoreError> {
        let first = |candidate: &Candidate| {
            candidate.open.as_ref().map(|(_, ends)| place(candidate.id, ends.first))
        };
        let firsts: Vec<_> = candidates.iter().filter_map(first).collect();
        let ended = candidates.iter().filter(|candidate| candidate.open.is_none());
        let ended: Vec<_> = ended.map(|candidate| candidate.id).collect();
        // What was moved meanwhile is not there, or cannot be read: then it is looked for by itself.
        let records = self.records_at(&firsts);
        let mut records = records.unwrap_or_else(|_| vec![None; firsts.len()]).into_iter();
        let mut histories = self.histories(&ended)?.into_iter();
        let read = candidates.into_iter().map(|Candidate { id, open, .. }| match open {
            Some((state, _)) => {
                let there = records.next().flatten().filter(|record| record.id == id);
                let record = match there {
                    Some(record) => Some(record),
                    None => self.record(id)?,
                };
                Ok(record.map(|record| (record, state)))
            }
            None => Ok(histories.next().flatten().map(|history| {
                let state = replayed(&history);
                (history.record, state)
            })),
        });
        read.collect()
    }
}

impl ChainEnds {
    fn of(chain: Chain) -> ChainEnds {
        ChainEnds { first: chain.first, last: chain.last }
    }
}

impl PageWeight {
    fn add<T: Serialize>(&mut self, value: &T) {
        self.read += 1;
        self.bytes += weight(value);
    }

    fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES
    }

    /// How many more to read at once: as many as fit if they weigh what those before them do.
    fn room(&self) -> usize {
        match self.read {
            0 => READ_FIRST,
            read => (PAGE_BYTES.saturating_sub(self.bytes) * read / self.bytes.max(1))
                .clamp(1, READ_AT_ONCE),
        }
    }
}

impl<'a> CheapFilter<'a> {
    fn of(filter: &'a Filter) -> CheapFilter<'a> {
        CheapFilter {
            tenant: filter.tenant.as_deref().map(|tenant| (tenant, TenantTag::of(tenant))),
            states: &filter.states,
            labels: LabelFilter::new(&filter.labels, filter.client_ref.as_deref()),
        }
    }

    /// Whether a workflow that is so may be admitted, whosever it is.
    fn admits(&self, phase: Phase, labels: LabelFilter) -> bool {
        let state = ProgressState::from(phase).as_str();
        (self.states.is_empty() || self.states.contains(&state)) && labels.may_have(self.labels)
    }
}

impl Reader for JournalReader {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn former_incarnations(&self) -> Vec<Incarnation> {
        self.former.clone()
    }

    fn record(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, StoreError> {
        self.at_ends(id, |ends| {
            let there = self.records_at(&[place(id, ends.first)])?.pop().flatten();
            there.filter(|record| record.id == id).ok_or_else(|| not_of(id, ends.first))
        })
    }

    fn records(&self, ids: &[WorkflowId]) -> Result<Vec<Option<Arc<Record>>>, StoreError> {
        let ends = self.all_ends(ids)?;
        let there =
            ids.iter().zip(&ends).filter_map(|(id, ends)| Some(place(*id, ends.as_ref()?.first)));
        let there: Vec<_> = there.collect();
        // What was moved meanwhile is not there, or cannot be read: then it is looked for by itself.
        let found = self.records_at(&there).unwrap_or_else(|_| vec![None; there.len()]);
        let mut found = found.into_iter();
        let records = ids.iter().zip(&ends).map(|(id, ends)| {
            let there = ends.and_then(|_| found.next().flatten());
            match there.filter(|record| record.id == *id) {
                None if ends.is_some() => self.record(*id),
                there => Ok(there),
            }
        });
        records.collect()
    }

    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        if let Some(open) = self.active().state(id)? {
            return Ok(Some(open));
        }
        Ok(self.history(id)?.map(|history| replayed(&history)))
    }

    fn end_of(&self, id: WorkflowId) -> Result<WorkflowEnd, StoreError> {
        // In this order, as in `ends`.
        if self.active().get(id).is_some() {
            return Ok(WorkflowEnd::Open);
        }
        let ended = self.ended(id)?;
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
            self.backend.decode(&keys::request(tenant, request_id))?;
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
        let cheap = CheapFilter::of(filter);
        let (mut looked_at, mut passed, mut weight) = (0, 0, PageWeight::default());
        let mut page = Page { workflows: Vec::new(), next: after };
        loop {
            let candidates = self.candidates(&cheap, page.next)?;
            if candidates.is_empty() {
                page.next = None;
                return Ok(page);
            }
            let mut candidates = candidates.into_iter().peekable();
            while candidates.peek().is_some() {
                if page.workflows.len() == limit || looked_at >= LIST_SCAN || passed >= LIST_PASS {
                    return Ok(page);
                }
                // As many as there is room for, with those that are passed over on the way.
                let room = limit - page.workflows.len();
                let room = room.min(LIST_SCAN - looked_at).min(weight.room());
                let mut some = Vec::new();
                while some.len() < room
                    && let Some(candidate) = candidates.next_if(|_| passed < LIST_PASS)
                {
                    page.next = Some(candidate.id);
                    match candidate.is_admitted {
                        true => some.push(candidate),
                        false => passed += 1,
                    }
                }
                looked_at += some.len();
                let ids: Vec<_> = some.iter().map(|candidate| candidate.id).collect();
                for (id, read) in ids.into_iter().zip(self.read_all(some)?) {
                    let Some((record, workflow)) = read else { continue };
                    weight.add(&record);
                    if filter.admits(&record, &workflow) {
                        page.workflows.push((record, workflow));
                    }
                    if weight.is_full() {
                        page.next = Some(id);
                        return Ok(page);
                    }
                }
            }
        }
    }

    fn entries(&self, after: Option<WorkflowId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (mut entries, mut after, mut weight) = (Vec::new(), after, PageWeight::default());
        let mut left = limit;
        // An empty answer is the end: those that retention forgets meanwhile are none.
        while left > 0 && !weight.is_full() {
            let ids = self.some_ids((after, None), RangeEnd::First, left.min(weight.room()))?;
            let Some((last, _)) = ids.last() else { break };
            after = Some(*last);
            let ids: Vec<_> = ids.into_iter().map(|(id, _)| id).collect();
            let histories: Vec<_> = self.histories(&ids)?.into_iter().flatten().collect();
            let keys = histories.iter().flat_map(|history| &history.messages);
            let keys: Vec<_> = keys.map(|key| keys::found_by(*key)).collect();
            let parts = self.backend.decode_all::<(WorkflowId, MessagePart)>(&keys)?;
            let mut parts = parts.into_iter();
            for History { record, rows, messages } in histories {
                let found = messages.into_iter().zip(parts.by_ref());
                let own = found.filter_map(|(key, found)| {
                    found.filter(|found| found.0 == record.id).map(|found| (key, found.1))
                });
                let mut messages: Vec<_> = own.collect();
                messages.sort_unstable();
                let rows = rows.into_iter().map(Arc::unwrap_or_clone).collect();
                let entry = Entry { record: Arc::unwrap_or_clone(record), rows, messages };
                weight.add(&entry);
                entries.push(entry);
                left -= 1;
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
        let rows = self.backend.rows(keys::all_of(b'k'));
        rows.map(|row| row.and_then(|(key, value)| codec::decode(&value, || backend::place(&key))))
            .collect()
    }
}

fn place(id: WorkflowId, cursor: Cursor) -> EntryPlace {
    EntryPlace { partition: id.partition(), cursor }
}

fn replayed(history: &History) -> Workflow {
    let rows = history.rows.iter().map(|row| (row.at, row.facts.as_slice()));
    replay(&mut RequirementInterner::default(), &history.record, rows)
}

fn is_missing(cursor: Cursor) -> StoreError {
    StoreError::Corrupt {
        place: format!("journal row {}", cursor.0),
        problem: "it is missing; restore a backup".to_owned(),
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
