//! The embedded default: sled 0.34.7 in an append-only layout.
//!
//! A transition is one row of the [`journal`], written once; the first of a workflow has its record.
//! Each row names the one before it, so that the newest leads to the whole timeline. Where that is
//! stands in memory for what is open, rebuilt from the journal at start, and in one small row for what
//! has ended. Retention moves the journal's left edge; what must stay is compacted into one
//! entry at the right end.
//!
//! What the keys are stands in [`keys`], what sled must be protected from in [`tree`]. That nothing
//! kept is missing is looked at when the folder is opened: [`folder`], [`high_water_mark`], [`rebuild`].

mod check;
mod checkpoint;

mod files;
mod folder;
mod high_water_mark;
mod journal;
mod keys;
mod read;
mod rebuild;
mod restore;
mod settings;
mod shrink;
mod swap;
mod sweep;
mod tree;
mod watchdog;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use dispatch_contract::{AttemptId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{
    Change, ChangeSet, ClockNote, Cursor, DueWorkflow, ExistingRequest, FoundMessage, HeldReceipt,
    Incarnation, MessagePart, NameHash, Reader, ReceiptKey, RestoreLock, Row, Settings, Store,
    StoreError, Swept, TenantTag,
    active::{ActiveIndex, ActiveWorkflow, is_over},
    codec,
};
use crate::machine::{ClockKind, Moment, Workflow, WorkflowId};
use high_water_mark::HighWaterMark;
pub(crate) use journal::JournalEntry;
use journal::{Appender, ChunkCache, Previous};
use tree::{SledTree, WriteBatch};

/// Where and how the store keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SledOptions {
    /// The folder; made if it is not there. One process at a time.
    pub folder: PathBuf,
    /// How much of it may be cached in memory, in bytes. Starving the cache makes sled both
    /// slower and larger; 256 MiB is a good size.
    pub cache_bytes: u64,
}

/// The store on sled.
pub struct SledStore {
    shared: Arc<SledInner>,
    newest: Cursor,
    edge: LowWaterMark,
    last_time: Moment,
    held_receipts: HashMap<u64, HeldReceipt>,
    restore_lock: Option<RestoreLock>,
    clock: Option<ClockNote>,
    grace_given_ms: u64,
    folder: PathBuf,
    /// How many rows a start would replay.
    replayed: u64,
    checkpoint_rows: u64,
    checkpointing: Option<JoinHandle<()>>,
}

/// A checkpoint is due after so many rows, or a quarter of the open workflows if that is more: what
/// it writes is then never much more than what the journal wrote.
const CHECKPOINT_ROWS: u64 = 100_000;
/// So many rows are replayed in no time: a clean stop writes no checkpoint for them.
const REPLAY_QUICK: u64 = 1000;

/// What the writer and the readers have in dictionary.
struct SledInner {
    tree: SledTree,
    chunks: ChunkCache,
    incarnation: Incarnation,
    /// The lives that this one goes on from.
    former: Vec<Incarnation>,
    open: RwLock<ActiveIndex>,
    /// The newest durable row: readers look no further.
    durable: AtomicU64,
    /// [`LowWaterMark::gone`]: readers must have seen what is up to it.
    gone: AtomicU64,
    /// How many durable changes of settings there were.
    setting_changes: Mutex<u64>,
    /// None in a folder that is only looked at.
    mark: Option<HighWaterMark>,
}

impl SledInner {
    /// Notes that everything up to `newest` is durable.
    fn note(&self, newest: Cursor) -> Result<(), StoreError> {
        self.mark.as_ref().map_or(Ok(()), |mark| mark.note(newest))
    }
}

