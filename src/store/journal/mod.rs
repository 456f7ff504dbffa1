//! The store: a journal of facts, and what is kept of it in memory, over whatever keeps the bytes.
//!
//! A transition is one entry of the journal, written once, in [`chunk`]s; the first of a workflow has its record.
//! Each names the one before it, so that the newest leads to the whole timeline. Where that is
//! stands in memory for what is open, rebuilt from the journal at start, and in one small row for what
//! has ended. Retention moves the journal's left edge; what must stay is compacted into one
//! entry at the right end.
//!
//! What keeps the bytes is a [`Backend`]; what the keys of its rows are stands in [`keys`].

mod check;
mod checkpoint;
mod chunk;
mod ended;
mod keys;
mod read;
mod rebuild;
mod restore;
mod sweep;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use dispatch_contract::{AttemptId, UnixMillis};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Change, ChangeSet, ClockNote, Cursor, DueWorkflow, ExistingRequest, FoundMessage, HeldReceipt,
    Incarnation, LabelFilter, MessagePart, NameHash, Question, Reader, ReceiptKey, RestoreLock,
    Row, Settings, Store, StoreError, Swept,
    active::{ActiveWorkflow, Chain, is_over},
    backend::{Backend, RangeEnd, Writes, place},
    codec,
    settings_mirror::SettingsMirror,
};
use crate::machine::{ClockKind, Moment, Workflow, WorkflowId};
pub(super) use check::{all_together, rows};
pub(super) use checkpoint::Checkpoint;
pub(crate) use chunk::JournalEntry;
use chunk::{Appender, ChunkCache, Previous};
pub(crate) use ended::EndedLocation;
pub(super) use keys::{FORMER, INCARNATION};
use read::JournalReader;
pub(super) use rebuild::{Rebuilt, rebuild};
pub(super) use restore::{Restored, fill};

/// The store that keeps a journal.
pub struct JournalStore {
    shared: Arc<JournalReader>,
    settings: Arc<SettingsMirror>,
    newest: Cursor,
    edge: LowWaterMark,
    last_time: Moment,
    held_receipts: HashMap<u64, HeldReceipt>,
    restore_lock: Option<RestoreLock>,
    clock: Option<ClockNote>,
    grace_given_ms: u64,
    /// How many rows a start would replay.
    replayed: u64,
    checkpoint_rows: u64,
    checkpointing: Option<JoinHandle<()>>,
    /// Rows that were [read ahead](Store::read_ahead).
    ahead: Mutex<HashMap<Vec<u8>, Option<Bytes>>>,
}

/// A checkpoint is due after so many rows, or a quarter of the open workflows if that is more: what
/// it writes is then never much more than what the journal wrote.
const CHECKPOINT_ROWS: u64 = 100_000;
/// So many rows are replayed in no time: a clean stop writes no checkpoint for them.
const REPLAY_QUICK: u64 = 1000;

/// How far retention has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LowWaterMark {
    /// The last cursor that is swept from the journal: what is behind it is all there.
    swept: Cursor,
    /// The newest transition that is gone, or whose workflow is: further than `swept` where a workflow
    /// went as its first row did, and not as far where only what was compacted was swept. A reader that is
    /// behind it has missed nothing.
    gone: Cursor,
}

/// Where a restored store came from.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct RestoreOrigin {
    /// The life of the store that the backup was taken of.
    taken_of: Incarnation,
    /// The newest row that came from the backup.
    newest: Cursor,
}