/// Where the rows of an ended workflow stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedLocation {
    /// The one with its record: its first, or the entry that it was compacted into.
    first: Cursor,
    /// Its newest, which leads to all others.
    last: Cursor,
    /// How many facts there are.
    sequence: u32,
    /// Where its newest transition stood: before `last`, since it was compacted.
    newest: Cursor,
    /// Of whose it is, so that others' lists need not read it.
    tenant: TenantTag,
    /// When that was. Retention counts from here, so that whoever reads a row finds what it belongs to.
    at: UnixMillis,
    /// When it ended: what is told later does not lengthen the life of its contents.
    ended_at: UnixMillis,
}

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

impl SledStore {
    /// WriteBatch a checkpoint after so many rows at least, instead of the usual 100,000.
    pub fn checkpoint_after(&mut self, rows: u64) {
        self.checkpoint_rows = rows;
    }

    /// Makes writes durable. After a failure nothing more is written, no checkpoint either.
    fn keep(&mut self, writes: WriteBatch) -> Result<(), StoreError> {
        let done = self.shared.tree.commit(writes);
        if done.is_err() {
            self.replayed = 0;
        }
        done
    }

    /// Whether a checkpoint is being written.
    fn is_checkpointing(&self) -> bool {
        self.checkpointing.as_ref().is_some_and(|it| !it.is_finished())
    }

    /// WriteBatch a checkpoint on a thread of its own, when enough has happened since the last.
    fn checkpoint_some_time(&mut self) {
        let due = self.checkpoint_rows.max(self.open_count() as u64 / 4);
        if self.replayed < due || self.is_checkpointing() {
            return;
        }
        self.replayed = 0;
        let (shared, folder) = (Arc::clone(&self.shared), self.folder.clone());
        let (from, last_time) = (self.newest, self.last_time);
        let write = move || {
            if let Err(error) = checkpoint::write(&shared, &folder, from, last_time) {
                tracing::warn!(%error, "the next start will take longer, and nothing else");
            }
        };
        let thread = std::thread::Builder::new().name("dispatch-checkpoint".to_owned());
        self.checkpointing = thread.spawn(write).ok();
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // It holds the files, and the next who opens them would wait.
        if let Some(thread) = self.checkpointing.take() {
            let _ = thread.join();
        }
        if self.replayed > REPLAY_QUICK && !std::thread::panicking() {
            let (from, last_time) = (self.newest, self.last_time);
            if let Err(error) = checkpoint::write(&self.shared, &self.folder, from, last_time) {
                tracing::warn!(%error, "the next start will take longer, and nothing else");
            }
        }
    }
}

/// Where a workflow stands.
#[derive(Clone, Copy)]
struct JournalLocation {
    first: Cursor,
    last: Cursor,
    sequence: u32,
}

/// What a batch has of one workflow, before it is durable.
struct Pending {
    state: Workflow,
    location: JournalLocation,
}

impl SledStore {
    fn location(
        &self,
        id: WorkflowId,
        pending: &HashMap<WorkflowId, Pending>,
    ) -> Result<Option<JournalLocation>, StoreError> {
        if let Some(pending) = pending.get(&id) {
            return Ok(Some(pending.location));
        }
        if let Some(ActiveWorkflow { first, last, sequence, .. }) = self.shared.active().get(id) {
            let (first, last, sequence) = (*first, *last, *sequence);
            return Ok(Some(JournalLocation { first, last, sequence }));
        }
        let ended: Option<EndedLocation> = self.shared.tree.decode(&keys::ended(id))?;
        Ok(ended.map(|EndedLocation { first, last, sequence, .. }| JournalLocation {
            first,
            last,
            sequence,
        }))
    }

    fn write(
        &self,
        change: Change,
        appender: &mut Appender,
        pending: &mut HashMap<WorkflowId, Pending>,
        writes: &mut WriteBatch,
    ) -> Result<Arc<Row>, StoreError> {
        let id = change.state.id;
        let cursor = appender.next();
        let (previous, location) = if let Some(record) = change.record {
            if let (Some(request_id), Some(made)) = (record.request_id(), record.existing_request())
            {
                let key = keys::request(&record.tenant, request_id);
                writes.put(key, &made)?;
            }
            let location = JournalLocation { first: cursor, last: cursor, sequence: 0 };
            (Previous::Start(record), location)
        } else {
            let location = self.location(id, pending)?.ok_or(StoreError::Conflict(id))?;
            (Previous::Row(location.last), location)
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
        let location =
            JournalLocation { last: cursor, sequence: change.state.sequence, ..location };
        if is_over(&change.state) {
            let JournalLocation { first, last, sequence } = location;
            let (tenant, at) = (TenantTag::of(&row.tenant), change.at.engine);
            let ended_at = change.state.ended_at.map_or(at, |ended| ended.engine);
            let ended =
                EndedLocation { first, last, sequence, newest: cursor, tenant, at, ended_at };
            writes.put(keys::ended(id), &ended)?;
        }
        pending.insert(id, Pending { state: change.state, location });
        Ok(row)
    }
}

impl Store for SledStore {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.shared.workflow(id)
    }

    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        self.shared.tree.decode(&keys::request(tenant, request_id))
    }

    fn find_message(
        &self,
        account: &str,
        provider_id: &str,
    ) -> Result<Option<FoundMessage>, StoreError> {
        let key = keys::found_by(ReceiptKey::provider_id(account, provider_id));
        let found: Option<(WorkflowId, MessagePart)> = self.shared.tree.decode(&key)?;
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
        let tree = &self.shared.tree;
        let from = keys::conversation(conversation, UnixMillis(after.0 + 1));
        let behind = keys::conversation(conversation, UnixMillis(until.0.saturating_add(1)));
        let rows = tree.range(from, behind).rev().take(limit);
        rows.map(|row| {
            let (key, value) = row?;
            let (workflow, part): (WorkflowId, MessagePart) =
                codec::decode(&value, || tree::place(&key))?;
            Ok(part.found(workflow).attempt)
        })
        .collect()
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
        let mut writes = WriteBatch::default();
        let mut pending = HashMap::new();
        let mut rows = Vec::with_capacity(batch.changes.len());
        let mut appender = Appender::behind(self.newest);
        for change in batch.changes {
            rows.push(self.write(change, &mut appender, &mut pending, &mut writes)?);
        }
        let newest = appender.finish(&mut writes);
        for receipt in &batch.hold_receipts {
            writes.put(keys::held_receipt(receipt.key), receipt)?;
        }
        for key in &batch.release_receipts {
            self.shared.tree.remove(&mut writes, keys::held_receipt(*key))?;
        }
        if batch.lift_restore_lock {
            self.shared.tree.remove(&mut writes, keys::RESTORE_LOCK.to_vec())?;
        }
        if let Some(given_ms) = &batch.grace_given_ms {
            writes.put(keys::GRACE_GIVEN.to_vec(), given_ms)?;
        }
        self.keep(writes)?;
        self.shared.note(newest)?;

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
            open.put(&state, location.first, location.last);
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
        folder::free_bytes(&self.folder)
    }

    fn last_time(&self) -> Moment {
        self.last_time
    }

    fn clock(&self) -> Option<ClockNote> {
        self.clock
    }

    fn note_clock(&mut self, note: ClockNote) -> Result<(), StoreError> {
        if let Some(mark) = &self.shared.mark {
            mark.note_clock(note)?;
        }
        self.clock = Some(note);
        Ok(())
    }

    fn grace_given_ms(&self) -> u64 {
        self.grace_given_ms
    }

    fn tables(&self) -> Vec<(&'static str, usize)> {
        let own = [("held_receipts", self.held_receipts.len())];
        own.into_iter().chain(self.shared.active().tables()).collect()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.shared) as Arc<dyn Reader>
    }

    fn settings(&self) -> Arc<dyn Settings> {
        Arc::clone(&self.shared) as Arc<dyn Settings>
    }
}