impl JournalStore {
    /// Goes on with what was found of a journal.
    ///
    /// # Errors
    /// If what stands beside the journal cannot be read.
    pub(super) fn new(
        backend: Arc<dyn Backend>,
        settings: Arc<dyn Settings>,
        incarnation: Incarnation,
        clock: Option<ClockNote>,
        rebuilt: Rebuilt,
    ) -> Result<JournalStore, StoreError> {
        let Rebuilt { open, newest, last_time, replayed } = rebuilt;
        let edge = rebuild::edge(&*backend)?;
        let restore_lock = backend.decode(keys::RESTORE_LOCK)?;
        let grace_given_ms = backend.decode(keys::GRACE_GIVEN)?.unwrap_or_default();
        let shared = Arc::new(JournalReader {
            former: rebuild::former_lives(&*backend)?,
            backend,
            chunks: ChunkCache::default(),
            incarnation,
            open: RwLock::new(open),
            durable: AtomicU64::new(newest.0),
            gone: AtomicU64::new(edge.gone.0),
            sweeping: RwLock::default(),
        });
        let held_receipts = Reader::held_receipts(&*shared)?;
        Ok(JournalStore {
            held_receipts: held_receipts.into_iter().map(|held| (held.key, held)).collect(),
            shared,
            settings: Arc::new(SettingsMirror::of(settings)?),
            newest,
            edge,
            last_time,
            restore_lock,
            clock,
            grace_given_ms,
            replayed,
            checkpoint_rows: CHECKPOINT_ROWS,
            checkpointing: None,
            ahead: Mutex::default(),
        })
    }

    /// Writes a checkpoint after so many rows at least, instead of the usual 100,000.
    pub fn checkpoint_after(&mut self, rows: u64) {
        self.checkpoint_rows = rows;
    }

    /// Makes writes durable. After a failure nothing more is written, no checkpoint either.
    fn keep(&mut self, writes: Writes, newest: Cursor) -> Result<(), StoreError> {
        self.ahead().clear();
        let done = self.shared.backend.commit(writes, newest);
        if done.is_err() {
            self.replayed = 0;
        }
        done
    }

    // Each change is one step.
    fn ahead(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Option<Bytes>>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value under a key, read ahead or now.
    fn row<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        match self.ahead().get(key) {
            Some(row) => row.as_ref().map(|row| codec::decode(row, || place(key))).transpose(),
            None => self.shared.backend.decode(key),
        }
    }

    fn appender(&self) -> Appender {
        Appender::behind(self.newest, self.shared.backend.is_partitioned())
    }

    /// Whether a checkpoint is being written.
    fn is_checkpointing(&self) -> bool {
        self.checkpointing.as_ref().is_some_and(|it| !it.is_finished())
    }

    /// Writes a checkpoint on a thread of its own, when enough has happened since the last.
    fn checkpoint_some_time(&mut self) {
        let due = self.checkpoint_rows.max(self.open_count() as u64 / 4);
        if self.replayed < due || self.is_checkpointing() {
            return;
        }
        self.replayed = 0;
        let shared = Arc::clone(&self.shared);
        let (from, last_time) = (self.newest, self.last_time);
        let write = move || write_checkpoint(&shared, from, last_time);
        let thread = std::thread::Builder::new().name("dispatch-checkpoint".to_owned());
        self.checkpointing = thread.spawn(write).ok();
    }
}

fn write_checkpoint(shared: &JournalReader, from: Cursor, last_time: Moment) {
    if let Err(error) = checkpoint::write(shared, from, last_time) {
        tracing::warn!(%error, "the next start will take longer, and nothing else");
    }
}

impl Drop for JournalStore {
    fn drop(&mut self) {
        // It holds what keeps the bytes, and the next who opens that would wait.
        if let Some(thread) = self.checkpointing.take() {
            let _ = thread.join();
        }
        if self.replayed > REPLAY_QUICK && !std::thread::panicking() {
            write_checkpoint(&self.shared, self.newest, self.last_time);
        }
    }
}

/// Where a workflow stands.
#[derive(Clone, Copy)]
struct JournalLocation {
    chain: Chain,
    sequence: u32,
}

/// What a batch has of one workflow, before it is durable.
struct Pending {
    state: Workflow,
    location: JournalLocation,
}

impl JournalStore {
    fn location(
        &self,
        id: WorkflowId,
        pending: &HashMap<WorkflowId, Pending>,
    ) -> Result<Option<JournalLocation>, StoreError> {
        if let Some(pending) = pending.get(&id) {
            return Ok(Some(pending.location));
        }
        if let Some(ActiveWorkflow { chain, sequence, .. }) = self.shared.active().get(id) {
            return Ok(Some(JournalLocation { chain: *chain, sequence: *sequence }));
        }
        let ended: Option<EndedLocation> = self.shared.backend.decode(&keys::ended(id))?;
        Ok(ended.map(|ended| JournalLocation { chain: ended.chain(), sequence: ended.sequence }))
    }

    fn write(
        &self,
        change: Change,
        appender: &mut Appender,
        pending: &mut HashMap<WorkflowId, Pending>,
        writes: &mut Writes,
    ) -> Result<Arc<Row>, StoreError> {
        let id = change.state.id;
        let cursor = appender.next();
        let (previous, location) = if let Some(record) = change.record {
            if let (Some(request_id), Some(made)) = (record.request_id(), record.existing_request())
            {
                let key = keys::request(&record.tenant, request_id);
                writes.put(key, &made)?;
            }
            let chain = Chain { first: cursor, last: cursor, labels: LabelFilter::of(&record) };
            (Previous::Start(record), JournalLocation { chain, sequence: 0 })
        } else {
            let location = self.location(id, pending)?.ok_or(StoreError::Conflict(id))?;
            (Previous::Row(location.chain.last), location)
        };
        if location.sequence != change.expected {
            return Err(StoreError::Conflict(id));
        }
        let row = Arc::new(Row {
            cursor,
            tenant: change.tenant,
            workflow: id,
            at: change.at,
            sequence: change.expected + 1,
            facts: change.facts,
        });
        let mut messages = Vec::new();
        for (key, part) in change.messages {
            writes.put(keys::found_by(key), &(id, part))?;
            messages.push(key);
        }
        appender.put(&JournalEntry::Row { previous, row: Arc::clone(&row), messages }, writes)?;
        let chain = Chain { last: cursor, ..location.chain };
        if is_over(&change.state) {
            let ended = EndedLocation::of(&change.state, chain, &row);
            writes.put(keys::ended(id), &ended)?;
        }
        let location = JournalLocation { chain, sequence: change.state.sequence };
        pending.insert(id, Pending { state: change.state, location });
        Ok(row)
    }
}

impl Store for JournalStore {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.shared.workflow(id)
    }

    fn load_all(&self, ids: &[WorkflowId]) -> Result<Vec<Option<Workflow>>, StoreError> {
        self.shared.workflows(ids)
    }

    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        self.row(&keys::request(tenant, request_id))
    }

    fn read_ahead(
        &self,
        questions: &mut dyn Iterator<Item = Question<'_>>,
    ) -> Result<(), StoreError> {
        if !self.shared.backend.is_remote() {
            return Ok(());
        }
        let key = |question: Question<'_>| match question {
            Question::Request { tenant, request_id } => keys::request(tenant, request_id),
            Question::Message { account, provider_id } => {
                keys::found_by(ReceiptKey::provider_id(&account, provider_id))
            }
        };
        let keys: Vec<_> = questions.map(key).collect();
        if keys.len() > 1 {
            let rows = self.shared.backend.get(&keys)?;
            self.ahead().extend(keys.into_iter().zip(rows));
        }
        Ok(())
    }

    fn check_owned(&self) -> Result<(), StoreError> {
        self.shared.backend.check_owned()
    }

    fn find_message(
        &self,
        account: &str,
        provider_id: &str,
    ) -> Result<Option<FoundMessage>, StoreError> {
        let key = keys::found_by(ReceiptKey::provider_id(account, provider_id));
        let found: Option<(WorkflowId, MessagePart)> = self.row(&key)?;
        Ok(found.map(|(workflow, part)| part.found(workflow)))
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
        let from = keys::conversation(conversation, UnixMillis(after.0 + 1));
        let behind = keys::conversation(conversation, UnixMillis(until.0.saturating_add(1)));
        let rows = self.shared.backend.page(from..behind, RangeEnd::Last, limit)?;
        let attempt = |(key, value): (Vec<u8>, Bytes)| {
            let (workflow, part): (WorkflowId, MessagePart) =
                codec::decode(&value, || place(&key))?;
            Ok(part.found(workflow).attempt)
        };
        rows.into_iter().map(attempt).collect()
    }

    fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueWorkflow> {
        self.shared.active().due(clock, after, until, limit)
    }

    fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis> {
        self.shared.active().next_due(clock, after)
    }

    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.shared.active().ids_after(after, limit)
    }

    fn open_count(&self) -> usize {
        self.shared.active().len()
    }

    fn held_receipts(&self) -> Vec<HeldReceipt> {
        let mut held_receipts: Vec<_> = self.held_receipts.values().cloned().collect();
        held_receipts.sort_unstable_by_key(|receipt| receipt.key);
        held_receipts
    }

    fn commit(&mut self, batch: ChangeSet) -> Result<Vec<Arc<Row>>, StoreError> {
        let mut writes = Writes::default();
        let mut pending = HashMap::new();
        let mut rows = Vec::with_capacity(batch.changes.len());
        let mut appender = self.appender();
        for change in batch.changes {
            rows.push(self.write(change, &mut appender, &mut pending, &mut writes)?);
        }
        let newest = appender.finish(&mut writes);
        for receipt in &batch.hold_receipts {
            writes.put(keys::held_receipt(receipt.key), receipt)?;
        }
        for key in &batch.release_receipts {
            writes.remove(keys::held_receipt(*key));
        }
        if batch.lift_restore_lock {
            writes.remove(keys::RESTORE_LOCK.to_vec());
        }
        if let Some(given_ms) = &batch.grace_given_ms {
            writes.put(keys::GRACE_GIVEN.to_vec(), given_ms)?;
        }
        self.keep(writes, newest)?;

        // Durable: now it may be seen.
        self.newest = newest;
        self.last_time = rows.iter().map(|row| row.at).fold(self.last_time, Moment::later);
        self.held_receipts
            .extend(batch.hold_receipts.into_iter().map(|receipt| (receipt.key, receipt)));
        for key in batch.release_receipts {
            self.held_receipts.remove(&key);
        }
        if batch.lift_restore_lock {
            self.restore_lock = None;
        }
        self.grace_given_ms = batch.grace_given_ms.unwrap_or(self.grace_given_ms);
        let mut open = self.shared.active_mut();
        for Pending { state, location } in pending.into_values() {
            open.put(&state, location.chain);
        }
        // Before readers look again: what is open and what is durable are of one moment for them.
        self.shared.durable.store(newest.0, Ordering::Release);
        // A checkpoint that is being written names entries of what they have in dictionary.
        if !self.is_checkpointing() {
            open.tidy()?;
        }
        drop(open);
        self.replayed += rows.len() as u64;
        self.checkpoint_some_time();
        Ok(rows)
    }

    fn sweep(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        self.sweep_some(now, before, budget)
    }

    fn restore_lock(&self) -> Option<RestoreLock> {
        self.restore_lock
    }

    fn free_bytes(&self) -> Option<u64> {
        self.shared.backend.free_bytes()
    }

    fn last_time(&self) -> Moment {
        self.last_time
    }

    fn clock(&self) -> Option<ClockNote> {
        self.clock
    }

    fn note_clock(&mut self, note: ClockNote) -> Result<(), StoreError> {
        self.shared.backend.note_clock(note)?;
        self.clock = Some(note);
        Ok(())
    }

    fn grace_given_ms(&self) -> u64 {
        self.grace_given_ms
    }

    fn tables(&self) -> Vec<(&'static str, usize)> {
        let own = [
            ("held_receipts", self.held_receipts.len()),
            ("mirrored_settings", self.settings.len()),
        ];
        own.into_iter().chain(self.shared.active().tables()).collect()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.shared) as Arc<dyn Reader>
    }

    fn settings(&self) -> Arc<dyn Settings> {
        Arc::clone(&self.settings) as Arc<dyn Settings>
    }
}
